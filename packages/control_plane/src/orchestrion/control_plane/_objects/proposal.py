"""From what somebody sends to the object that would be: metadata that the server keeps, specs that fit their kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import evolve
from orchestrion.shared_types import (
    ConfigInvalid,
    PreconditionFailed,
    Problem,
    UidFactory,
    is_name,
    structure,
    unstructure,
)

from .claims import kept_claims
from .document import API_VERSION, Document, ObjectMetadata
from .kinds import SECRET, Kind

_MAY_BE_NULL: Final = ("labels", "annotations", "owners", "finalizers")


def read_document(data: Any, kind: Kind, namespace: str, name: str | None) -> Document:
    """Return the document that plain data stands for, as one of this kind, namespace and name.

    What the path says may be left out of it.

    Raises:
        ConfigInvalid: It is none, or it says something else than the path.
    """
    if not isinstance(data, Mapping):
        raise ConfigInvalid((Problem("an object is wanted: a mapping with metadata and spec"),))
    given = dict(data)
    metadata = given.get("metadata")
    # What is written down as `labels:` with nothing behind it is null, and is meant to be none.
    given["metadata"] = metadata = _without_nulls(metadata) if isinstance(metadata, Mapping) else {}
    if given.get("spec", given) is None:
        del given["spec"]
    given.setdefault("kind", kind.name)
    if namespace:
        metadata.setdefault("namespace", namespace)
    if name is not None:
        metadata.setdefault("name", name)
    document = structure(given, Document)
    problems = list[Problem]()
    if document.api_version != API_VERSION:
        problems.append(Problem(f"{document.api_version!r:.80} is not {API_VERSION!r}", path="api_version"))
    if document.kind != kind.name:
        problems.append(Problem(f"{document.kind!r:.80} is not {kind.name!r}, which the path says", path="kind"))
    if document.metadata.namespace != namespace:
        text = f"{document.metadata.namespace!r:.80} is not {namespace!r}, which the path says"
        problems.append(Problem(text, path="metadata.namespace"))
    if name is not None and document.metadata.name != name:
        text = f"{document.metadata.name!r:.80} is not {name!r:.80}, which the path says"
        problems.append(Problem(text, path="metadata.name"))
    elif not is_name(document.metadata.name):
        text = f"{document.metadata.name!r:.80} is no name: 1 to 63 lower-case letters, digits and inner hyphens"
        problems.append(Problem(text, path="metadata.name"))
    if problems:
        raise ConfigInvalid(tuple(problems))
    return document


def checked_spec(kind: Kind, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec as its kind has it.

    Raises:
        ConfigInvalid: It does not fit; problems have their paths.
    """
    if kind.schema is not None:
        checked: dict[str, Any] = kind.schema.check(dict(spec))
        return checked
    if kind.spec is None:
        return dict(spec)
    try:
        plain: dict[str, Any] = unstructure(structure(dict(spec), kind.spec))
    except ConfigInvalid as err:
        problems = tuple(evolve(each, path=f"spec.{each.path}" if each.path else "spec") for each in err.problems)
        if kind is SECRET:
            # What is wrong with a value is told with the value, which is nobody's to see.
            problems = tuple(evolve(each, message="is not what a secret has there") for each in problems)
            raise ConfigInvalid(
                problems, remedy="`spec.data` has texts, each under a key that can name a file."
            ) from None
        raise ConfigInvalid(problems, remedy=err.remedy) from err
    return plain


def _without_nulls(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if value is not None or key not in _MAY_BE_NULL}


def created(document: Document, spec: Mapping[str, Any], now: datetime, new_uid: UidFactory) -> Document:
    """Return a document as a new object with a spec."""
    metadata = evolve(
        document.metadata,
        uid=new_uid(),
        generation=1,
        revision=0,
        created_at=now,
        updated_at=now,
        deleting_since=None,
        finalizers=kept_claims((), document.metadata.finalizers, going=False),
    )
    return evolve(document, metadata=metadata, spec=spec, status={})


def updated(before: Document, document: Document, now: datetime) -> Document:
    """Return a document as the next state of an object; the same where nothing changes. What the server keeps stays."""
    old, new = before.metadata, document.metadata
    changed = document.spec != before.spec
    metadata: ObjectMetadata = evolve(
        old,
        labels=new.labels,
        annotations=new.annotations,
        owners=new.owners,
        finalizers=kept_claims(old.finalizers, new.finalizers, going=old.deleting_since is not None),
    )
    if not changed and metadata == old:
        return before
    metadata = evolve(metadata, updated_at=now, generation=old.generation + (1 if changed else 0))
    return evolve(before, metadata=metadata, spec=document.spec)


def joined(before: Document, given: Document, spec: Mapping[str, Any]) -> Document:
    """Return an object as it is to be once a part of it was applied, whose parts make up a spec."""
    old, new = before.metadata, given.metadata
    metadata = evolve(
        old,
        labels={**old.labels, **new.labels},
        annotations={**old.annotations, **new.annotations},
        owners=new.owners or old.owners,
        finalizers=new.finalizers or old.finalizers,
    )
    return evolve(before, metadata=metadata, spec=dict(spec))


def check_absent(given: Document, *, expected: bool) -> None:
    """Make sure that the caller does not take an object for one that is there, which is to be made.

    Args:
        given: What is said of it.
        expected: Whether it is only to be done if it is there.

    Raises:
        PreconditionFailed: It is, or a revision or a uid is expected of it.
    """
    if expected or given.metadata.revision or given.metadata.uid:
        msg = f"there is no {given.kind} {given.metadata.name!r} that could be at a revision or have a uid"
        raise PreconditionFailed(msg, remedy="Leave them out to make it anew.")


def check_precondition(before: Document, given: Document | None, if_revision: int | None) -> None:
    """Make sure that the object is what the caller takes it for.

    Raises:
        PreconditionFailed: It has another revision, or another uid.
    """
    kind, metadata = before.kind, before.metadata
    wanted = if_revision
    if wanted is None and given is not None and given.metadata.revision:
        wanted = given.metadata.revision
    if wanted is not None and wanted != metadata.revision:
        msg = f"{kind} {metadata.name!r} is at revision {metadata.revision}, not {wanted}"
        raise PreconditionFailed(msg, remedy="Read it again, then decide.")
    if given is not None and given.metadata.uid and given.metadata.uid != metadata.uid:
        msg = f"{kind} {metadata.name!r} is another one than was meant: its uid is {metadata.uid}"
        raise PreconditionFailed(msg, remedy="Read it again, then decide.")
