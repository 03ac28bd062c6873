"""Troubles with workloads, told once for as long as they are the same."""

from __future__ import annotations

from attrs import define, field
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.orchestrator_core._state.records import WorkloadName
from orchestrion.shared_types import EventSeverity


@define(eq=False)
class Troubles:
    """Remembers what was said about which workload.

    Attributes:
        recorder: Takes events.
    """

    recorder: EventRecorder
    _said: dict[WorkloadName, str] = field(factory=dict, init=False)

    def tell(self, name: WorkloadName, message: str, outlook: str = "") -> None:
        """Tell of a trouble, once for as long as it is the same, however the outlook on the next try changes."""
        if self._said.get(name) != message:
            self._said[name] = message
            text = f"{message}{outlook}"
            self.recorder.record(name.namespace, f"workload/{name.name}", "Unplaceable", text, EventSeverity.WARNING)

    def forget(self, name: WorkloadName) -> None:
        """Note that all is well again, or that there is no such workload any more."""
        self._said.pop(name, None)
