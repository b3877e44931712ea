"""The RFB protocol (RFC 6143): reading, security, and the two handshakes of a session."""
