"""The way in: what the orchestrator is asked, admits and answers."""
