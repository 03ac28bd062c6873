"""What containers use: the values of the API's answer, and what two looks at them tell together."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import reduce
from operator import add
from typing import Final

from attrs import frozen
from orchestrion.shared_types import NodeId


@frozen
class Used:
    """What is used.

    Attributes:
        cpu_millicores: Thousandths of a core, between two looks; None where there was but one.
        memory_bytes: Memory in use.
        processes: Processes and threads, or processes alone where the system counts those.
    """

    cpu_millicores: int | None
    memory_bytes: int
    processes: int

    def __add__(self, other: Used) -> Used:
        """Return both together; of what is not known of one, that of the other."""
        known = [each.cpu_millicores for each in (self, other) if each.cpu_millicores is not None]
        return Used(
            sum(known) if known else None, self.memory_bytes + other.memory_bytes, self.processes + other.processes
        )


NOTHING: Final = Used(0, 0, 0)


def together(every: Iterable[Used]) -> Used:
    """Return what several use together: nothing for none."""
    known = list(every)
    return reduce(add, known) if known else NOTHING


@frozen(kw_only=True)
class ContainerUsage:
    """What one container uses.

    Attributes:
        namespace: Of its workload.
        instance: `workload.index.epoch`.
        node_id: Where it runs.
        container: Its name.
        attempt: Which attempt it is.
        sampled_at: When it was looked at (UTC).
        cpu_nanoseconds: Processor time since the start of the attempt; never falls. Two looks tell what it uses now.
        memory_bytes: Memory in use.
        processes: Processes and threads, or processes alone where the system counts those.
    """

    namespace: str
    instance: str
    node_id: NodeId
    container: str
    attempt: int
    sampled_at: datetime
    cpu_nanoseconds: int
    memory_bytes: int
    processes: int

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Which container it is."""
        return (self.namespace, self.instance, self.container, self.attempt)

    def since(self, before: ContainerUsage | None) -> Used:
        """Return what it uses, by an earlier look at it; without one, no processor time is known."""
        if before is None:
            return Used(None, self.memory_bytes, self.processes)
        seconds = (self.sampled_at - before.sampled_at).total_seconds()
        done = max(0, self.cpu_nanoseconds - before.cpu_nanoseconds)
        return Used(round(done / seconds / 1e6) if seconds > 0 else 0, self.memory_bytes, self.processes)


@frozen(kw_only=True)
class UsageReport:
    """What containers use.

    Attributes:
        items: Containers that run and of which it can be told, by namespace, instance and name.
        untold: How many containers run of which it can't: on nodes that are run from elsewhere, or with a runtime that
            can't say.
        left_out: How many were not asked because they are too many for one answer.
        untold_nodes: The nodes of both: what the items of such a node add up to is not all that is used there.
    """

    items: tuple[ContainerUsage, ...]
    untold: int
    left_out: int
    untold_nodes: tuple[NodeId, ...]
