"""The machinery that Orchestrion's conformance kits are made of: named clauses, a trio runner, a cancellation sweep."""
