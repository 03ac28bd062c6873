"""The HTTP API for the network: operations, application, server."""
