"""The ContainerRuntime interface of Orchestrion, and the kit that proves an implementation right."""
