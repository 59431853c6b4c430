"""HTTP: the server, connections, authentication, rate limits and headers."""
