"""The node loop: from bindings to containers, and back to statuses."""
