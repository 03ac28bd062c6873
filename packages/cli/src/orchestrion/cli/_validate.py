"""`validate`: checking files of workloads and of objects of every kind, without asking anybody."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from attrs import frozen
from orchestrion.shared_types import DEFAULT_NAMESPACE, ConfigInvalid, Problem, WorkloadDefinition
from orchestrion.shared_types.manifest import MAX_BYTES, PlacedDocument

from ._complaints import told
from ._exit_codes import exit_code_of
from ._manifests import STDIN_NAME, is_stdin, load
from ._namespaces import check_namespace, check_within
from ._object_files import documents_of, files_of, objects_of
from ._output import Form, is_for_people, note, show


@frozen(kw_only=True)
class Validated:
    """What became of checking what was named.

    Attributes:
        file: What it was named by.
        objects: How many objects of other kinds than workloads it holds, as far as nothing is wrong.
        workloads: How many workloads, likewise.
        problems: What keeps it from being accepted; empty where nothing does.
        remarks: What only who runs it can tell.
    """

    file: str
    objects: int
    workloads: int
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...] = ()


def run_validate(paths: Collection[Path], namespace: str | None = None, form: Form = "table") -> int:
    """Check files; the exit code is that of the first error.

    Each is checked by itself, but kinds that one of the files defines are known in all of them. What is also in a
    folder that was named is checked once, with that.

    Args:
        paths: The files.
        namespace: Where things are that do not say it, and none may say another one; None lets each say its own.
        form: How what was found is written: for people it is told.
    """
    check_namespace(namespace)
    code, results = 0, list[Validated]()

    def refused(path: Path, err: ConfigInvalid) -> None:
        nonlocal code
        problems = err.problems or (Problem(err.message),)
        results.append(Validated(file=_name_of(path), objects=0, workloads=0, problems=problems))
        this = told(err) if is_for_people(form) else exit_code_of(err)
        code = code or this

    typed: bytes | None = None
    found = dict[Path, Sequence[PlacedDocument] | None]()
    for path in _apart(paths):
        if is_stdin(path):
            typed = sys.stdin.buffer.read(MAX_BYTES + 1)
        try:
            found[path] = objects_of(path, typed if is_stdin(path) else None)
        except ConfigInvalid as err:
            refused(path, err)
    for path, documents in found.items():
        try:
            if documents is None:
                result = _check_manifest(path, typed, namespace)
            else:
                others = (those for other, those in found.items() if other != path)
                beside = [document for those in others for document in those or ()]
                result = _check_objects(path, documents, beside, namespace)
        except ConfigInvalid as err:
            refused(path, err)
            continue
        results.append(result)
        if is_for_people(form):
            _tell(result)
    wrong = [each for each in results if each.problems]
    show(wrong if form == "name" else results, form, table=lambda _: (), name=lambda each: each.file)
    return code


def _tell(result: Validated) -> None:
    for remark in result.remarks:
        note(remark)
    counts = ((result.objects, "object"), (result.workloads, "workload"))
    words = ", ".join(_count(number, what) for number, what in counts if number)
    note(f"{result.file}: {words or 'nothing'}, no problem found")


def _apart(paths: Iterable[Path]) -> list[Path]:
    """Return paths without those that mean nothing but files which another one means too."""
    files = {path: frozenset([str(path)]) if is_stdin(path) else _real(files_of(path)) for path in dict.fromkeys(paths)}
    kept = list[Path]()
    for path, own in sorted(files.items(), key=lambda item: -len(item[1])):
        if not own or not any(own <= files[other] for other in kept):
            kept.append(path)
    return [path for path in files if path in kept]


def _real(files: Iterable[Path]) -> frozenset[str]:
    return frozenset(os.path.realpath(file) for file in files)


def _check_manifest(path: Path, typed: bytes | None, namespace: str | None) -> Validated:
    text = typed if is_stdin(path) else None
    workloads = load(path, text=text, namespace=namespace or DEFAULT_NAMESPACE)
    if namespace is not None:
        check_within(documents_of(path, text), namespace)
    if any(workload.metadata.labels for workload in workloads):
        _check_labels(path, typed, workloads)
    name = _name_of(path)
    remarks = [
        f"{name}: priority class {workload.priority_class} of {workload.metadata.name} is none of the standard ones: "
        "whoever runs it has to know it"
        for workload in workloads
        if workload.priority_class
    ]
    return Validated(file=name, objects=0, workloads=len(workloads), problems=(), remarks=tuple(remarks))


def _check_labels(path: Path, typed: bytes | None, workloads: Collection[WorkloadDefinition]) -> None:
    from orchestrion.control_plane.checking import check_manifest_labels

    try:
        check_manifest_labels(workloads)
    except ConfigInvalid as err:
        documents = documents_of(path, typed if is_stdin(path) else None)
        problems = tuple(_placed(problem, documents) for problem in err.problems)
        raise ConfigInvalid(problems, remedy=err.remedy) from err


def _placed(problem: Problem, documents: Collection[PlacedDocument]) -> Problem:
    """Return a problem of a workload with its place in the one document that has the workload."""
    name = problem.path.split(".")[1]
    for document in documents:
        named = document.data.get("workloads") if isinstance(document.data, Mapping) else None
        if isinstance(named, Mapping) and name in named:
            return document.problem(problem.message, problem.path)
    return problem


def _check_objects(
    path: Path, documents: Sequence[PlacedDocument], beside: Sequence[PlacedDocument], namespace: str | None
) -> Validated:
    from orchestrion.control_plane.checking import check_documents  # of all checks only this one needs a server

    checked = check_documents(documents, namespace=namespace or DEFAULT_NAMESPACE, beside=beside)
    if checked.problems:
        raise ConfigInvalid(tuple(checked.problems))
    check_within(documents, namespace)
    remarks = [f"{file}: {remark}" for file, remarks in sorted(checked.remarks.items()) for remark in remarks]
    return Validated(
        file=_name_of(path),
        objects=sum(checked.objects.values()),
        workloads=sum(checked.workloads.values()),
        problems=(),
        remarks=tuple(remarks),
    )


def _name_of(path: Path) -> str:
    return STDIN_NAME if is_stdin(path) else str(path)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
