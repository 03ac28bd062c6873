"""Orchestrion's cluster loop and node loop over injected implementations."""
