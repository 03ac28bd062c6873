"""How much the workloads of a namespace may ask for, all together.

What they ask for is counted anew from what is on record each time, and never kept: nothing can drift. That two changes
do not pass together which only fit one by one is seen to by a key of the namespace, its ticket: a change by which
more is asked for writes it, and depends on that nobody else has since the counting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio
from attrs import define, field, frozen
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import NAMESPACE, RESOURCE_QUOTA, WORKLOAD
from orchestrion.control_plane._objects.specs import ResourceQuotaSpec
from orchestrion.control_plane._objects.stored import object_key
from orchestrion.control_plane._service.intent import MAKING
from orchestrion.orchestrator_core import (
    Beside,
    Orchestrator,
    ProposedChange,
    WorkloadName,
    claimed_after,
    claimed_now,
)
from orchestrion.shared_types import (
    Conflict,
    NotFound,
    QuotaExceeded,
    WorkloadDefinition,
    structure,
)
from orchestrion.store_interface import ABSENT, Compare, Operation, Put, Revision

from .amounts import INSTANCES, WORKLOADS, Amounts, limits_of, sum_of, written
from .looking import Looked


@frozen(kw_only=True)
class Quota:
    """A quota, in the units that are counted in.

    Attributes:
        name: Its name.
        hard: The most of each.
    """

    name: str
    hard: Amounts


def quota_of(document: Document) -> Quota:
    """Return the quota that an object stands for."""
    spec = structure(dict(document.spec), ResourceQuotaSpec)
    return Quota(name=document.metadata.name, hard=limits_of(spec.hard))


def ticket_key(namespace: str) -> str:
    """Return the key that changes depend on by which more is asked for."""
    return f"/ticket/{namespace}/quota"


@define(eq=False)
class WorkloadGate:
    """Has its say in the transactions that write workloads: their namespace is there, and its quotas are kept.

    Attributes:
        orchestrator: Has the workloads on record.
        history: Shows namespaces and quotas as they are now.
        needs_namespaces: Whether a namespace has to be there that a workload comes into.
    """

    orchestrator: Orchestrator
    history: History
    needs_namespaces: bool = True
    _quotas: Looked[Quota] = field(init=False)
    _turns: dict[str, trio.Lock] = field(factory=dict, init=False)
    _each: dict[str, dict[str, tuple[Revision, Amounts]]] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._quotas = Looked(self.history, RESOURCE_QUOTA, quota_of)

    @asynccontextmanager
    async def turn(self, namespaces: Iterable[str]) -> AsyncIterator[None]:
        """Wait for one's turn to change what is asked for in namespaces with quotas.

        It only saves tries: without it, changes at the same time would be counted again and again.
        """
        async with AsyncExitStack() as stack:
            for namespace in sorted(set(namespaces)):
                if self.quotas(namespace):
                    await stack.enter_async_context(self._turns.setdefault(namespace, trio.Lock()))
                else:
                    self._turns.pop(namespace, None)
            yield

    def quotas(self, namespace: str) -> Sequence[Quota]:
        """Return the quotas of a namespace, by name."""
        return self._quotas.all(namespace)

    async def __call__(self, changes: Sequence[ProposedChange], world: Any, /) -> Beside:
        """Return what changes depend on, and what is written with them.

        Raises:
            NotFound: A new workload's namespace is not there.
            Conflict: It is being removed.
            QuotaExceeded: More would be asked for than a quota grants.
        """
        # What follows the store here may be behind what the orchestrator has seen, and would judge by what was.
        await self.history.wait_for(world.revision)
        compares = self._there(changes)
        operations = list[Operation]()
        by_namespace = dict[str, list[ProposedChange]]()
        for change in changes:
            by_namespace.setdefault(change.after.metadata.namespace, []).append(change)
        limited = [namespace for namespace in by_namespace if self.quotas(namespace)]
        for namespace in limited:
            read = await self.orchestrator.store.get(ticket_key(namespace))
            # Whoever has asked for more before has written the ticket before: from here on, that is counted.
            await world.wait_for(read.revision)
            await self.history.wait_for(read.revision)
            if self._check(namespace, by_namespace[namespace], world):
                revision = read.entry.modified if read.entry is not None else ABSENT
                compares.append(Compare(ticket_key(namespace), revision))
                operations.append(Put(ticket_key(namespace), b"{}"))
        return Beside(compares=tuple(compares), operations=tuple(operations))

    def used(self, namespace: str, changes: Sequence[ProposedChange] = ()) -> dict[str, int]:
        """Return what the workloads of a namespace ask for, as they are on record, or as changes would have them."""
        world, nodes = self.orchestrator.world, len(self.orchestrator.cluster_loop.nodes)
        proposed = {change.after.metadata.name: change for change in changes}
        before, each = self._each.get(namespace, {}), dict[str, tuple[Revision, Amounts]]()
        total = Counter[str]()
        for name in self.history.within(WORKLOAD.plural, namespace):
            known = WorkloadName(namespace, name)
            record = world.workloads.get(known)
            if record is None or record.spec is None:
                continue
            found = before.get(name)
            if found is None or found[0] != record.spec_revision:
                found = (record.spec_revision, sum_of(record.spec.definition.containers))
            each[name] = found
            if name not in proposed:
                _add(total, found[1], claimed_now(world, known, nodes))
        self._each[namespace] = each
        for name, change in proposed.items():
            if change.before is not None and change.before.containers == change.after.containers and name in each:
                asked = each[name][1]
            else:
                asked = sum_of(change.after.containers)
            _add(total, asked, claimed_after(change, world, nodes))
        return dict(total)

    def _check(self, namespace: str, changes: Sequence[ProposedChange], world: Any) -> bool:
        """Return whether more would be asked for of anything that is limited.

        Raises:
            QuotaExceeded: More than is granted would be.
        """
        used, wanted = self.used(namespace), self.used(namespace, changes)
        grows = False
        for quota in self.quotas(namespace):
            for name, hard in quota.hard.items():
                now, then = used.get(name, 0), wanted.get(name, 0)
                if then <= now:
                    # Whoever asks for less is never refused, however much is used.
                    continue
                grows = True
                if then > hard:
                    raise _exceeded(namespace, quota.name, name, now, then - now, hard)
        return grows

    def _there(self, changes: Iterable[ProposedChange]) -> list[Compare]:
        """Return what must hold of the namespaces of new workloads."""
        compares = dict[str, Compare]()
        for change in changes:
            namespace = change.after.metadata.namespace
            if change.before is not None or namespace in compares:
                continue
            compares[namespace] = Compare(object_key(NAMESPACE, "", namespace), self._revision_of(namespace))
        return list(compares.values())

    def _revision_of(self, namespace: str) -> Revision:
        item = self.history.find(NAMESPACE.plural, "", namespace)
        if item is None and (not self.needs_namespaces or namespace in MAKING.get()):
            return ABSENT
        if item is None:
            msg = f"there is no namespace {namespace!r:.80}"
            raise NotFound(msg, remedy=f"orchestrion create namespace {namespace:.80}")
        if item.document.metadata.deleting_since is not None:
            msg = f"namespace {namespace!r} is being removed"
            raise Conflict(msg, remedy="Wait until it is gone, and make it anew.")
        return Revision(item.revision)


def namespaces_of(definitions: Iterable[WorkloadDefinition]) -> set[str]:
    """Return the namespaces of workloads."""
    return {definition.metadata.namespace for definition in definitions}


def _add(total: Counter[str], asked: Mapping[str, int], instances: int) -> None:
    for name, amount in asked.items():
        total[name] += amount * instances
    total[INSTANCES] += instances
    total[WORKLOADS] += 1


def _exceeded(namespace: str, quota: str, name: str, used: int, asked: int, hard: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"quota {quota!r} of namespace {namespace!r} grants {written(name, hard)} of {name}: "
        f"{written(name, used)} is used, and {written(name, asked)} more is asked for",
        remedy="Ask for less, scale down or remove other workloads, or have the quota raised.",
    )
