"""From files to a manifest."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen
from orchestrion.shared_types._check import findings, findings_in
from orchestrion.shared_types._errors import ConfigInvalid, Problem
from orchestrion.shared_types._finding import Finding, path_text
from orchestrion.shared_types._ids import DEFAULT_NAMESPACE
from orchestrion.shared_types._priority import PRIORITY_CLASSES, PriorityClass
from orchestrion.shared_types._workload import Volume, WorkloadDefinition

from ._form import MANIFEST, WORKLOAD, definition
from ._nodes import Mapping as MappingNode
from ._nodes import Node, Scalar, locate, node_of, plain
from ._shape import INVALID, MAX_PROBLEMS, Reader
from ._terms import NAME
from ._yaml import MAX_BYTES, compose, too_large

SUFFIXES: Final = (".yaml", ".yml", ".json")
"""Names of files in a folder that are read as manifests."""


@frozen(kw_only=True)
class Manifest:
    """Workloads that are applied together.

    Attributes:
        namespace: Where they live.
        workloads: In the order in which they are written; names are unique.
        volumes: Those that the manifest declares for all its workloads; each workload has those that it mounts.
        warnings: What was accepted and is likely not meant, with its place.
    """

    namespace: str = DEFAULT_NAMESPACE
    workloads: tuple[WorkloadDefinition, ...] = ()
    volumes: tuple[Volume, ...] = ()
    warnings: tuple[Problem, ...] = field(default=(), eq=False)


def load_manifest(
    path: Path,
    *,
    max_bytes: int = MAX_BYTES,
    others: Collection[WorkloadDefinition] = (),
    classes: Collection[PriorityClass] | None = PRIORITY_CLASSES,
    namespace: str = DEFAULT_NAMESPACE,
) -> Manifest:
    """Return the manifest of a file, or of all `SUFFIXES` files of a folder, in the order of their names.

    Args:
        path: A file or a folder; folders inside it are not read.
        max_bytes: A file that is larger is refused before it is read.
        others: Workloads that exist already, which those of the manifest may come after.
        classes: The priority classes that may be named; None are the standard ones, and any others, whose names are
            passed on to whoever runs it.
        namespace: Where its workloads live if it names no namespace; it has to be a name.

    Raises:
        ConfigInvalid: It can't be read, or what it says can't be accepted; each problem has its place.
    """
    return load_manifests((path,), max_bytes=max_bytes, others=others, classes=classes, namespace=namespace)


def load_manifests(
    paths: Iterable[Path],
    *,
    max_bytes: int = MAX_BYTES,
    others: Collection[WorkloadDefinition] = (),
    classes: Collection[PriorityClass] | None = PRIORITY_CLASSES,
    namespace: str = DEFAULT_NAMESPACE,
) -> Manifest:
    """Return one manifest of several files and folders; see `load_manifest`.

    Raises:
        ConfigInvalid: See `load_manifest`. A file that is not YAML does not hide the problems of the others.
    """
    collected = _Collected(classes, namespace)
    for path in paths:
        for file in _files(path, collected):
            try:
                source = _read(file, max_bytes)
            except ConfigInvalid as err:
                collected.problems.extend(err.problems)
                continue
            collected.add(source, str(file), os.path.abspath(file.parent), max_bytes)  # noqa: PTH100 # keeps symbolic links
    return collected.manifest(others)


def parse_manifest(
    text: bytes | str,
    *,
    file: str = "",
    folder: Path | None = None,
    max_bytes: int = MAX_BYTES,
    others: Collection[WorkloadDefinition] = (),
    classes: Collection[PriorityClass] | None = PRIORITY_CLASSES,
    namespace: str = DEFAULT_NAMESPACE,
) -> Manifest:
    """Return the manifest that a text stands for.

    Args:
        text: One or more YAML documents, or JSON; bytes are UTF-8.
        file: The name that problems are reported with.
        folder: Where relative paths start; None refuses relative paths.
        max_bytes: A longer text is refused.
        others: Workloads that exist already, which those of the manifest may come after.
        classes: The priority classes that may be named; None are the standard ones, and any others, whose names are
            passed on to whoever runs it.
        namespace: Where its workloads live if it names no namespace; it has to be a name.

    Raises:
        ConfigInvalid: What it says can't be accepted; each problem has its place.
    """
    collected = _Collected(classes, namespace)
    collected.add(text, file, None if folder is None else os.path.abspath(folder), max_bytes)  # noqa: PTH100 # the same
    return collected.manifest(others)


def read_manifest(
    data: Mapping[str, Any],
    *,
    others: Collection[WorkloadDefinition] = (),
    classes: Collection[PriorityClass] | None = PRIORITY_CLASSES,
    namespace: str = DEFAULT_NAMESPACE,
) -> Manifest:
    """Return the manifest that plain data stands for, as `plain_documents` gives it; relative paths are refused.

    Problems have a path, and no line.

    Args:
        data: One document. What it takes to read it is bounded by whoever made it.
        others: Workloads that exist already, which those of the manifest may come after.
        classes: The priority classes that may be named; None are the standard ones, and any others, whose names are
            passed on to whoever runs it.
        namespace: Where its workloads live if it names no namespace; it has to be a name.

    Raises:
        ConfigInvalid: What it says can't be accepted.
    """
    collected = _Collected(classes, namespace)
    collected.take([node_of(dict(data))], "", None)
    return collected.manifest(others)


def plain_documents(text: bytes | str, *, file: str = "", max_bytes: int = MAX_BYTES) -> list[Any]:
    """Return the documents of a text as plain data, whatever they are about; empty ones are left out.

    Args:
        text: One or more YAML documents, or JSON; bytes are UTF-8.
        file: The name that problems are reported with.
        max_bytes: A longer text is refused.

    Raises:
        ConfigInvalid: It can't be read, or exceeds a bound of manifests.
    """
    return [plain(document) for document in compose(text, file=file, max_bytes=max_bytes)]


def check_manifest(manifest: Manifest, *, others: Collection[WorkloadDefinition] = ()) -> tuple[Problem, ...]:
    """Return what keeps a manifest from being accepted; empty where nothing does. The loader has done it."""
    problems = [
        Problem(finding.message, path=path_text(finding.path))
        for finding in findings(manifest.workloads, others=others)
        if not finding.warning
    ]
    strangers = [one for one in manifest.workloads if one.metadata.namespace != manifest.namespace]
    problems += [
        Problem(
            f"it is in the namespace {one.metadata.namespace!r}, its manifest in {manifest.namespace!r}",
            path=path_text(("workloads", one.metadata.name)),
        )
        for one in strangers
    ]
    return tuple(problems)


def _files(path: Path, collected: _Collected) -> Iterable[Path]:
    try:
        if not path.is_dir():
            return (path,)
        found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    except (OSError, ValueError) as err:
        collected.problems.append(_unreadable(path, err))
        return ()
    if not found:
        msg = f"this folder has no file that ends in {', '.join(SUFFIXES)}"
        collected.problems.append(Problem(msg, file=str(path)))
    return found


def _read(file: Path, max_bytes: int) -> bytes:
    try:
        with file.open("rb") as opened:
            if os.fstat(opened.fileno()).st_size > max_bytes:
                raise too_large(str(file), max_bytes)
            # A pipe has no size, and a file can grow.
            source = opened.read(max_bytes + 1)
    except FileNotFoundError as err:
        raise ConfigInvalid((Problem("there is no such file; check the name", file=str(file)),)) from err
    except (OSError, ValueError) as err:
        raise ConfigInvalid((_unreadable(file, err),)) from err
    return source


def _unreadable(path: Path, err: OSError | ValueError) -> Problem:
    reason = (err.strerror if isinstance(err, OSError) else None) or str(err)
    return Problem(f"this can't be read: {reason.lower()}", file=str(path))


@frozen
class _Written:
    """A workload as it was read.

    Attributes:
        attributes: What it says, or None where that is wrong.
        file: Where it is written.
        key: Its name there.
        node: What follows its name.
    """

    attributes: Mapping[str, Any] | None
    file: str
    key: Scalar
    node: Node


class _Collected:
    """What the documents read so far have said."""

    def __init__(self, classes: Collection[PriorityClass] | None, namespace: str) -> None:
        self.problems: list[Problem] = []
        self._classes = classes
        self._otherwise = namespace
        self._namespace: tuple[str, str] | None = None
        self._volumes: dict[str, tuple[Volume, Problem]] = {}
        self._workloads: dict[str, _Written] = {}
        self._files: dict[str, int] = {}

    def add(self, source: bytes | str, file: str, folder: str | None, max_bytes: int) -> None:
        """Take in the documents of one text."""
        self._files.setdefault(file, len(self._files))
        try:
            roots = compose(source, file=file, max_bytes=max_bytes)
        except ConfigInvalid as err:
            self.problems.extend(err.problems)
            return
        self.take(roots, file, folder)

    def take(self, roots: Iterable[Node], file: str, folder: str | None) -> None:
        """Take in documents."""
        self._files.setdefault(file, len(self._files))
        reader = Reader(file, folder, self._classes)
        for root in roots:
            if isinstance(root, MappingNode):
                self._add(root, reader)
            else:
                reader.fail(root, (), f"a manifest is a mapping with the key workloads, not {root.words}")
        self.problems.extend(reader.problems)

    def _add(self, root: MappingNode, reader: Reader) -> None:
        """Take in a document key by key, so that what is right is kept and checked although other parts are wrong."""
        fields = {field.key: field for field in MANIFEST.fields}
        for key, (place, node) in root.entries.items():
            field = fields.get(key)
            if reader.is_full():
                return
            if field is None:
                MANIFEST.read_other(key, place, node, (), reader, {})
            elif key == "workloads" and isinstance(node, MappingNode):
                for name, (name_place, item) in node.entries.items():
                    if reader.is_full():
                        return
                    self._take_workload(name, name_place, item, reader)
            else:
                value = field.shape.read(node, (key,), reader)
                if key == "namespace" and value is not INVALID:
                    self._take_namespace(value, node, reader)
                elif key == "volumes" and value is not INVALID:
                    for volume in value:
                        self._take_volume(volume, node, reader)

    def _take_workload(self, name: str, key: Scalar, node: Node, reader: Reader) -> None:
        path = ("workloads", name)
        first = self._workloads.get(name)
        if first is not None:
            place = f"{first.file}:{first.key.line}" if first.file else f"line {first.key.line}"
            reader.fail(key, path, f"workload {name!r:.80} is defined twice; first in {place}")
            return
        name_read = NAME.read(Scalar(name, name, key.line, key.column), path, reader)
        value = WORKLOAD.read(node, path, reader)
        good = name_read is not INVALID and value is not INVALID
        self._workloads[name] = _Written(value if good else None, reader.file, key, node)

    def _take_namespace(self, namespace: str, node: Node, reader: Reader) -> None:
        place = f"{reader.file or 'line'}:{node.line}"
        if self._namespace is None:
            self._namespace = (namespace, place)
        elif self._namespace[0] != namespace:
            msg = f"a manifest has one namespace; {self._namespace[0]!r} is said in {self._namespace[1]}"
            reader.fail(node, ("namespace",), msg)

    def _take_volume(self, volume: Volume, node: Node, reader: Reader) -> None:
        at = locate(node, (volume.name,))
        place = Problem("", path_text(("volumes", volume.name)), reader.file, at.line, at.column)
        first, _ = self._volumes.setdefault(volume.name, (volume, place))
        if first != volume:
            msg = f"volume {volume.name!r} is declared twice, once as {first.scope} and once as {volume.scope}"
            reader.fail(at, ("volumes", volume.name), msg)

    def manifest(self, others: Collection[WorkloadDefinition]) -> Manifest:
        """Return all of it together.

        Raises:
            ConfigInvalid: There is a problem.
        """
        if not self._workloads and not self.problems:
            file = next(iter(self._files), "")
            self.problems.append(Problem("nothing is defined here; a manifest needs the key workloads", file=file))
        namespace = self._otherwise if self._namespace is None else self._namespace[0]
        definitions = tuple(
            self._definition(name, namespace, written.attributes)
            for name, written in self._workloads.items()
            if written.attributes is not None
        )
        known: dict[str, WorkloadDefinition | None] = {
            one.metadata.name: one for one in others if one.metadata.namespace == namespace
        }
        known.update(dict.fromkeys(self._workloads))
        warnings: list[Problem] = []
        for finding in findings_in(definitions, known, volumes=self._volumes):
            problem = self._placed(finding)
            (warnings if finding.warning else self.problems).append(problem)
            if len(self.problems) > MAX_PROBLEMS:
                break
        if self.problems:
            raise ConfigInvalid(self._shown(self.problems))
        return Manifest(
            namespace=namespace,
            workloads=definitions,
            volumes=tuple(volume for volume, _ in self._volumes.values()),
            warnings=self._shown([*warnings, *self._unused(definitions)]),
        )

    def _definition(self, name: str, namespace: str, attributes: Mapping[str, Any]) -> WorkloadDefinition:
        """Return a workload with those of the manifest's volumes that it mounts and does not declare itself."""
        found = definition(name, namespace, attributes)
        mounted = dict.fromkeys(mount.volume for container in found.containers for mount in container.volumes)
        own = {volume.name for volume in found.volumes}
        shared = tuple(self._volumes[one][0] for one in mounted if one in self._volumes and one not in own)
        return evolve(found, volumes=found.volumes + shared) if shared else found

    def _placed(self, finding: Finding) -> Problem:
        text = path_text(finding.path)
        written = self._workloads[str(finding.path[1])]
        node = locate(written.node, finding.path[2:])
        place: Node = written.key if node is written.node else node
        return Problem(finding.message, text, written.file, place.line, place.column)

    def _unused(self, definitions: Iterable[WorkloadDefinition]) -> Iterator[Problem]:
        used = {volume.name for one in definitions for volume in one.volumes}
        for name, (_, place) in self._volumes.items():
            if name not in used:
                yield evolve(place, message=f"volume {name!r} is mounted by no container")

    def _shown(self, problems: list[Problem]) -> tuple[Problem, ...]:
        ordered = sorted(problems, key=lambda one: (self._files.get(one.file, -1), one.line, one.column))
        if len(ordered) <= MAX_PROBLEMS:
            return tuple(ordered)
        return (*ordered[:MAX_PROBLEMS], Problem("and more; mend these first", file=ordered[-1].file))
