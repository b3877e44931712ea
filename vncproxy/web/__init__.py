"""The HTTP and WebSocket side: listener, static files, gate, and the browser end of a session."""
