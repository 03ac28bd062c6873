"""Questions about what is recorded, with or without loops at work."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from attrs import define, evolve, field
from orchestrion.orchestrator_core._clock import Deadlines, WallClock, system_time
from orchestrion.orchestrator_core._cluster.plan import WantedSlot
from orchestrion.orchestrator_core._cluster.workload_plan import plan_workload
from orchestrion.orchestrator_core._control.summary import summarize
from orchestrion.orchestrator_core._control.views import WorkloadView
from orchestrion.orchestrator_core._state.facts import Facts
from orchestrion.orchestrator_core._state.records import WorkloadName
from orchestrion.orchestrator_core._state.taints import evicting_taints
from orchestrion.orchestrator_core._state.world import World
from orchestrion.scheduler_interface import Explanation
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    ConfigInvalid,
    Event,
    Node,
    NodeId,
    Problem,
    WorkloadInstance,
    WorkloadNotFound,
    from_json,
)
from orchestrion.store_interface import StateStore


def view_of(
    world: World,
    facts: Facts,
    name: WorkloadName,
    unplaced: Mapping[int, Explanation] | None = None,
    retry: str = "",
    idle: Sequence[WantedSlot] = (),
) -> WorkloadView | None:
    """Return how a workload is doing, or None where there is none. See `summarize`."""
    record = world.workloads.get(name)
    return None if record is None else summarize(record, facts, unplaced, retry, idle)


def not_found(name: WorkloadName) -> WorkloadNotFound:
    """Return the error for a workload that does not exist."""
    msg = f"there is no workload {name.name!r} in namespace {name.namespace!r}"
    return WorkloadNotFound(msg, remedy="See what there is: orchestrion status")


def instances_of(world: World, namespace: str | None, workload: str | None) -> list[WorkloadInstance]:
    """Return instances by namespace, workload, slot and epoch."""
    return [
        world.instances[name].instance()
        for name in sorted(world.instances)
        if namespace in (None, name.namespace)
        and workload in (None, name.workload)
        and world.instances[name].bound is not None
    ]


def check_time(since: datetime | None, path: str = "since") -> None:
    """Make sure that a time of a question is one that others can be compared with.

    Raises:
        ConfigInvalid: It has no time zone.
    """
    if since is not None and since.tzinfo is None:
        raise ConfigInvalid(
            (Problem("a time with its time zone is wanted", path=path),), remedy="Write one such as Z behind it."
        )


async def read_events(
    store: StateStore,
    namespace: str | None,
    subject: str | None,
    since: datetime | None,
    limit: int,
    types: Collection[str] = (),
) -> list[Event]:
    """Return the latest events, oldest first.

    Raises:
        ConfigInvalid: The time has no time zone.
    """
    check_time(since)
    listed = await store.list("/event/" if namespace is None else f"/event/{namespace}/")
    entries = sorted(listed.entries, key=lambda entry: entry.key.rpartition("/")[2], reverse=True)
    found = list[Event]()
    for entry in entries:
        if len(found) >= limit:
            break
        event = from_json(entry.value, Event)
        if since is not None and event.at < since:
            break
        if event.is_of(types) and (subject is None or _is_about(event, subject)):
            found.append(event)
    found.reverse()
    return found


def _is_about(event: Event, subject: str) -> bool:
    kind, _, name = subject.partition("/")
    return event.subject == subject or (kind == "workload" and event.subject.startswith(f"instance/{name}."))


@define(eq=False)
class StoreReader:
    """Answers questions from the store alone, for when no orchestrator is at work.

    Attributes:
        store: What is read.
        now: The wall clock.
        nodes: The nodes that there are, as far as they are known; without them no daemon lacks places.
    """

    store: StateStore
    now: WallClock = field(default=system_time)
    nodes: Sequence[Node] = ()

    async def list_workloads(self, *, namespace: str | None = None) -> list[WorkloadView]:
        """Return all workloads, of one namespace or of all, by namespace and name."""
        world, facts = await self._look()
        views = [
            self._view(world, facts, name) for name in sorted(world.workloads) if namespace in (None, name.namespace)
        ]
        return [view for view in views if view is not None]

    async def get_workload(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        """Return one workload.

        Raises:
            WorkloadNotFound: There is none of that name.
        """
        world, facts = await self._look()
        view = self._view(world, facts, WorkloadName(namespace, name))
        if view is None:
            raise not_found(WorkloadName(namespace, name))
        return view

    async def list_instances(
        self, *, namespace: str | None = None, workload: str | None = None
    ) -> list[WorkloadInstance]:
        """Return instances, ended ones too, by namespace, workload, slot and epoch."""
        world, _ = await self._look()
        return instances_of(world, namespace, workload)

    async def events(
        self,
        *,
        namespace: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        limit: int = 1000,
        types: Collection[str] = (),
    ) -> list[Event]:
        """Return the latest events, oldest first."""
        return await read_events(self.store, namespace, subject, since, limit, types)

    async def world(self) -> World:
        """Return what the store holds now."""
        world, _ = await self._look()
        return world

    def _view(self, world: World, facts: Facts, name: WorkloadName) -> WorkloadView | None:
        record = world.workloads.get(name)
        if record is None:
            return None
        nodes = {node.id: node for node in self.nodes}
        tainted = {node.id for node in self.nodes if evicting_taints(node)}
        # As if an orchestrator had just come, whose nodes are all at work: it is about what that would have to place.
        at_work = evolve(facts, nodes=nodes, leased=nodes.keys(), tainted=tainted, taints=world.taints)
        return view_of(world, facts, name, idle=plan_workload(record, at_work).place)

    async def _look(self) -> tuple[World, Facts]:
        world = World()
        await world.load(self.store)
        leased = frozenset[NodeId](world.leases)
        return world, Facts({}, leased, frozenset(), world.workloads, Deadlines(self.now))
