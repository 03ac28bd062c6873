"""The Scheduler interface of Orchestrion, a readable reference scheduler, and the kit that proves an implementation right."""
