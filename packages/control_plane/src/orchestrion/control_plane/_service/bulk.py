"""Many objects applied at once: all of them, or none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from attrs import define, evolve, frozen
from orchestrion.control_plane._history.projection import ObjectName
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import (
    CUSTOM_KIND,
    LIMIT_RANGE,
    NAMESPACE,
    PRIORITY_CLASS,
    RESOURCE_QUOTA,
    ROLE,
    WORKLOAD,
    Kind,
)
from orchestrion.control_plane._objects.specs import CustomKindSpec
from orchestrion.control_plane._objects.workload_form import workload_of
from orchestrion.orchestrator_core import (
    MAX_APPLIED,
    Beside,
    Plan,
    ProposedChange,
    WorkloadName,
    check_reached,
    check_unchanged,
    write_together,
)
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    ConfigInvalid,
    Conflict,
    Metadata,
    NotFound,
    Problem,
    WorkloadDefinition,
    WorkloadKind,
    structure,
)
from orchestrion.shared_types.manifest import read_manifest
from orchestrion.store_interface import Compare, Operation, RevisionConflict

from .intent import BESIDE, MAKING, TOGETHER, Intent
from .objects import Objects
from .workloads import Overtaken, PreparedWorkload
from .writing import Prepared, already

TRIES: Final = 8
"""How often all is thought through again because others came before."""

MAX_OBJECTS: Final = MAX_APPLIED
"""The most objects of one apply."""

_SAYING: Final = {kind.plural: 0 for kind in (PRIORITY_CLASS, ROLE, LIMIT_RANGE, RESOURCE_QUOTA)} | {
    NAMESPACE.plural: 1
}
"""Kinds of objects that have a say in others, with when they are thought through: a namespace may name a class."""

_LATEST: Final = 2


@frozen
class Part:
    """What is said of one object.

    Attributes:
        kind: Its kind.
        namespace: Its namespace, or empty.
        name: Its name.
        data: The part, as plain data.
    """

    kind: Kind
    namespace: str
    name: str
    data: Mapping[str, Any]


@frozen(kw_only=True)
class Outcome:
    """What became of one object.

    Attributes:
        kind: Its kind.
        namespace: Its namespace, or empty.
        name: Its name.
        action: "create", "update" or "unchanged"; "delete" where it went because it is no longer of its set, or, where
            the same was applied before and is not applied again, is gone.
        generation: The generation that it has then; 0 where it is gone.
        note: What else to know, such as that it is stopped and stays so; may be empty.
    """

    kind: str
    namespace: str
    name: str
    action: str
    generation: int
    note: str = ""


@frozen(kw_only=True)
class BulkResult:
    """What was done.

    Attributes:
        items: One for each object, in the order given.
        revision: The store's revision at which all of it is written; 0 where nothing was. Of more than one transaction
            of the store takes, some objects have lower revisions, which no reader saw before this one.
    """

    items: tuple[Outcome, ...]
    revision: int


@define(eq=False)
class Bulk:
    """Applies many objects at once.

    Attributes:
        objects: Where they are.
    """

    objects: Objects

    def named(self, documents: Sequence[Any], namespace: str = DEFAULT_NAMESPACE) -> Iterator[tuple[str, str]]:
        """Give the namespaces and names of the workloads of manifests, before anything else of them is read.

        What they say is held against what there is when it is read; whether who sends them may know that is asked by
        these names.

        Args:
            documents: As plain data.
            namespace: Where they are that do not say it.
        """
        for document in documents:
            if not isinstance(document, Mapping):
                continue
            items, workloads = document.get("items"), document.get("workloads")
            if isinstance(items, list):
                yield from self.named(items, namespace)
            elif "kind" not in document and isinstance(workloads, Mapping):
                for name in workloads:
                    yield str(document.get("namespace", namespace)), str(name)

    def parts(self, documents: Sequence[Any], namespace: str = DEFAULT_NAMESPACE) -> list[Part]:
        """Return what documents say of which objects.

        A document is an object of any kind, a list of objects under `items`, or a manifest.

        Args:
            documents: As plain data.
            namespace: Where objects are that do not say it.

        Raises:
            ConfigInvalid: A document is none of that, or an object is there twice.
            NotFound: There is no such kind.
        """
        found, made = list[Part](), {kind.name: kind for kind in _kinds_in(documents)}
        for place, document in enumerate(documents):
            at = f"[{place}]" if len(documents) > 1 else ""
            found.extend(self._parts_of(document, namespace, at, made))
        seen = set[tuple[str, str, str]]()
        for part in found:
            key = (part.kind.plural, part.namespace, part.name)
            if key in seen:
                raise ConfigInvalid((Problem(f"{part.kind.name} {part.name!r:.80} is there twice"),))
            seen.add(key)
        return found

    def _parts_of(self, document: Any, namespace: str, at: str, made: Mapping[str, Kind]) -> Iterator[Part]:
        if not isinstance(document, Mapping):
            raise ConfigInvalid((Problem("an object or a manifest is wanted", path=at),))
        if "kind" not in document and "items" not in document:
            for definition in self._manifest(document, namespace):
                yield _workload_part(workload_of(definition))
            return
        items = document.get("items")
        if isinstance(items, list):
            for place, item in enumerate(items):
                yield from self._parts_of(item, namespace, f"{at}.items[{place}]".lstrip("."), made)
            return
        kind = self._kind(str(document.get("kind")), made)
        if not kind.written:
            raise ConfigInvalid((Problem(f"{kind.plural} are written by nobody: they show what is", path=at),))
        metadata = document.get("metadata")
        name = metadata.get("name") if isinstance(metadata, Mapping) else None
        if not isinstance(metadata, Mapping) or not isinstance(name, str):
            raise ConfigInvalid((Problem("a name is wanted", path=f"{at}.metadata.name".lstrip(".")),))
        within = str(metadata.get("namespace") or namespace) if kind.namespaced else ""
        yield Part(kind, within, name, dict(document))

    def _kind(self, name: str, made: Mapping[str, Kind]) -> Kind:
        try:
            return self.objects.kinds.named(name)
        except NotFound:
            if name not in made:
                raise
            return made[name]

    def _manifest(self, document: Mapping[str, Any], namespace: str) -> Sequence[Any]:
        given = {"namespace": namespace, **document}
        wanted = str(given["namespace"])
        others = [
            record.spec.definition
            for name, record in self.objects.orchestrator.world.workloads.items()
            if record.spec is not None and name.namespace == wanted and name.name not in given.get("workloads", ())
        ]
        return read_manifest(given, others=others, classes=None).workloads

    def found(self, parts: Sequence[Part]) -> Iterator[Outcome]:
        """Give what has become of objects that were applied before."""
        for part in parts:
            item = self.objects.history.get(ObjectName(part.kind.plural, part.namespace, part.name))
            generation = 0 if item is None else item.document.metadata.generation
            action = "delete" if item is None else "unchanged"
            yield Outcome(
                kind=part.kind.name, namespace=part.namespace, name=part.name, action=action, generation=generation
            )

    async def apply(self, parts: Sequence[Part], intent: Intent) -> BulkResult:
        """Apply all parts, or none of them; who reads sees all of them or none.

        **Idempotency.** Applying the same again changes nothing. **Cancellation.** Indeterminate: all of it is written,
        perhaps later, or nothing.

        Args:
            parts: Each object once.
            intent: How it is meant.

        Raises:
            ConfigInvalid: They can't be accepted, or are more than `MAX_OBJECTS`.
            Conflict: Others say something else of some of them, or kept changing them.
            PreconditionFailed: Something of one of them was written after the intent's index.
            NotFound: A namespace is not there, and is not made with them.
            QuotaExceeded: More would be asked for than a quota grants.
        """
        return await self._written(parts, intent)

    async def _written(self, parts: Sequence[Part], intent: Intent, *, only_new: bool = False) -> BulkResult:
        _check_count(len(parts))
        with _making(parts):
            for _ in range(TRIES):
                try:
                    return await self._tried(parts, intent, only_new=only_new)
                except (RevisionConflict, Overtaken):
                    continue
        raise Conflict("others kept changing the same objects", remedy="Look at what they did, and apply again.")

    async def create(self, parts: Sequence[Part], intent: Intent) -> BulkResult:
        """Make all objects, or none of them; who reads sees all of them or none.

        **Idempotency.** None: a second time there they are. **Cancellation.** Indeterminate: all of it is written,
        perhaps later, or nothing.

        Args:
            parts: Each object once.
            intent: How it is meant.

        Raises:
            ConfigInvalid: They can't be accepted, or are more than `MAX_OBJECTS`.
            Conflict: One of them is there, or others kept changing what they depend on.
            NotFound: A namespace is not there, and is not made with them.
            QuotaExceeded: More would be asked for than a quota grants.
        """
        return await self._written([_anew(part) for part in parts], intent, only_new=True)

    async def plan(self, parts: Sequence[Part], intent: Intent) -> tuple[BulkResult, Plan]:
        """Say what `apply` would do, and where instances would go.

        Raises:
            ConfigInvalid: They can't be accepted.
            Conflict: Others say something else of some of them.
        """
        revision = (await self.objects.store.get("/")).revision
        with _making(parts):
            result = await self._tried(parts, intent)
            workloads, _ = await self._prepared(parts, intent)
        definitions = [each.definition for _, each in workloads]
        starting = await self.objects.workloads.starter.starting(definitions, dry_run=True)
        plan = await self.objects.orchestrator.plan(definitions, starts=starting.starts)
        # What comes in between is in a part of it alone.
        return result, evolve(plan, changes=tuple(map(starting.told, plan.changes)), revision=revision)

    async def _prepared(
        self, parts: Sequence[Part], intent: Intent
    ) -> tuple[list[tuple[int, PreparedWorkload]], list[tuple[int, Prepared]]]:
        objects = self.objects
        workloads = list[tuple[int, PreparedWorkload]]()
        others = list[tuple[int, Prepared]]()
        defining = [(part.name, part.data) for part in parts if part.kind is CUSTOM_KIND]
        kinds = objects.custom_kinds.with_defined(defining) if defining else objects.kinds
        together = dict[ObjectName, Document]()
        # Anew each time: of a try that others came before nothing is to be left.
        TOGETHER.set(together)
        for place, part in sorted(enumerate(parts), key=_when):
            if part.kind is WORKLOAD:
                prepared = await objects.workloads.prepare(part.namespace, part.name, part.data, intent)
                workloads.append((place, prepared))
                continue
            kind = (kinds.get(part.kind.plural) or part.kind) if part.kind.custom is not None else part.kind
            one = await objects.writer.prepare(kind, part.namespace, part.name, part.data, intent, made=MAKING.get())
            others.append((place, one))
            if kind.plural in _SAYING:
                together[ObjectName(kind.plural, part.namespace, part.name)] = one.document
        return workloads, others

    async def _tried(self, parts: Sequence[Part], intent: Intent, *, only_new: bool = False) -> BulkResult:
        workloads, others = await self._prepared(parts, intent)
        if only_new:
            there = [each.before for _, each in workloads if each.before is not None]
            there += [one.document for _, one in others if not one.new]
            if there:
                raise already(there[0])
        if intent.if_index is not None:
            await self._check_since(intent.if_index, [one for _, one in others])
        compares = [compare for _, one in others for compare in one.compares]
        operations = [one.operation for _, one in others if one.operation is not None]
        outcomes = {place: _outcome(one) for place, one in others}
        revision = 0
        if workloads:
            beside = _Beside(self.objects, [each for _, each in workloads], compares, operations, intent)
            definitions = [each.definition for _, each in workloads]
            starting = await self.objects.workloads.starter.starting(definitions, dry_run=intent.dry_run)
            async with self.objects.workloads.turn({each.metadata.namespace for each in definitions}):
                result = await self.objects.orchestrator.apply(
                    definitions,
                    dry_run=intent.dry_run,
                    starts=starting.starts,
                    if_index=intent.if_index,
                    gate=beside,
                )
            revision = result.revision
            for (place, _), change in zip(workloads, map(starting.told, result.changes), strict=True):
                outcomes[place] = Outcome(
                    kind=WORKLOAD.name,
                    namespace=change.namespace,
                    name=change.name,
                    action=change.action.value,
                    generation=change.generation,
                    note=change.note,
                )
        elif operations and not intent.dry_run:
            revision = await write_together(
                self.objects.store,
                [*_once(compares), *intent.compares],
                [*operations, *intent.operations],
                new_uid=self.objects.writer.new_uid,
            )
        await self.objects.history.wait_for(revision)
        return BulkResult(items=tuple(outcomes[place] for place in range(len(parts))), revision=revision)

    async def _check_since(self, index: int, others: Sequence[Prepared]) -> None:
        """Make sure that objects that are no workloads were not written after a revision; the core looks at those.

        What is written of them depends on their revisions, so that nobody comes between this and that.

        Raises:
            PreconditionFailed: One was, or that is no longer known.
        """
        check_reached(index, (await self.objects.store.get("/")).revision)
        for one in others:
            metadata, own = one.document.metadata, one.compares[0]
            what = f"{one.document.kind} {metadata.name!r}"
            await check_unchanged(self.objects.store, what, own.key, own.revision, index)


@define(eq=False)
class _Beside:
    """Writes objects together with workloads, once: what others have changed is thought through again."""

    objects: Objects
    workloads: Sequence[PreparedWorkload]
    compares: Sequence[Compare]
    operations: Sequence[Operation]
    intent: Intent
    _asked: bool = False

    async def __call__(self, changes: Sequence[ProposedChange], world: Any, /) -> Beside:
        if self._asked:
            raise Overtaken("others came before")
        self._asked = True
        own = await self.objects.workloads.beside(self.workloads, changes, world, self.intent)
        return Beside(
            compares=tuple(_once([*self.compares, *own.compares])),
            operations=(*self.operations, *own.operations),
        )


@contextmanager
def _making(parts: Sequence[Part]) -> Iterator[None]:
    """Let those be there that others need and come with: namespaces, and workloads that others come after.

    Those that have a say in others are added once it is known how they will be.
    """
    namespaces = MAKING.set(frozenset(part.name for part in parts if part.kind is NAMESPACE))
    beside = {WorkloadName(part.namespace, part.name): _rough(part) for part in parts if part.kind is WORKLOAD}
    workloads = BESIDE.set(beside)
    together = TOGETHER.set({})
    try:
        yield
    finally:
        TOGETHER.reset(together)
        BESIDE.reset(workloads)
        MAKING.reset(namespaces)


def _when(placed: tuple[int, Part]) -> int:
    return _SAYING.get(placed[1].kind.plural, _LATEST)


def _rough(part: Part) -> WorkloadDefinition:
    """Return as much of a workload as those have to know that come after it; what is no workload is refused later."""
    spec = _spec_of(part)
    kind = None if spec is None else spec.get("kind")
    known = next((each for each in WorkloadKind if each == kind), WorkloadKind.SERVICE)
    return WorkloadDefinition(metadata=Metadata(name=part.name, namespace=part.namespace), kind=known)


def _spec_of(part: Part) -> Mapping[str, Any] | None:
    spec = part.data.get("spec")
    return spec if isinstance(spec, Mapping) else None


def _kinds_in(documents: Iterable[Any]) -> Iterator[Kind]:
    """Give the kinds that documents define, by their names alone: whether they can be defined is looked at later."""
    for document in documents:
        if not isinstance(document, Mapping):
            continue
        items = document.get("items")
        if isinstance(items, list):
            yield from _kinds_in(items)
        elif document.get("kind") == CUSTOM_KIND.name:
            try:
                spec = structure({**document.get("spec", {}), "schema": {}}, CustomKindSpec)
            except (ConfigInvalid, TypeError):
                continue
            yield Kind(name=spec.kind, plural=spec.plural, namespaced=spec.namespaced, custom=spec)


def _anew(part: Part) -> Part:
    """Return what is said of an object that is to be made, without what was said of one like it that was there."""
    metadata = {key: value for key, value in part.data["metadata"].items() if key not in ("uid", "revision")}
    return evolve(part, data={**part.data, "metadata": metadata})


def _workload_part(document: Document) -> Part:
    metadata = document.metadata
    data = {
        "kind": document.kind,
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "labels": dict(metadata.labels),
            "annotations": dict(metadata.annotations),
        },
        "spec": dict(document.spec),
    }
    return Part(WORKLOAD, metadata.namespace, metadata.name, data)


def _outcome(prepared: Prepared) -> Outcome:
    metadata = prepared.document.metadata
    action = "create" if prepared.new else "unchanged" if prepared.operation is None else "update"
    return Outcome(
        kind=prepared.document.kind,
        namespace=metadata.namespace,
        name=metadata.name,
        action=action,
        generation=metadata.generation,
    )


def _once(compares: Sequence[Compare]) -> list[Compare]:
    """Return conditions, each once: several objects depend on the same namespace.

    Raises:
        Overtaken: Two of them contradict each other: others came between.
    """
    found = dict[str, Compare]()
    for compare in compares:
        if found.setdefault(compare.key, compare) != compare:
            raise Overtaken("others came before")
    return list(found.values())


def _check_count(objects: int) -> None:
    if objects > MAX_OBJECTS:
        text = f"{objects:,} objects are more than {MAX_OBJECTS:,}, which one apply takes"
        raise ConfigInvalid((Problem(text),), remedy="Split them.")
