"""A cluster of one node: this machine."""
