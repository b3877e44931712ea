"""The first bytes of a connection: who really sent them, and whether they are TLS."""
