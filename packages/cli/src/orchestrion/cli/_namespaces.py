"""The namespace of what files say: `-n` is that of what names none, and nothing may name another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orchestrion.shared_types import ConfigInvalid, Problem, is_name
from orchestrion.shared_types.manifest import PlacedDocument


def check_namespace(namespace: str | None) -> None:
    """Make sure that a namespace for what names none, as it was typed, is one; None is none that was typed.

    Raises:
        ConfigInvalid: It is not.
    """
    if namespace is not None and not is_name(namespace):
        text = f"{namespace!r:.80} is no namespace to put things in: 1 to 63 lower-case letters, digits, inner hyphens"
        raise ConfigInvalid((Problem(text),))


def check_within(documents: Iterable[PlacedDocument], namespace: str | None) -> None:
    """Make sure that no document says to be in another namespace than that which was typed; None allows any.

    Args:
        documents: Objects, lists of objects, and manifests.
        namespace: What was typed.

    Raises:
        ConfigInvalid: Some do; each is told with its place.
    """
    if namespace is None:
        return
    others = dict[str, None]()
    problems = list[Problem]()
    for document in documents:
        for path, named in _named(document.data, ""):
            if named != namespace:
                problems.append(document.problem(f"this is in {named!r:.80}, and -n says {namespace!r}", path))
                others[named] = None
    if problems:
        only = f"Say -n {next(iter(others))}, or leave" if len(others) == 1 else "Leave"
        raise ConfigInvalid(tuple(problems), remedy=f"{only} -n out.")


def _named(data: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the namespaces that a document names, each with its path."""
    if not isinstance(data, Mapping):
        return
    items, metadata = data.get("items"), data.get("metadata")
    if isinstance(items, list):
        for place, item in enumerate(items):
            yield from _named(item, f"{path}items[{place}].")
        return
    named = data.get("namespace") if "kind" not in data else None
    if isinstance(named, str):
        yield f"{path}namespace", named
    elif isinstance(metadata, Mapping) and isinstance(metadata.get("namespace"), str) and metadata["namespace"]:
        yield f"{path}metadata.namespace", metadata["namespace"]
