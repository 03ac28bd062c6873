"""The state that both loops think about: a mirror of the store, kept by watching it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar
from urllib.parse import unquote

import trio
from attrs import Factory, define, evolve, field
from orchestrion.orchestrator_core._state.commits import CommitGate, unfinished
from orchestrion.orchestrator_core._state.lifecycle import TERMINAL
from orchestrion.orchestrator_core._state.node_report import NodeReport, report_key
from orchestrion.orchestrator_core._state.records import (
    LEASE_PREFIX,
    PREFIXES,
    BindingRecord,
    InstanceName,
    NodeLease,
    NodeMarks,
    NodeTaints,
    WorkloadControl,
    WorkloadName,
    WorkloadProgress,
    WorkloadSpec,
    instance_key,
    lease_key,
    marks_key,
    parse_instance,
    taints_key,
)
from orchestrion.orchestrator_core._state.roll import Roll
from orchestrion.shared_types import (
    ConfigInvalid,
    DesiredState,
    InstanceKey,
    InstanceState,
    InstanceStatus,
    InternalError,
    NodeId,
    Unavailable,
    WorkloadDefinition,
    WorkloadInstance,
    from_json,
    to_json,
)
from orchestrion.store_interface import Change, Entry, Put, Revision, RevisionCompacted, StateStore

FIRST_RETRY_SECONDS: Final = 0.1
MAX_RETRY_SECONDS: Final = 5.0

MAX_OWN_WRITES: Final = 10_000
"""Values that were written here and have not come back yet; beyond that all are forgotten."""

T = TypeVar("T")

_NO_STATUS = InstanceStatus()
_NO_CONTROL = WorkloadControl()
_NOTHING: tuple[bytes, Any] = (b"", None)


@define(eq=False)
class InstanceRecord:
    """An instance as the store has it.

    Attributes:
        name: Which instance.
        bound: The cluster loop's part; None where only a status is left.
        binding_revision: The revision of that part.
        status: The node loop's part.
        status_revision: The revision of that part; 0 where there is none.
        owner: The workload.
    """

    name: InstanceName
    bound: BindingRecord | None = None
    binding_revision: Revision = Revision(0)
    status: InstanceStatus = _NO_STATUS
    status_revision: Revision = Revision(0)
    owner: WorkloadName = field(default=Factory(lambda record: record.name.owner, takes_self=True))
    _key: InstanceKey | None = field(default=None, init=False)

    @property
    def key(self) -> InstanceKey:
        """The identity that runtimes and schedulers know it by, once it is bound; one object for all who ask.

        Raises:
            InternalError: It is not bound.
        """
        if self.bound is None:
            msg = f"instance {self.name} has a status and no binding"
            raise InternalError(msg)
        workload_id = self.bound.workload_id
        key = self._key
        if key is None or key.workload_id != workload_id:
            key = self._key = instance_key(self.name, workload_id)
        return key

    @property
    def state(self) -> InstanceState:
        """Where it is in its life, both parts together."""
        if self.status.state in TERMINAL:
            return self.status.state
        bound = self.bound
        if bound is not None:
            if bound.binding.lost_at is not None:
                return InstanceState.LOST
            if bound.binding.desired is DesiredState.STOP:
                return InstanceState.TERMINATING
        return self.status.state

    @property
    def ended(self) -> bool:
        """Whether it has come to an end."""
        if self.status.state in TERMINAL:
            return True
        return self.bound is not None and self.bound.binding.lost_at is not None

    def instance(self) -> WorkloadInstance:
        """Return it as a value for others."""
        key = self.key
        assert self.bound is not None  # noqa: S101 - for the type checker: it has no key otherwise
        state = self.state
        status = self.status if state is self.status.state else evolve(self.status, state=state)
        if state is InstanceState.LOST:
            status = evolve(status, reason="node-lost", finished_at=self.bound.binding.lost_at)
        return WorkloadInstance(
            key=key,
            namespace=self.name.namespace,
            workload=self.name.workload,
            binding=self.bound.binding,
            status=status,
        )


@define(eq=False)
class WorkloadRecord:
    """A workload as the store has it.

    Attributes:
        name: Which workload.
        spec: The author's part; None where it is gone and instances or remains are left.
        spec_revision: Its revision.
        control: The operator's part.
        control_revision: Its revision.
        progress: The cluster loop's part, or None.
        progress_revision: Its revision.
        templates: By generation.
        instances: By name.
        roll: The same, sorted.
    """

    name: WorkloadName
    spec: WorkloadSpec | None = None
    spec_revision: Revision = Revision(0)
    control: WorkloadControl = _NO_CONTROL
    control_revision: Revision = Revision(0)
    progress: WorkloadProgress | None = None
    progress_revision: Revision = Revision(0)
    templates: dict[int, WorkloadDefinition] = field(factory=dict)
    instances: dict[InstanceName, InstanceRecord] = field(factory=dict)
    roll: Roll = field(factory=Roll)

    def note(self, record: InstanceRecord) -> None:
        """Take in an instance that has come or changed, or let go one of which nothing is left."""
        if record.bound is None and record.status_revision == 0:
            self.instances.pop(record.name, None)
            self.roll.forget(record.name)
        else:
            self.instances[record.name] = record
            self.roll.note(record)

    @property
    def revision(self) -> Revision:
        """The revision of the last write of what is wanted of it, by its author or an operator."""
        return max(self.spec_revision, self.control_revision)

    @property
    def empty(self) -> bool:
        """Whether nothing of it is left."""
        return (
            self.spec is None
            and self.control_revision == 0
            and self.progress is None
            and not self.templates
            and not self.instances
        )


@define(eq=False)
class World:
    """A mirror of the store that never waits to be read.

    Attributes:
        workloads: By name.
        instances: By name.
        nodes: The instances bound to each node, by name.
        leases: The lease of each node whose loop is at work.
        taints: Since when nodes have taints that end what runs, of those that have any.
        taint_revisions: The revisions of those records.
        marks: What people say of nodes, of those of which they say anything.
        reports: What nodes report of themselves, those that do.
        revision: All changes up to this revision are in it.
        dependants: Workloads that come after a workload, by its name; in an order that is the same in every run.
        gate: Holds back what is written as one and not all there yet.
    """

    workloads: dict[WorkloadName, WorkloadRecord] = field(factory=dict)
    instances: dict[InstanceName, InstanceRecord] = field(factory=dict)
    nodes: dict[NodeId, dict[InstanceName, InstanceRecord]] = field(factory=dict)
    leases: dict[NodeId, NodeLease] = field(factory=dict)
    taints: dict[NodeId, NodeTaints] = field(factory=dict)
    taint_revisions: dict[NodeId, Revision] = field(factory=dict)
    marks: dict[NodeId, NodeMarks] = field(factory=dict)
    reports: dict[NodeId, NodeReport] = field(factory=dict)
    revision: Revision = Revision(0)
    dependants: dict[WorkloadName, dict[WorkloadName, None]] = field(factory=dict)
    synced: trio.Event = field(factory=trio.Event)
    gate: CommitGate = field(factory=CommitGate)
    _workload_listeners: list[Callable[[WorkloadName], None]] = field(factory=list)
    _instance_listeners: list[Callable[[InstanceName, InstanceRecord], None]] = field(factory=list)
    _lease_listeners: list[Callable[[NodeId], None]] = field(factory=list)
    _taint_listeners: list[Callable[[NodeId], None]] = field(factory=list)
    _mark_listeners: list[Callable[[NodeId], None]] = field(factory=list)
    _node_listeners: dict[NodeId, Callable[[InstanceName], None]] = field(factory=dict)
    _advanced: trio.Event = field(factory=trio.Event)
    _own_writes: dict[str, tuple[bytes, Any]] = field(factory=dict)
    _written_out: tuple[object, bytes] = (None, b"")

    def put(self, key: str, value: object) -> Put:
        """Return the operation that writes a value.

        When it comes back by the watch, unchanged, it is not read again. That is only an optimisation.
        """
        # What many keys hold in common, such as the bindings of a chunk to one node, is written out once.
        data = self._written_out[1] if value is self._written_out[0] else to_json(value)
        self._written_out = value, data
        if len(self._own_writes) >= MAX_OWN_WRITES:
            self._own_writes.clear()
        self._own_writes[key] = data, value
        return Put(key, data)

    def _read(self, entry: Entry, kind: type[T]) -> T:
        data, value = self._own_writes.pop(entry.key, _NOTHING)
        return value if data == entry.value and type(value) is kind else from_json(entry.value, kind)

    def on_workload(self, listener: Callable[[WorkloadName], None]) -> None:
        """Call `listener` with the name of each workload of which anything has changed."""
        self._workload_listeners.append(listener)

    def on_instance(self, listener: Callable[[InstanceName, InstanceRecord], None]) -> None:
        """Call `listener` with each instance that has changed or gone, after the change."""
        self._instance_listeners.append(listener)

    def on_lease(self, listener: Callable[[NodeId], None]) -> None:
        """Call `listener` with each node whose lease has come, gone or changed hands."""
        self._lease_listeners.append(listener)

    def on_taints(self, listener: Callable[[NodeId], None]) -> None:
        """Call `listener` with each node of which it was noted, or is no longer, since when it has taints."""
        self._taint_listeners.append(listener)

    def on_marks(self, listener: Callable[[NodeId], None]) -> None:
        """Call `listener` with each node of which people, or it itself, say something else than before."""
        self._mark_listeners.append(listener)

    def on_node(self, node_id: NodeId, listener: Callable[[InstanceName], None] | None) -> None:
        """Call `listener` with each instance of one node whose binding has changed or gone; None ends it."""
        if listener is None:
            self._node_listeners.pop(node_id, None)
        else:
            self._node_listeners[node_id] = listener

    async def wait_for(self, revision: Revision) -> None:
        """Wait until all changes up to `revision` are in it."""
        while self.revision < revision:
            await self._advanced.wait()

    async def follow(self, store: StateStore) -> None:
        """Load the store and keep up with it, until cancelled; a store that does not answer is asked again.

        Raises:
            OrchestrationError: The store was closed, or holds what this version does not understand.
        """
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                since = await self.load(store)
                self.synced.set()
                delay = FIRST_RETRY_SECONDS
                await self._keep_up(store, since)
            except RevisionCompacted:
                continue
            except Unavailable:
                await trio.sleep(delay)
                delay = min(MAX_RETRY_SECONDS, delay * 2)

    async def load(self, store: StateStore) -> Revision:
        """Bring it to what the store holds now, and return the revision of that.

        What is decided and not all written yet counts as written.
        """
        first = await store.get(LEASE_PREFIX)
        revision = first.revision
        found = dict[str, Entry]()
        for prefix in PREFIXES:
            listed = await store.list(prefix, at_revision=revision)
            found.update((entry.key, entry) for entry in listed.entries)
        decided = await unfinished(store, revision)
        for key, entry in decided.items():
            if entry is None:
                found.pop(key, None)
            elif key.startswith(PREFIXES):
                found[key] = entry
        self.gate.reset(holding=bool(decided))
        for key in [key for key in self._keys() if key not in found]:
            self._apply(key, None, revision)
        for key, entry in found.items():
            self._apply(key, entry, entry.modified)
        self._advance(revision)
        return revision

    async def _keep_up(self, store: StateStore, since: Revision) -> None:
        async with store.watch("/", since=since) as batches:
            async for batch in batches:
                passed = self.gate.passed(batch)
                if passed is None:
                    continue
                for change in passed.changes:
                    self._change(change)
                self._advance(passed.revision)

    def _change(self, change: Change) -> None:
        if change.key.startswith(PREFIXES):
            self._apply(change.key, change.entry, change.revision)

    def _advance(self, revision: Revision) -> None:
        self.revision = max(self.revision, revision)
        self._advanced.set()
        self._advanced = trio.Event()

    def _keys(self) -> Iterator[str]:
        for workload in self.workloads.values():
            base = f"/workload/{workload.name.namespace}/{workload.name.name}"
            if workload.spec is not None:
                yield f"{base}/spec"
            if workload.control_revision:
                yield f"{base}/control"
            if workload.progress is not None:
                yield f"{base}/status"
            for generation in workload.templates:
                yield f"/template/{workload.name.namespace}/{workload.name.name}.{generation}"
        for instance in self.instances.values():
            base = f"/instance/{instance.name.namespace}/{instance.name.short}"
            if instance.bound is not None:
                yield f"{base}/binding"
            if instance.status_revision:
                yield f"{base}/status"
        for node_id in self.leases:
            yield lease_key(node_id)
        for node_id in self.taints:
            yield taints_key(node_id)
        for node_id in self.marks:
            yield marks_key(node_id)
        for node_id in self.reports:
            yield report_key(node_id)

    def _apply(self, key: str, entry: Entry | None, revision: Revision) -> None:
        _, kind, namespace, name, *parts = key.split("/")
        part = parts[0] if parts else ""
        try:
            match kind:
                case "workload":
                    self._apply_workload(WorkloadName(namespace, name), part, entry)
                case "template":
                    self._apply_template(namespace, name, entry)
                case "instance":
                    self._apply_instance(parse_instance(namespace, name), part, entry)
                case "lease":
                    self._apply_lease(NodeId(unquote(name)), entry)
                case "taints":
                    self._apply_taints(NodeId(unquote(name)), entry)
                case "marks":
                    self._apply_marks(NodeId(unquote(name)), entry)
                case "report":
                    self._apply_report(NodeId(unquote(name)), entry)
        except (ConfigInvalid, ValueError) as err:
            msg = f"key {key!r} holds what this version does not understand (revision {revision})"
            raise InternalError(msg, remedy="Was it written by a newer version? Use that one.") from err

    def _workload(self, name: WorkloadName) -> WorkloadRecord:
        record = self.workloads.get(name)
        if record is None:
            record = self.workloads[name] = WorkloadRecord(name)
        return record

    def _touched(self, record: WorkloadRecord) -> None:
        if record.empty:
            self.workloads.pop(record.name, None)
        for listener in self._workload_listeners:
            listener(record.name)

    def _apply_workload(self, name: WorkloadName, part: str, entry: Entry | None) -> None:
        record = self._workload(name)
        revision = Revision(0) if entry is None else entry.modified
        match part:
            case "spec":
                before = record.spec
                record.spec = None if entry is None else self._read(entry, WorkloadSpec)
                record.spec_revision = revision
                self._index_dependencies(name, before, record.spec)
            case "control":
                record.control = _NO_CONTROL if entry is None else self._read(entry, WorkloadControl)
                record.control_revision = revision
            case "status":
                record.progress = None if entry is None else self._read(entry, WorkloadProgress)
                record.progress_revision = revision
        self._touched(record)

    def _index_dependencies(self, name: WorkloadName, before: WorkloadSpec | None, after: WorkloadSpec | None) -> None:
        for dependency in before.definition.after if before is not None else ():
            other = WorkloadName(name.namespace, dependency.workload)
            known = self.dependants.get(other, {})
            known.pop(name, None)
            if not known:
                self.dependants.pop(other, None)
        for dependency in after.definition.after if after is not None else ():
            self.dependants.setdefault(WorkloadName(name.namespace, dependency.workload), {})[name] = None

    def _apply_template(self, namespace: str, name: str, entry: Entry | None) -> None:
        workload, _, generation = name.partition(".")
        record = self._workload(WorkloadName(namespace, workload))
        if entry is None:
            record.templates.pop(int(generation), None)
        else:
            record.templates[int(generation)] = self._read(entry, WorkloadDefinition)
        self._touched(record)

    def _apply_instance(self, name: InstanceName, part: str, entry: Entry | None) -> None:
        record = self.instances.get(name)
        workload = self._workload(name.owner)
        if record is None:
            if entry is None:
                self._touched(workload)
                return
            record = self.instances[name] = InstanceRecord(name, owner=workload.name)
        node_id = record.bound.binding.node_id if record.bound is not None else None
        if part == "binding":
            record.bound = None if entry is None else self._read(entry, BindingRecord)
            record.binding_revision = Revision(0) if entry is None else entry.modified
            if record.bound is not None:
                node_id = record.bound.binding.node_id
                self.nodes.setdefault(node_id, {})[name] = record
            elif node_id is not None:
                held = self.nodes.get(node_id, {})
                held.pop(name, None)
                if not held:
                    self.nodes.pop(node_id, None)
        else:
            record.status = _NO_STATUS if entry is None else self._read(entry, InstanceStatus)
            record.status_revision = Revision(0) if entry is None else entry.modified
        if record.bound is None and record.status_revision == 0:
            del self.instances[name]
        workload.note(record)
        for listener in self._instance_listeners:
            listener(name, record)
        if part == "binding" and node_id is not None:
            on_node = self._node_listeners.get(node_id)
            if on_node is not None:
                on_node(name)
        self._touched(workload)

    def _apply_lease(self, node_id: NodeId, entry: Entry | None) -> None:
        if entry is None:
            self.leases.pop(node_id, None)
        else:
            self.leases[node_id] = from_json(entry.value, NodeLease)
        for listener in self._lease_listeners:
            listener(node_id)

    def _apply_taints(self, node_id: NodeId, entry: Entry | None) -> None:
        if entry is None:
            self.taints.pop(node_id, None)
            self.taint_revisions.pop(node_id, None)
        else:
            self.taints[node_id] = self._read(entry, NodeTaints)
            self.taint_revisions[node_id] = entry.modified
        for listener in self._taint_listeners:
            listener(node_id)

    def _apply_marks(self, node_id: NodeId, entry: Entry | None) -> None:
        if entry is None:
            self.marks.pop(node_id, None)
        else:
            self.marks[node_id] = self._read(entry, NodeMarks)
        for listener in self._mark_listeners:
            listener(node_id)

    def _apply_report(self, node_id: NodeId, entry: Entry | None) -> None:
        if entry is None:
            self.reports.pop(node_id, None)
        else:
            self.reports[node_id] = self._read(entry, NodeReport)
        for listener in self._mark_listeners:
            listener(node_id)

    def waiting_for(self, name: WorkloadName) -> Iterator[WorkloadName]:
        """Yield the workloads that come after one, have not begun, and stay."""
        for dependant in self.dependants.get(name, ()):
            other = self.workloads.get(dependant)
            if other is None or other.spec is None or other.control.removed:
                continue
            if other.progress is None or other.progress.started_at is None:
                yield dependant

    def template(self, record: InstanceRecord) -> WorkloadDefinition | None:
        """Return what an instance runs from, or None where that is not (or no longer) known."""
        workload = self.workloads.get(record.owner)
        if workload is None or record.bound is None:
            return None
        return workload.templates.get(record.bound.binding.generation)
