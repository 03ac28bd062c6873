"""The Control interface of Orchestrion, in process and over HTTP."""
