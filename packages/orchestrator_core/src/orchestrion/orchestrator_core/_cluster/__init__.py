"""The cluster loop: from what is wanted and what is there to bindings."""
