"""The errors of the orchestrator, by what the caller can do."""

from __future__ import annotations

from attrs import frozen
from orchestrion.scheduler_interface import Explanation
from orchestrion.shared_types import SchedulingFailure


@frozen(kw_only=True)
class ImpossibleWorkload:
    """A workload that no node could ever run.

    Attributes:
        namespace: The workload's namespace.
        workload: Its name.
        explanation: Why not, node by node, and the smallest change that would make it fit.
    """

    namespace: str
    workload: str
    explanation: Explanation


class Unschedulable(SchedulingFailure):
    """No node could ever run some workloads; nothing was changed. Ask for less, or add a node.

    Attributes:
        namespace: The namespace of the first of them.
        workload: Its name.
        explanation: Why not, node by node.
        impossible: All of them, in the order in which they were given.
    """

    code = "unschedulable"

    def __init__(
        self,
        message: str,
        /,
        *,
        namespace: str,
        workload: str,
        explanation: Explanation,
        impossible: tuple[ImpossibleWorkload, ...] = (),
        remedy: str = "",
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.namespace = namespace
        self.workload = workload
        self.explanation = explanation
        self.impossible = impossible or (
            ImpossibleWorkload(namespace=namespace, workload=workload, explanation=explanation),
        )
