"""The errors of the orchestrator, by what the caller can do."""

from __future__ import annotations

from orchestrion.scheduler_interface import Explanation
from orchestrion.shared_types import SchedulingFailure


class Unschedulable(SchedulingFailure):
    """No node could ever run the workload; nothing was changed. Ask for less, or add a node.

    Attributes:
        namespace: The workload's namespace.
        workload: Its name.
        explanation: Why not, node by node.
    """

    code = "unschedulable"

    def __init__(
        self, message: str, /, *, namespace: str, workload: str, explanation: Explanation, remedy: str = ""
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.namespace = namespace
        self.workload = workload
        self.explanation = explanation
