"""What can be asked whether or not an orchestrator runs."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from orchestrion.orchestrator_core import WorkloadView
from orchestrion.shared_types import DEFAULT_NAMESPACE, Event, Node, WorkloadInstance


class Reader(Protocol):
    """The questions of a Control that a store alone can answer."""

    async def list_workloads(self, *, namespace: str | None = None) -> list[WorkloadView]:
        """See `Control.list_workloads`."""
        ...

    async def get_workload(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        """See `Control.get_workload`."""
        ...

    async def list_instances(
        self, *, namespace: str | None = None, workload: str | None = None
    ) -> list[WorkloadInstance]:
        """See `Control.list_instances`."""
        ...

    async def list_nodes(self) -> list[Node]:
        """See `Control.list_nodes`; none where nobody can tell."""
        ...

    async def events(
        self,
        *,
        namespace: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        limit: int = 1000,
        types: Collection[str] = (),
    ) -> list[Event]:
        """See `Control.events`."""
        ...
