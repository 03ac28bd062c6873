"""Workloads as documents: their spec in the manifest's form, what it says of itself in the metadata."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

from attrs import evolve
from orchestrion.shared_types import ConfigInvalid, PriorityClass, Problem, WorkloadDefinition

from .document import Document, ObjectMetadata

_IN_METADATA: Final = ("labels", "annotations")


def workload_of(definition: WorkloadDefinition) -> Document:
    """Return a definition as a document, without a status."""
    # Imported here, and so below: it brings a parser of YAML, which a start is not to wait for.
    from orchestrion.shared_types.manifest import to_manifest

    metadata = definition.metadata
    form = to_manifest(definition)["workloads"][metadata.name]
    return Document(
        kind="Workload",
        metadata=ObjectMetadata(
            name=metadata.name,
            namespace=metadata.namespace,
            uid=metadata.uid,
            generation=metadata.generation,
            revision=metadata.revision,
            created_at=metadata.created_at,
            updated_at=metadata.updated_at,
            labels=metadata.labels,
            annotations=metadata.annotations,
            owners=metadata.owners,
            finalizers=metadata.finalizers,
        ),
        spec={key: value for key, value in form.items() if key not in _IN_METADATA},
    )


def definition_of(
    document: Document, others: Collection[WorkloadDefinition], classes: Collection[PriorityClass] | None
) -> WorkloadDefinition:
    """Return the definition that a document stands for.

    Args:
        document: The document.
        others: The other workloads of its namespace, which it may come after.
        classes: The priority classes that it may name; None is any, which is looked at later.

    Raises:
        ConfigInvalid: It can't be accepted; problems have their paths in the document.
    """
    from orchestrion.shared_types.manifest import parse_manifest

    metadata = document.metadata
    twice = [name for name in _IN_METADATA if name in document.spec]
    if twice:
        raise ConfigInvalid(tuple(Problem("it belongs into the metadata", path=f"spec.{name}") for name in twice))
    form = dict(document.spec)
    for name, texts in (("labels", metadata.labels), ("annotations", metadata.annotations)):
        if texts:
            form[name] = dict(texts)
    text = json.dumps({"namespace": metadata.namespace, "workloads": {metadata.name: form}})
    try:
        manifest = parse_manifest(text, others=others, classes=classes)
    except ConfigInvalid as err:
        raise ConfigInvalid(tuple(_placed(each, metadata.name) for each in err.problems), remedy=err.remedy) from err
    (definition,) = manifest.workloads
    kept = evolve(definition.metadata, owners=metadata.owners, finalizers=metadata.finalizers)
    return evolve(definition, metadata=kept)


def _placed(problem: Problem, name: str) -> Problem:
    """Return a problem with its place in the document, not in the manifest that it was put into."""
    inside = f"workloads.{name}"
    path = problem.path
    for part in _IN_METADATA:
        if path.startswith(f"{inside}.{part}"):
            return Problem(problem.message, path=f"metadata.{path.removeprefix(inside + '.')}")
    if path == inside or path.startswith((f"{inside}.", f"{inside}[")):
        path = "spec" + path.removeprefix(inside)
    return Problem(problem.message, path=path)
