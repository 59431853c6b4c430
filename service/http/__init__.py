"""HTTP: the server, connections, their speed and headers."""
