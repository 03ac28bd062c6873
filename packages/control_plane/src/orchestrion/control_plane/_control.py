"""The one way in: what can be asked of an orchestrator, in process or over a wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from orchestrion.orchestrator_core import ApplyResult, LogQuery, LogRecord, Plan, SlotPlacement, Update, WorkloadView
from orchestrion.runtime_interface import ExecSession, TerminalSize
from orchestrion.shared_types import DEFAULT_NAMESPACE, Event, Node, NodeId, WorkloadDefinition, WorkloadInstance


class Control(Protocol):
    """What users do with an orchestrator. `Orchestrator` of orchestrion.orchestrator_core is one, in process.

    **Errors.** WorkloadNotFound, InstanceNotFound and NodeNotFound where a name is unknown, ConfigInvalid and
    Unschedulable where a request can't be accepted (nothing was changed then), Unavailable where it can't be answered
    now.

    **Durability.** A change is answered after it is on disk.

    **Cancellation.** Changes are *indeterminate* and may be repeated; queries and streams have no effect.
    """

    async def apply(
        self,
        workloads: Sequence[WorkloadDefinition],
        /,
        *,
        dry_run: bool = False,
        rerun: bool = False,
        only_new: bool = False,
        manager: str = "control",
        force: bool = False,
        if_index: int | None = None,
    ) -> ApplyResult:
        """Want these workloads, all of them or none. What a definition leaves out is its default, not what was there.

        A workload that was stopped runs again; over a wire only for who may `stop` it, and else it stays stopped, which
        its change notes. Batch work that has ended does not, unless its definition changes. What `scale` has set stays,
        as long as the file's number does not change. Names are in the definitions; workloads that are not named stay as
        they are.

        Args:
            workloads: Each (namespace, name) once.
            dry_run: True checks and compares, and changes nothing.
            rerun: True runs batch work that has ended once more. What has not ended goes on.
            only_new: True refuses all of it where there is a workload of one of these names.
            manager: Whose word the definitions are, where it is kept who says what of a workload: what other managers
                say, as an autoscaler does of replicas, stays.
            force: True takes over what other managers say differently.
            if_index: Only if nothing that is wanted of them was written after this revision, as that of a `Plan`:
                definitions, and what `scale`, `stop` and the like have set. What becomes of instances does not count,
                nor do workloads that are not named. None is whatever was written.

        Raises:
            ConfigInvalid: They can't be accepted.
            Conflict: Others kept changing them, one is being removed, or, with `only_new`, is there already. Without
                `force` also: other managers, which it names, say something else.
            PreconditionFailed: One of them was changed, made or removed after `if_index`, or that is no longer known.
            Denied: One is not there, and who asks may not `create` it; or, with `rerun`, one has ended or was stopped,
                and they may not `stop` it.
        """
        ...

    async def plan(self, workloads: Sequence[WorkloadDefinition], /, *, rerun: bool = False) -> Plan:
        """Say what `apply` would change, and where new slots would go; `rerun` is as for `apply`."""
        ...

    async def list_workloads(self, *, namespace: str | None = None) -> list[WorkloadView]:
        """Return all workloads, of one namespace or of all, by namespace and name."""
        ...

    async def get_workload(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        """Return one workload."""
        ...

    async def list_instances(
        self, *, namespace: str | None = None, workload: str | None = None
    ) -> list[WorkloadInstance]:
        """Return instances, ended ones too as long as they are remembered, by namespace, workload, index and epoch."""
        ...

    async def list_nodes(self) -> list[Node]:
        """Return all nodes, by id."""
        ...

    def watch(self, *, namespace: str | None = None) -> AbstractAsyncContextManager[AsyncIterator[Update]]:
        """Follow everything: first all that there is, then SYNCED, then each change.

        A slow reader gets merged updates.
        """
        ...

    def logs(self, query: LogQuery, /) -> AbstractAsyncContextManager[AsyncIterator[LogRecord]]:
        """Read output. Within a stream of an attempt, records come in order; without `follow` the iteration ends."""
        ...

    def exec(
        self,
        instance: str,
        command: Sequence[str],
        /,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        container: str | None = None,
        terminal: TerminalSize | None = None,
    ) -> AbstractAsyncContextManager[ExecSession]:
        """Run a command in a running container of an instance.

        Args:
            instance: `workload.index.epoch`, or `workload.index` for the latest epoch.
            command: Program and arguments; not empty.
            namespace: The workload's namespace.
            container: The container's name; None is the first.
            terminal: The size of a terminal that it is to be run at; the session is a `TerminalSession` then. None
                gives it pipes.
        """
        ...

    async def scale(
        self, name: str, replicas: int | None, /, *, namespace: str = DEFAULT_NAMESPACE, dry_run: bool = False
    ) -> WorkloadView:
        """Set a service's number of instances, and remember it; None goes back to the file's number.

        `dry_run` checks everything, changes nothing, and gives the workload as it is.
        """
        ...

    async def pause(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        """Hold up the updates of a service or a daemon, the one that is going on and those to come, until `resume`.

        Nothing of a new template starts and nothing is stopped for it; what has to be replaced runs what there was
        before. Pausing what is paused changes nothing.

        Raises:
            WorkloadNotFound: There is none of that name.
            ConfigInvalid: It is batch work.
        """
        ...

    async def resume(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        """Let updates go on that were paused. Resuming what is not paused changes nothing.

        Raises:
            WorkloadNotFound: There is none of that name.
            ConfigInvalid: It is batch work.
        """
        ...

    async def stop(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, dry_run: bool = False) -> WorkloadView:
        """Stop all instances, and keep the workload; `apply` starts it again.

        A batch workload that is stopped does not count as failed. `dry_run` checks everything, changes nothing, and
        gives the workload as it is.
        """
        ...

    async def remove(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, dry_run: bool = False) -> None:
        """Stop all instances, and then forget the workload.

        It returns when that was recorded; follow it with `watch`. `dry_run` checks everything, and changes nothing.
        """
        ...

    async def explain(
        self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, node: NodeId | None = None
    ) -> list[SlotPlacement]:
        """Say for each slot why it is where it is, or why it is nowhere; with `node` whether that one would take it.

        An explanation is about that node alone then, with each predicate that fails, and what has the node's id would
        be taken, were it placed anew.

        Raises:
            WorkloadNotFound: There is none of that name.
            NodeNotFound: There is no such node.
        """
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
        """Return the latest events, oldest first.

        Args:
            namespace: Only of this namespace; None is all.
            subject: "workload/web" or "instance/web.0.1"; a workload's also gives those of its instances. None is all.
            since: Only those at or after this time (UTC).
            limit: The most events to return, >= 1.
            types: Only those whose severity or reason is one of these words, in any case; none are all.
        """
        ...
