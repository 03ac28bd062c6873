"""What a text says of workloads: as a manifest, or as objects of kind Workload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from orchestrion.control_plane._objects.kinds import WORKLOAD
from orchestrion.control_plane._objects.proposal import read_document
from orchestrion.control_plane._objects.workload_form import definition_of
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    ConfigInvalid,
    Metadata,
    Problem,
    WorkloadDefinition,
    WorkloadKind,
)
from orchestrion.shared_types.manifest import parse_manifest, plain_documents, read_manifest

_UNHEEDED: Final = ("uid", "revision", "owners", "finalizers")
"""What an object may say of itself that means something, and that a Control is not told."""


def workloads_said(text: str, others: Sequence[WorkloadDefinition], max_bytes: int) -> tuple[WorkloadDefinition, ...]:
    """Return the workloads of a text, which may come after each other and after others.

    Args:
        text: YAML or JSON: one or more documents, each a manifest, a Workload, or a list of such under `items`.
        others: The workloads that there are.
        max_bytes: A longer text is refused.

    Raises:
        ConfigInvalid: What it says can't be accepted; problems have their places, of a plain manifest with lines.
    """
    documents = plain_documents(text, max_bytes=max_bytes)
    if not any(isinstance(each, Mapping) and ("kind" in each or "items" in each) for each in documents):
        return parse_manifest(text, max_bytes=max_bytes, others=others, classes=None).workloads
    said = list(_said(documents))
    near = {(each.metadata.namespace, each.metadata.name): each for each in others}
    near |= {(each.metadata.namespace, each.metadata.name): each for _, data in said for each in _outlines(data)}
    found, problems = dict[tuple[str, str], WorkloadDefinition](), list[Problem]()
    for place, data in said:
        try:
            for each in _read(data, near):
                key = (each.metadata.namespace, each.metadata.name)
                if key in found:
                    raise ConfigInvalid((Problem(f"workload {each.metadata.name!r} is there twice"),))
                found[key] = each
        except ConfigInvalid as err:
            problems += [Problem(each.message, path=f"{place}.{each.path}".strip(".")) for each in err.problems]
    if problems:
        raise ConfigInvalid(tuple(problems))
    return tuple(found.values())


def _said(documents: Sequence[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give what is said one by one, each with its place."""
    for number, document in enumerate(documents):
        place = f"[{number}]" if len(documents) > 1 else ""
        items = document.get("items") if isinstance(document, Mapping) else None
        for index, each in enumerate(items if isinstance(items, list) else [document]):
            at = f"{place}.items[{index}]".strip(".") if isinstance(items, list) else place
            if not isinstance(each, Mapping):
                raise ConfigInvalid((Problem("a manifest or a Workload is wanted", path=at),))
            yield at, each


def _outlines(data: Mapping[str, Any]) -> Iterator[WorkloadDefinition]:
    """Give what others need to know who come after the workloads of a document: names, and whether they end."""
    metadata, workloads = data.get("metadata"), data.get("workloads")
    if "kind" in data and isinstance(metadata, Mapping):
        forms = {metadata.get("name"): data.get("spec")}
        namespace = metadata.get("namespace")
    else:
        forms = dict(workloads) if isinstance(workloads, Mapping) else {}
        namespace = data.get("namespace")
    for name, form in forms.items():
        told = form.get("kind") if isinstance(form, Mapping) else None
        kind = next((each for each in WorkloadKind if each == told), WorkloadKind.SERVICE)
        where = str(namespace or DEFAULT_NAMESPACE)
        yield WorkloadDefinition(metadata=Metadata(name=str(name), namespace=where), kind=kind)


def _read(data: Mapping[str, Any], near: Mapping[tuple[str, str], WorkloadDefinition]) -> Sequence[WorkloadDefinition]:
    if "kind" not in data:
        # Those of a manifest know each other.
        named = {(each.metadata.namespace, each.metadata.name) for each in _outlines(data)}
        return read_manifest(
            data, others=[each for key, each in near.items() if key not in named], classes=None
        ).workloads
    if data["kind"] != WORKLOAD.name:
        problem = Problem(f"{data['kind']!r:.80} is no {WORKLOAD.name}, and this is about workloads alone", path="kind")
        raise ConfigInvalid((problem,), remedy="Other objects: orchestrion apply -f FILE.")
    metadata = data.get("metadata")
    given = metadata if isinstance(metadata, Mapping) else {}
    namespace = str(given.get("namespace") or DEFAULT_NAMESPACE)
    unheeded = [name for name in _UNHEEDED if given.get(name)]
    if unheeded:
        problems = [Problem("it would not be heeded here: leave it out", path=f"metadata.{name}") for name in unheeded]
        raise ConfigInvalid(tuple(problems))
    document = read_document(data, WORKLOAD, namespace, None)
    name = document.metadata.name
    return [
        definition_of(
            document,
            [each for key, each in near.items() if key[0] == namespace and key[1] != name],
            None,
        )
    ]
