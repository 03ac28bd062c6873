"""The orchestrator's own way in, under admission and quotas like every other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

from attrs import define, evolve
from orchestrion.control_plane._admission.admission import Admission
from orchestrion.control_plane._admission.quota import WorkloadGate, namespaces_of
from orchestrion.control_plane._admission.review import Operation
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._identity.asking import ASKING, SERVER
from orchestrion.control_plane._objects.claims import kept_claims
from orchestrion.control_plane._objects.kinds import INSTANCE, WORKLOAD
from orchestrion.orchestrator_core import (
    ApplyResult,
    LogQuery,
    LogRecord,
    Orchestrator,
    Plan,
    SlotPlacement,
    Update,
    WorkloadName,
    WorkloadView,
)
from orchestrion.runtime_interface import ExecSession, TerminalSize
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    Conflict,
    Denied,
    Event,
    Node,
    NodeId,
    WorkloadDefinition,
    WorkloadInstance,
)

from .owned import OwnersGate, owned
from .requested import with_request
from .starting import Starter
from .workload_fields import CONTROL
from .workloads import TRIES, Overtaken


@define(eq=False)
class ManagedControl:
    """A `Control` whose changes pass admission and keep within quotas.

    What a manifest can't say of a workload, its owners and finalizers, stays as it is.

    Attributes:
        orchestrator: Who does it.
        admission: Looks at each change.
        gate: Has its say in the transaction that writes.
    """

    orchestrator: Orchestrator
    admission: Admission
    gate: WorkloadGate

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
        """See `Control.apply`."""
        for _ in range(TRIES):
            found = await owned(self.orchestrator, workloads, manager, force=force)
            for each in workloads:
                if self._definition(each.metadata.namespace, each.metadata.name) is None:
                    self._check_creating(WorkloadName(each.metadata.namespace, each.metadata.name))
            admitted = await self._admitted([each.definition for each in found], dry_run=dry_run)
            starting = await self._starter.starting([] if only_new else admitted, rerun=rerun, dry_run=dry_run)
            gate = OwnersGate(self.orchestrator, found, self.gate, self._check_creating)
            try:
                async with self.gate.turn(namespaces_of(admitted)):
                    result = await self.orchestrator.apply(
                        admitted,
                        dry_run=dry_run,
                        rerun=rerun,
                        starts=starting.starts,
                        only_new=only_new,
                        if_index=if_index,
                        gate=gate,
                    )
            except Overtaken:
                continue
            return evolve(result, changes=tuple(map(starting.told, result.changes)))
        raise Conflict("others kept changing the same workloads", remedy="Look at what they did, and apply again.")

    async def plan(self, workloads: Sequence[WorkloadDefinition], /, *, rerun: bool = False) -> Plan:
        """See `Control.plan`."""
        # What comes between this and the plan is in a part of it alone.
        revision = (await self.orchestrator.store.get("/")).revision
        found = await owned(self.orchestrator, workloads, CONTROL, force=False)
        admitted = await self._admitted([each.definition for each in found], dry_run=True)
        starting = await self._starter.starting(admitted, rerun=rerun, dry_run=True)
        plan = await self.orchestrator.plan(admitted, rerun=rerun, starts=starting.starts)
        return evolve(plan, changes=tuple(map(starting.told, plan.changes)), revision=revision)

    @property
    def _starter(self) -> Starter:
        return Starter(self.orchestrator, self.admission.may, self.admission.act)

    async def _admitted(self, workloads: Sequence[WorkloadDefinition], *, dry_run: bool) -> list[WorkloadDefinition]:
        admitted = list[WorkloadDefinition]()
        known = self.orchestrator.world.workloads
        for given in workloads:
            record = known.get(WorkloadName(given.metadata.namespace, given.metadata.name))
            before = record.spec.definition if record is not None and record.spec is not None else None
            definition = given
            held = before.metadata.finalizers if before is not None else ()
            owners = given.metadata.owners or (before.metadata.owners if before is not None else ())
            claims = kept_claims(held, given.metadata.finalizers or held, going=False)
            if (owners, claims) != (given.metadata.owners, given.metadata.finalizers):
                definition = evolve(given, metadata=evolve(given.metadata, owners=owners, finalizers=claims))
            others = [each for each in workloads if each is not given]
            if definition.after:
                others += [each.spec.definition for each in known.values() if each.spec is not None]
            admitted.append(await self.admission.workload(definition, before, others, dry_run=dry_run))
        return admitted

    def _check_creating(self, name: WorkloadName) -> None:
        who, access = ASKING.get(), Access("create", WORKLOAD.plural, name.namespace, name.name)
        if who is not SERVER and not self.admission.may(who, access):
            msg = f"{who} may not {access}, which applying what is not there needs"
            raise Denied(msg, remedy="ask an administrator for a role that allows it")

    def _definition(self, namespace: str, name: str) -> WorkloadDefinition | None:
        record = self.orchestrator.world.workloads.get(WorkloadName(namespace, name))
        return record.spec.definition if record is not None and record.spec is not None else None

    async def _judged(self, action: str, namespace: str, name: str, *, dry_run: bool = False) -> None:
        known = self._definition(namespace, name)
        if known is not None:
            await self.admission.act(action, known, dry_run=dry_run)

    async def scale(
        self, name: str, replicas: int | None, /, *, namespace: str = DEFAULT_NAMESPACE, dry_run: bool = False
    ) -> WorkloadView:
        """See `Control.scale`. Webhooks that only validate are asked, about the workload with that number."""
        known = self._definition(namespace, name)
        if known is not None:
            wanted = known.replicas if replicas is None else replicas
            await self.admission.act("scale", known, dry_run=dry_run, replicas=wanted)
        async with self.gate.turn((namespace,)):
            gate = with_request(self.orchestrator.store, self.gate)
            return await self.orchestrator.scale(name, replicas, namespace=namespace, gate=gate, dry_run=dry_run)

    async def pause(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        """See `Control.pause`. Webhooks that only validate are asked."""
        await self._judged("pause", namespace, name)
        return await self.orchestrator.pause(name, namespace=namespace)

    async def resume(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        """See `Control.resume`. Webhooks that only validate are asked."""
        await self._judged("resume", namespace, name)
        return await self.orchestrator.resume(name, namespace=namespace)

    async def stop(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, dry_run: bool = False) -> WorkloadView:
        """See `Control.stop`. Webhooks that only validate are asked."""
        await self._judged("stop", namespace, name, dry_run=dry_run)
        gate = with_request(self.orchestrator.store)
        return await self.orchestrator.stop(name, namespace=namespace, gate=gate, dry_run=dry_run)

    async def remove(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, dry_run: bool = False) -> None:
        """See `Control.remove`."""
        await self.admission.judge(Operation.DELETE, WORKLOAD, namespace, name, None, dry_run=dry_run)
        await self.orchestrator.remove(name, namespace=namespace, dry_run=dry_run)

    @asynccontextmanager
    async def exec(
        self,
        instance: str,
        command: Sequence[str],
        /,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        container: str | None = None,
        terminal: TerminalSize | None = None,
    ) -> AsyncIterator[ExecSession]:
        """See `Control.exec`."""
        await self.admission.judge(Operation.CONNECT, INSTANCE, namespace, instance, None)
        async with self.orchestrator.exec(
            instance, command, namespace=namespace, container=container, terminal=terminal
        ) as session:
            yield session

    # -- only asking ------------------------------------------------------------------------------------------------

    async def list_workloads(self, *, namespace: str | None = None) -> list[WorkloadView]:
        """See `Control.list_workloads`."""
        return await self.orchestrator.list_workloads(namespace=namespace)

    async def get_workload(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        """See `Control.get_workload`."""
        return await self.orchestrator.get_workload(name, namespace=namespace)

    async def list_instances(
        self, *, namespace: str | None = None, workload: str | None = None
    ) -> list[WorkloadInstance]:
        """See `Control.list_instances`."""
        return await self.orchestrator.list_instances(namespace=namespace, workload=workload)

    async def list_nodes(self) -> list[Node]:
        """See `Control.list_nodes`."""
        return await self.orchestrator.list_nodes()

    def watch(self, *, namespace: str | None = None) -> AbstractAsyncContextManager[AsyncIterator[Update]]:
        """See `Control.watch`."""
        return self.orchestrator.watch(namespace=namespace)

    def logs(self, query: LogQuery, /) -> AbstractAsyncContextManager[AsyncIterator[LogRecord]]:
        """See `Control.logs`."""
        return self.orchestrator.logs(query)

    async def explain(
        self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, node: NodeId | None = None
    ) -> list[SlotPlacement]:
        """See `Control.explain`."""
        return await self.orchestrator.explain(name, namespace=namespace, node=node)

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
        return await self.orchestrator.events(
            namespace=namespace, subject=subject, since=since, limit=limit, types=types
        )
