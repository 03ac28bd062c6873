"""What a watch has told so far, put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field
from orchestrion.control_plane import Control
from orchestrion.orchestrator_core import Update, UpdateKind, WorkloadPhase, WorkloadView
from orchestrion.shared_types import NetworkFailure, Node, WorkloadDefinition, WorkloadInstance

from ._words import ENDED, TERMINAL

Key = tuple[str, str]
"""A namespace and a name."""


def key_of(workload: WorkloadDefinition) -> Key:
    """Return the key of a workload."""
    return workload.metadata.namespace, workload.metadata.name


@define
class Picture:
    """All workloads and instances, as of the last update.

    Attributes:
        views: Workloads by key.
        instances: Instances by key.
        synced: Whether all that there was when the watch began has been told.
        active: Workloads that were seen with something to do.
        nodes: Nodes by id.
    """

    views: dict[Key, WorkloadView] = field(factory=dict)
    instances: dict[Key, WorkloadInstance] = field(factory=dict)
    synced: bool = False
    active: set[Key] = field(factory=set)
    nodes: dict[str, Node] = field(factory=dict)

    def take(self, update: Update, /) -> None:
        """Take an update in."""
        key = (update.namespace, update.name)
        match update.kind:
            case UpdateKind.WORKLOAD if update.workload is not None:
                self.views[key] = update.workload
                if update.workload.phase not in ENDED:
                    self.active.add(key)
            case UpdateKind.WORKLOAD_REMOVED:
                self.views.pop(key, None)
            case UpdateKind.INSTANCE if update.instance is not None:
                self.instances[key] = update.instance
            case UpdateKind.INSTANCE_REMOVED:
                self.instances.pop(key, None)
            case UpdateKind.NODE if update.node is not None:
                self.nodes[update.name] = update.node
            case UpdateKind.NODE_REMOVED:
                self.nodes.pop(update.name, None)
            case UpdateKind.SYNCED:
                self.synced = True
            case _:
                pass

    def copy(self) -> Picture:
        """Return a copy that later updates leave as it is."""
        return Picture(dict(self.views), dict(self.instances), self.synced, set(self.active), dict(self.nodes))

    def instances_of(self, key: Key) -> list[WorkloadInstance]:
        """Return a workload's instances, by slot and epoch."""
        own = [one for one in self.instances.values() if (one.namespace, one.workload) == key]
        return sorted(own, key=lambda one: (one.key.index, one.key.epoch))

    def is_over(self, keys: Iterable[Key] | None = None) -> bool:
        """Whether workloads, all or those named, have ended or are gone, and nothing of theirs runs."""
        wanted = set(self.views) if keys is None else set(keys)
        ended = all(self.views[key].phase in ENDED for key in wanted if key in self.views)
        return ended and not any(
            one.status.state not in TERMINAL
            for one in self.instances.values()
            if keys is None or (one.namespace, one.workload) in wanted
        )

    def failed(self, keys: Iterable[Key]) -> list[WorkloadView]:
        """Return those of the workloads that have failed."""
        return [self.views[key] for key in keys if key in self.views and self.views[key].phase is WorkloadPhase.FAILED]


async def wait_until(control: Control, holds: Callable[[Picture], bool], /, *, namespace: str | None = None) -> None:
    """Watch until something holds of all that there is, or that is in one namespace.

    Raises:
        NetworkFailure: The orchestrator ended before, or at the same time: `stored_picture` tells then.
    """
    picture = Picture()
    async with control.watch(namespace=namespace) as updates:
        async for update in updates:
            picture.take(update)
            if picture.synced and holds(picture):
                return
    raise gone()


def gone() -> NetworkFailure:
    """Return what to say where an orchestrator ends before what was waited for has happened."""
    return NetworkFailure(
        "the orchestrator ended before this was done",
        remedy="`orchestrion status` shows how far it came; `orchestrion up FILE` goes on.",
    )
