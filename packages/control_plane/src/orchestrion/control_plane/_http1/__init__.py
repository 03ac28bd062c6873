"""HTTP/1.1 and WebSocket for ASGI applications, over any stream."""
