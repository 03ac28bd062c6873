"""What people say of nodes: labels, taints, and that one is gone; written beside what the cluster manager tells."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any, Final

from attrs import define, evolve, field
from orchestrion.control_plane._history.event import Item
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import NODE
from orchestrion.control_plane._objects.label_form import check_taint
from orchestrion.control_plane._objects.proposal import check_precondition
from orchestrion.control_plane._objects.stored import object_key
from orchestrion.orchestrator_core import (
    SEEN,
    TERMINAL,
    NodeMarks,
    Orchestrator,
    marked,
    marks_key,
    may_go,
    reported,
)
from orchestrion.shared_types import (
    ConfigInvalid,
    Conflict,
    Node,
    NodeId,
    OrchestrationError,
    Problem,
    Taint,
    from_json,
    structure,
    to_json,
    unstructure,
)
from orchestrion.store_interface import ABSENT, Compare, Delete, Entry, Operation

from .intent import ChangeKind, Edit, Intent, Review
from .node_records import known_node, node_record, write_node_record
from .nodes import NodeMirror
from .writing import Writer

TRIES: Final = 8
"""How often a change is thought through again because others came before."""

Permit = Callable[[str], None]
"""Takes a verb, "label" or "taint", and raises where who asks may not do that with the node."""


def permit_all(_verb: str, /) -> None:
    """Let everything pass."""


@define(eq=False, repr=False)
class NodeMarking:
    """Writes down what people say of nodes.

    Attributes:
        orchestrator: Takes it in.
        writer: Knows who admits changes.
        history: Shows the nodes.
        mirror: Writes the objects of nodes.
        reporting: Those that report themselves here, or have done so. What is reported comes and goes without anybody
            saying so, and who sends it back would make it their own for ever.
    """

    orchestrator: Orchestrator
    writer: Writer
    history: History
    mirror: NodeMirror
    reporting: set[NodeId] = field(factory=set, init=False)

    async def change(self, name: str, edit: Edit, intent: Intent, permit: Permit = permit_all) -> Item:
        """Change a node's labels and taints, and return it once everybody sees that.

        What the cluster manager tells can be given another value, and not be taken away: a label that is left out of
        what it tells is refused. What people have said goes by being left out.

        **Idempotency.** What is as it is wanted is not written. **Cancellation.** Indeterminate.

        Args:
            name: The node's id.
            edit: From the node as plain data to what it should be.
            intent: How it is meant.
            permit: Asked for "label" or "taint" where those change.

        Raises:
            NotFound: There is none of that id.
            ConfigInvalid: Something else is to be changed, a label or a taint is none, or a node that reports itself is
                given a taint by who does not say at which revision.
            PreconditionFailed: It is not what the caller takes it for.
            Conflict: The node is not there any longer, or others kept changing it.
        """
        node_id = NodeId(name)
        for _ in range(TRIES):
            entry = await node_record(self.orchestrator, marks_key(node_id))
            before = (await self.seen(node_id)).document
            told = await self.orchestrator.cluster.get_node(node_id)
            if told is None:
                msg = f"node {name!r:.80} is not there any longer"
                raise Conflict(msg, remedy=f"Remove it: orchestrion node rm {name:.80}")
            told = reported(told, self.orchestrator.world.reports.get(node_id))
            given = structure(edit(before.plain()), Document)
            check_precondition(before, given, intent.if_revision)
            _check_rest(before, given)
            labels, taints = dict(given.metadata.labels), _taints_of(given.spec, frozenset(_taints_of(before.spec)))
            if labels != dict(before.metadata.labels):
                permit("label")
            if set(taints) != set(_taints_of(before.spec)):
                permit("taint")
            # What else it is tainted with is the server's doing, and comes and goes without anybody saying so.
            kept = marked(told, evolve(_marks_of(entry), removed=False)) or told
            passing = set(_taints_of(before.spec)) - set(kept.taints)
            own = tuple(taint for taint in taints if taint not in passing)
            marks = NodeMarks(labels=_own_labels(told, labels), taints=_own_taints(told, own))
            is_new = not set(marks.taints) <= set(_marks_of(entry).taints)
            reports = node_id in self.reporting or node_id in self.orchestrator.world.reports
            if is_new and reports and intent.if_revision is None and not _names_one(edit, before):
                text = "who adds taints to a node that reports itself says this: a taint that was read may have ended"
                raise ConfigInvalid(
                    (Problem(text, path="metadata.revision"),),
                    remedy="Read the node, and give the revision that it had, or use orchestrion node taint.",
                )
            document = evolve(
                before,
                metadata=evolve(before.metadata, labels=labels),
                spec={**before.spec, "taints": unstructure(taints)} if taints else _without_taints(before.spec),
            )
            review = Review(change=ChangeKind.UPDATE, kind=NODE, document=document, before=before, intent=intent)
            if await self.writer.admit(review) != document:
                text = "a webhook has changed a node, of which only labels and taints are written, by who asks"
                raise ConfigInvalid((Problem(text),))
            if intent.dry_run:
                return Item(document.encoded(), before.metadata.revision, document.labels)
            if marks == _marks_of(entry):
                return known_node(self.history, name)
            if await self._written(node_id, entry, marks, (), intent):
                return await self.seen(node_id)
        raise _busy(name)

    async def remove(self, name: str, intent: Intent) -> Item:
        """Forget a node that is not there any longer, that nobody sees, or that is drained; return it as it was.

        One that the cluster manager still tells of is not shown from then on; as soon as it is seen again, or let work
        again, it is there as a new one is, without the labels and taints that people gave it.

        **Idempotency.** None: what is gone is not found. **Cancellation.** Indeterminate.

        Raises:
            NotFound: There is none of that id.
            Conflict: It is there and not drained, something still runs on it, no other node is there, or others kept
                changing it.
            PreconditionFailed: It is not what the caller takes it for.
        """
        node_id = NodeId(name)
        for _ in range(TRIES):
            entry = await node_record(self.orchestrator, marks_key(node_id))
            item = known_node(self.history, name)
            before = item.document
            check_precondition(before, None, intent.if_revision)
            told = await self.orchestrator.cluster.get_node(node_id)
            others: tuple[Compare, ...] = ()
            if told is not None:
                self._check_may_go(told)
                others = await self._check_others(told)
            review = Review(change=ChangeKind.DELETE, kind=NODE, document=before, before=before, intent=intent)
            await self.writer.admit(review)
            if intent.dry_run:
                return item
            marks = NodeMarks(removed=told is not None)
            if await self._written(node_id, entry, marks, (Delete(object_key(NODE, "", name)),), intent, others):
                # It may have been let work again meanwhile: then it stays. Or others may just have written it down.
                if not await self.show(node_id):
                    await self.mirror.remove(node_id)
                return item
        raise _busy(name)

    async def welcome_back(self, node_id: NodeId) -> None:
        """Note that a node is there again that was removed; one that was not is left as it is."""
        marks = self.orchestrator.world.marks.get(node_id)
        if marks is None or not marks.removed:
            return
        told = await self.orchestrator.cluster.get_node(node_id)
        entry = await node_record(self.orchestrator, marks_key(node_id))
        if told is not None and not may_go(told) and _marks_of(entry).removed:
            await self._written(node_id, entry, evolve(_marks_of(entry), removed=False), (), Intent())

    async def _check_others(self, told: Node) -> tuple[Compare, ...]:
        """Refuse to remove the last node that is there: nothing could run, and nobody would see what to bring back.

        Return what has to stay as it is for that: otherwise two that are removed at once would each be spared for the
        other's sake.
        """
        if told.status not in SEEN:
            return ()
        others = [node for node in await self.orchestrator.list_nodes() if node.id != told.id and node.status in SEEN]
        for node in sorted(others, key=may_go):
            key = marks_key(node.id)
            entry = await node_record(self.orchestrator, key)
            if not _marks_of(entry).removed:
                return (Compare(key, ABSENT if entry is None else entry.modified),)
        msg = f"node {told.name!r} is there, and no other is: without it nothing could run"
        raise Conflict(msg, remedy=f"Keep work off it: orchestrion node cordon {told.name}")

    def _check_may_go(self, told: Node) -> None:
        if not may_go(told):
            msg = f"node {told.name!r} is there, and not drained"
            raise Conflict(msg, remedy=f"Drain it first: orchestrion node drain {told.name} --reason WHY")
        if told.drain is None:
            return
        there = self.orchestrator.world.nodes.get(told.id, {})
        living = sorted(str(name.short) for name, record in there.items() if record.state not in TERMINAL)
        if living:
            msg = f"node {told.name!r} is not drained yet: it has {', '.join(living[:5])}"
            raise Conflict(msg, remedy="Wait until its drain has come to its end.")

    async def _written(
        self,
        node_id: NodeId,
        entry: Entry | None,
        marks: NodeMarks,
        besides: tuple[Operation, ...],
        intent: Intent,
        looked_at: tuple[Compare, ...] = (),
    ) -> bool:
        value = to_json(marks) if marks != NodeMarks() else None
        key = marks_key(node_id)
        return await write_node_record(self.orchestrator, self.history, key, entry, value, intent, besides, looked_at)

    async def seen(self, node_id: NodeId) -> Item:
        """Return a node as it is now, once everybody sees it so.

        Raises:
            NotFound: It is not there any longer.
        """
        await self.show(node_id)
        return known_node(self.history, node_id)

    async def show(self, node_id: NodeId) -> bool:
        """Make everybody see a node as it is now; return whether it is there."""
        there = await self.mirror.put(node_id)
        if there:
            await self.history.wait_for((await self.writer.store.get(object_key(NODE, "", node_id))).revision)
        return there


def _marks_of(entry: Entry | None) -> NodeMarks:
    return NodeMarks() if entry is None else from_json(entry.value, NodeMarks)


def _names_one(edit: Edit, before: Document) -> bool:
    """Whether who changes a node says at which revision; what is left as it was is said by nobody."""
    plain = before.plain()
    plain["metadata"].pop("revision", None)
    try:
        return structure(edit(plain), Document).metadata.revision != 0
    except OrchestrationError:
        return True  # a JSON patch tests it


def _without_taints(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "taints"}


def _taints_of(spec: Mapping[str, Any], known: Container[Taint] | None = None) -> tuple[Taint, ...]:
    """Return the taints of a node's spec.

    Args:
        spec: Has them.
        known: Those that may stay as they are, whatever they are; None is all.

    Raises:
        ConfigInvalid: They are none, one is there twice, or can't be.
    """
    try:
        taints = structure(spec.get("taints") or [], tuple[Taint, ...])
    except ConfigInvalid as err:
        problems = tuple(evolve(each, path=f"spec.taints{each.path}") for each in err.problems)
        raise ConfigInvalid(problems, remedy=err.remedy) from err
    seen = set[tuple[str, str]]()
    for place, taint in enumerate(taints):
        if known is not None and taint not in known:
            check_taint(taint, f"spec.taints[{place}]")
        if (taint.key, taint.effect) in seen:
            text = f"{taint.key!r:.80} with {taint.effect.value} is there twice"
            raise ConfigInvalid((Problem(text, path=f"spec.taints[{place}]"),))
        seen.add((taint.key, taint.effect))
    return taints


def _check_rest(before: Document, given: Document) -> None:
    """Make sure that nothing is changed but labels and taints."""
    kept = evolve(given.metadata, labels=before.metadata.labels, revision=before.metadata.revision)
    others = [
        path
        for path, is_same in (
            ("kind", given.kind == before.kind),
            ("api_version", given.api_version == before.api_version),
            ("metadata", kept == before.metadata),
            ("spec", _without_taints(given.spec) == _without_taints(before.spec)),
            ("status", dict(given.status) == dict(before.status)),
        )
        if not is_same
    ]
    if others:
        text = "of a node only metadata.labels and spec.taints are written; the rest shows what is"
        raise ConfigInvalid(tuple(Problem(text, path=path) for path in others))


def _own_labels(told: Node, wanted: Mapping[str, str]) -> dict[str, str]:
    missing = sorted(told.labels.keys() - wanted.keys())
    if missing:
        text = "the cluster manager tells it: it can be given another value, and not be taken away"
        raise ConfigInvalid(tuple(Problem(text, path=f"metadata.labels.{key}") for key in missing))
    if "" in wanted:
        raise ConfigInvalid((Problem("a label has a key", path="metadata.labels"),))
    return {key: value for key, value in wanted.items() if told.labels.get(key) != value}


def _own_taints(told: Node, wanted: tuple[Taint, ...]) -> tuple[Taint, ...]:
    there = {(taint.key, taint.effect) for taint in wanted}
    missing = [taint for taint in told.taints if (taint.key, taint.effect) not in there]
    if missing:
        text = "the cluster manager tells {}: it can be given another value, and not be taken away"
        names = [f"{taint.key}:{taint.effect.value}" for taint in missing]
        raise ConfigInvalid(tuple(Problem(text.format(name), path="spec.taints") for name in names))
    return tuple(taint for taint in wanted if taint not in told.taints)


def _busy(name: str) -> Conflict:
    return Conflict(f"others kept changing node {name!r:.80}", remedy="Look at what they did, and try again.")
