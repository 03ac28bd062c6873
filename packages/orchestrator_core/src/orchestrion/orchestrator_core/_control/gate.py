"""What others have to say to a change before it is written, and what they write with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from attrs import frozen
from orchestrion.orchestrator_core._state.world import World
from orchestrion.shared_types import WorkloadDefinition
from orchestrion.store_interface import Compare, Operation, Revision


@frozen(kw_only=True)
class ProposedChange:
    """What is about to become of one workload.

    Attributes:
        before: The definition on record; None where the workload is new.
        revision: The store's revision of the last write of what is wanted, by its author or an operator; 0 where the
            workload is new.
        after: The definition as it would be; equal to `before` where only numbers of the operator change, or nothing.
        replicas: Instances that would be wanted: what `scale` has set or sets, or else the definition's.
        generation: The definition's generation afterwards.
        idle: Whether it is left as it is, stopped or at its end, and runs nothing because of the change.
    """

    before: WorkloadDefinition | None
    revision: Revision
    after: WorkloadDefinition
    replicas: int
    generation: int
    idle: bool = False


@frozen(kw_only=True)
class Beside:
    """What is written in the transaction of a change, and what it depends on.

    Attributes:
        compares: Conditions; where one does not hold, everything is thought about anew.
        operations: Writes of keys that are nobody else's.
    """

    compares: tuple[Compare, ...] = ()
    operations: tuple[Operation, ...] = ()


NOTHING_BESIDE: Final = Beside()


class Gate(Protocol):
    """Looks at a change as it would be written."""

    async def __call__(self, changes: Sequence[ProposedChange], world: World, /) -> Beside:
        """Return what is to be written beside the change; raise an OrchestrationError to refuse it.

        It is asked again where others changed the same meanwhile, and must not have effects of its own.

        Args:
            changes: One for each workload that was named, unchanged ones too, in the order given.
            world: What is on record now, the changes not yet; it is not to be changed, nor kept.
        """
        ...


async def no_gate(_changes: Sequence[ProposedChange], _world: World, /) -> Beside:
    """Let everything pass, with nothing beside."""
    return Beside()
