"""Verified fakes of Orchestrion's four interfaces, with fault injection."""
