"""Checking documents where there is no server: as one would that has nothing yet."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from attrs import define, evolve, field, frozen
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    PRIORITY_CLASSES,
    ConfigInvalid,
    Conflict,
    Metadata,
    Problem,
    WorkloadDefinition,
    WorkloadKind,
    unknown,
)
from orchestrion.shared_types.manifest import PlacedDocument, read_manifest

from ._admission.forms import check_form
from ._admission.resource_names import unknown_resources
from ._identity.roles import own_binding, own_role
from ._objects.document import Document
from ._objects.kinds import CUSTOM_KIND, NAMESPACE, PRIORITY_CLASS, ROLE, ROLE_BINDING, WORKLOAD, Kind, KindRegistry
from ._objects.label_form import check_labels
from ._objects.proposal import checked_spec, read_document
from ._objects.specs import CustomKindSpec
from ._objects.workload_form import definition_of
from ._reach import Reach
from ._service.custom_kinds import check_kind, custom_kind_of

__all__ = ["Checked", "check_documents", "check_manifest_labels"]

_STANDARD: Final = frozenset(each.name for each in PRIORITY_CLASSES)


@frozen
class Checked:
    """What became of checking documents.

    Attributes:
        problems: What keeps them from being accepted, in the order of the documents; empty where nothing does.
        objects: By file how many objects of other kinds than workloads there are.
        workloads: By file how many workloads.
        remarks: By file what only a server can tell.
    """

    problems: Sequence[Problem]
    objects: Mapping[str, int]
    workloads: Mapping[str, int]
    remarks: Mapping[str, Sequence[str]]


def check_manifest_labels(workloads: Iterable[WorkloadDefinition]) -> None:
    """Make sure that the labels of workloads of a manifest are ones that a server takes.

    Args:
        workloads: Those of the manifest.

    Raises:
        ConfigInvalid: Some are not; the path of each problem is that in the manifest.
    """
    problems, remedy = list[Problem](), ""
    for workload in workloads:
        try:
            check_labels(workload.metadata.labels, {})
        except ConfigInvalid as err:
            name, remedy = workload.metadata.name, err.remedy
            problems += [
                evolve(each, path=f"workloads.{name}{each.path.removeprefix('metadata')}") for each in err.problems
            ]
    if problems:
        raise ConfigInvalid(tuple(problems), remedy=remedy)


def check_documents(
    documents: Sequence[PlacedDocument],
    *,
    namespace: str = DEFAULT_NAMESPACE,
    beside: Iterable[PlacedDocument] = (),
) -> Checked:
    """Check objects of every kind, lists of objects, and manifests, all of them together.

    Custom kinds, priority classes, and workloads that others come after, are those of the documents. What depends on
    more than these (whether a namespace is there, quotas, who may do it) is not looked at.

    Args:
        documents: All of them; kinds are known in all of them wherever one defines them.
        namespace: Where objects are that do not say it.
        beside: Others, of which only the kinds and the priority classes are taken that these do not have themselves;
            what is wrong with them is not told.
    """
    checking = _Checking(namespace)
    said = [each for document in documents for each in _said(document, document.data, "")]
    for each in said:
        checking.learn(each)
    wanted = [each.data.get("kind") for each in said if isinstance(each.data, Mapping)]
    for each in (each for document in beside for each in _said(document, document.data, "")):
        checking.learn_beside(each, wanted)
    for each in said:
        checking.check(each)
    order = {id(document): number for number, document in enumerate(documents)}
    checking.problems.sort(key=lambda found: (order[id(found[0].document)], found[1].line, found[1].column))
    problems = [problem for _, problem in checking.problems]
    return Checked(problems, checking.objects, checking.workloads, checking.remarks)


@frozen(eq=False)
class _Said:
    """What is said of one object, or a manifest.

    Attributes:
        document: What it is written in.
        data: It itself.
        path: Where in the document; empty where it is all of that.
    """

    document: PlacedDocument
    data: Any
    path: str

    @property
    def place(self) -> str:
        """Where it begins."""
        begins = self.document.problem("", self.path)
        return f"{begins.file}:{begins.line}"

    def at(self, problem: Problem) -> Problem:
        """Return a problem of it with its place in the file."""
        inner = problem.path
        joint = "." if self.path and inner and not inner.startswith("[") else ""
        return self.document.problem(problem.message, f"{self.path}{joint}{inner}")


def _said(document: PlacedDocument, data: Any, path: str) -> Iterator[_Said]:
    items = data.get("items") if isinstance(data, Mapping) else None
    if not isinstance(items, list):
        yield _Said(document, data, path)
        return
    for place, item in enumerate(items):
        yield from _said(document, item, f"{path}.items[{place}]".lstrip("."))


def _come_after(form: Any) -> Iterator[str]:
    """Yield the names that are said of a workload to come before it."""
    after = form.get("after") if isinstance(form, Mapping) else None
    if isinstance(after, Mapping | list):
        yield from (name for name in after if isinstance(name, str))


@define(eq=False)
class _Checking:
    namespace: str
    kinds: KindRegistry = field(factory=KindRegistry)
    problems: list[tuple[_Said, Problem]] = field(factory=list)
    objects: dict[str, int] = field(factory=dict)
    workloads: dict[str, int] = field(factory=dict)
    remarks: dict[str, list[str]] = field(factory=dict)
    _classes: set[str] = field(factory=set)
    _known: dict[str, dict[str, WorkloadDefinition]] = field(factory=dict)
    _seen: dict[tuple[str, str, str], _Said] = field(factory=dict)

    # -- what others need of it -------------------------------------------------------------------------------------

    def learn(self, said: _Said) -> None:
        """Take in what a document lets there be for the others."""
        data = said.data
        if not isinstance(data, Mapping):
            return
        kind = data.get("kind")
        if kind is None:
            workloads = data.get("workloads")
            for name, form in workloads.items() if isinstance(workloads, Mapping) else ():
                self._learn_workload(str(data.get("namespace") or self.namespace), name, form)
        elif kind == CUSTOM_KIND.name:
            try:
                self._learn_kind(data)
            except ConfigInvalid as err:
                self._refuse(said, err)
        elif kind in (WORKLOAD.name, PRIORITY_CLASS.name):
            name, namespace = self._names_of(data)
            if kind == WORKLOAD.name:
                self._learn_workload(namespace, name, data.get("spec"))
            else:
                self._classes.add(name)

    def _learn_workload(self, namespace: str, name: str, form: Any) -> None:
        told = form.get("kind") if isinstance(form, Mapping) else None
        kind = next((each for each in WorkloadKind if each == told), WorkloadKind.SERVICE)
        known = WorkloadDefinition(metadata=Metadata(name=name, namespace=namespace), kind=kind)
        self._known.setdefault(namespace, {})[name] = known

    def learn_beside(self, said: _Said, wanted: Collection[object]) -> None:
        """Take in a kind that is wanted, or a priority class, of what is checked elsewhere."""
        data = said.data
        if not isinstance(data, Mapping):
            return
        if data.get("kind") == PRIORITY_CLASS.name:
            self._classes.add(self._names_of(data)[0])
        elif data.get("kind") == CUSTOM_KIND.name:
            spec = data.get("spec")
            named = spec.get("kind") if isinstance(spec, Mapping) else None
            if named in wanted and all(each.name != named for each in self.kinds):
                with suppress(ConfigInvalid):
                    self._learn_kind(data)

    def _learn_kind(self, data: Mapping[str, Any]) -> None:
        """Let there be a kind; of one whose schema is wrong, with any objects, so that this is told once.

        Raises:
            ConfigInvalid: Something is wrong with it that checking the document by itself does not tell.
        """
        try:
            document = read_document(data, CUSTOM_KIND, "", None)
        except ConfigInvalid:
            return
        spec = custom_kind_of(document)
        try:
            self.kinds.define(check_kind(self.kinds, document), document.metadata.name)
        except ConfigInvalid:
            self.kinds.define(CustomKindSpec(kind=spec.kind, plural=spec.plural, namespaced=spec.namespaced))
            raise
        except Conflict as err:
            raise ConfigInvalid((Problem(err.message, path="spec"),)) from err

    def _names_of(self, data: Mapping[str, Any]) -> tuple[str, str]:
        metadata = data.get("metadata")
        given = metadata if isinstance(metadata, Mapping) else {}
        return str(given.get("name", "")), str(given.get("namespace") or self.namespace)

    # -- it itself --------------------------------------------------------------------------------------------------

    def check(self, said: _Said) -> None:
        """Check what is said of one object, or a manifest."""
        data, file = said.data, said.document.file
        if not isinstance(data, Mapping):
            self._refuse(said, ConfigInvalid((Problem("an object or a manifest is wanted"),)))
            return
        try:
            if "kind" not in data:
                self._check_manifest(said, data)
                return
            kind = self._kind_of(data)
            name, namespace = self._name_of(data, kind)
            self._check_once(said, kind, namespace, name)
            document = read_document(data, kind, namespace, name)
            check_labels(document.labels, {})
            if kind is WORKLOAD:
                self._remark_class(file, definition_of(document, self._others(namespace, {name: document.spec}), None))
            elif kind is not CUSTOM_KIND:
                self._check_object(file, kind, document)
        except ConfigInvalid as err:
            self._refuse(said, err)
        else:
            counts = self.workloads if kind is WORKLOAD else self.objects
            counts[file] = counts.get(file, 0) + 1

    def _check_manifest(self, said: _Said, data: Mapping[str, Any]) -> None:
        given = {"namespace": self.namespace, **data}
        names = given.get("workloads")
        file, namespace = said.document.file, str(given["namespace"])
        others = self._others(namespace, names if isinstance(names, Mapping) else {})
        manifest = read_manifest(given, others=others, classes=None)
        for workload in manifest.workloads:
            self._check_once(said, WORKLOAD, namespace, workload.metadata.name)
        check_manifest_labels(manifest.workloads)
        for workload in manifest.workloads:
            self._remark_class(file, workload)
        self.workloads[file] = self.workloads.get(file, 0) + len(manifest.workloads)

    def _others(self, namespace: str, forms: Mapping[str, Any]) -> list[WorkloadDefinition]:
        """Return the others that workloads come after; where one is not there, all, so that it's told which there are.

        To look at all of them for each of many would take far longer than all other checks.
        """
        known = self._known.get(namespace, {})
        wanted = {name: None for form in forms.values() for name in _come_after(form) if name not in forms}
        if wanted.keys() <= known.keys():
            return [known[name] for name in wanted]
        return [one for name, one in known.items() if name not in forms]

    def _kind_of(self, data: Mapping[str, Any]) -> Kind:
        named = data["kind"]
        if not isinstance(named, str):
            raise ConfigInvalid((Problem("the name of a kind is wanted", path="kind"),))
        kind = next((each for each in self.kinds if each.name == named), None)
        if kind is None:
            known = [each.name for each in self.kinds if each.written]
            text = f"{unknown('kind', named, known)}; a kind of your own is known by its CustomKind, checked with this"
            raise ConfigInvalid((Problem(text, path="kind"),))
        if not kind.written:
            raise ConfigInvalid((Problem(f"{kind.plural} are written by nobody: they show what is", path="kind"),))
        return kind

    def _name_of(self, data: Mapping[str, Any], kind: Kind) -> tuple[str, str]:
        metadata = data.get("metadata")
        name = metadata.get("name") if isinstance(metadata, Mapping) else None
        if not isinstance(metadata, Mapping) or not isinstance(name, str):
            raise ConfigInvalid((Problem("a name is wanted", path="metadata.name"),))
        return name, str(metadata.get("namespace") or self.namespace) if kind.namespaced else ""

    def _check_once(self, said: _Said, kind: Kind, namespace: str, name: str) -> None:
        key = (kind.plural, namespace, name)
        first = self._seen.setdefault(key, said)
        if first is not said:
            text = f"{kind.name} {name!r:.80} is there twice; first in {first.place}"
            raise ConfigInvalid((Problem(text, path="metadata.name" if "kind" in said.data else f"workloads.{name}"),))

    def _check_object(self, file: str, kind: Kind, document: Document) -> None:
        spec, name = checked_spec(kind, document.spec), document.metadata.name
        check_form(kind, document, Reach())
        for resource in unknown_resources(kind, document, ()):
            self._tell(file, f"resource {resource} of {name} is none that all nodes have: a server has to know it")
        if kind is ROLE:
            own_role(name, document.spec)
        elif kind is ROLE_BINDING:
            own_binding(name, document.spec)
        elif kind is NAMESPACE and spec.get("priority_class"):
            self._remark(file, f"namespace {name}", str(spec["priority_class"]))

    def _remark_class(self, file: str, workload: WorkloadDefinition) -> None:
        if workload.priority_class:
            self._remark(file, workload.metadata.name, workload.priority_class)

    def _remark(self, file: str, of: str, named: str) -> None:
        if named not in _STANDARD and named not in self._classes:
            text = f"priority class {named} of {of} is none of the standard ones: whoever runs it has to know it"
            self._tell(file, text)

    def _tell(self, file: str, text: str) -> None:
        self.remarks.setdefault(file, []).append(text)

    def _refuse(self, said: _Said, err: ConfigInvalid) -> None:
        self.problems.extend((said, said.at(problem)) for problem in err.problems)
