"""What is said of an operation beside its handler: from this, and from nothing else, its description is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import field, frozen
from orchestrion.control_plane._access import ACCESS, Needs
from orchestrion.control_plane._objects.kinds import Kind

from .answers import JSON

DOC: Final = "doc"
"""Where in a handler's options its description is."""


@frozen(kw_only=True)
class Answered:
    """An answer of an operation.

    Attributes:
        description: For people.
        forms: By media type the name of a schema; "Object" and "List" stand for those of the kind that the path names,
            and an empty one for what has none.
    """

    description: str = "As it is now."
    forms: Mapping[str, str] = field(factory=lambda: {JSON: "Object"})


@frozen(kw_only=True)
class Doc:
    """The description of an operation.

    Attributes:
        summary: For people.
        answers: By status, those of success.
        parameters: Names of parameters, of the query and of headers.
        body: By media type the name of a schema; empty where a request has no body.
        kinds: Of which kinds there is such an operation, where the path has `{plural}`.
        errors: Statuses with which it can refuse, beside those with which everything can.
    """

    summary: str
    answers: Mapping[int, Answered] = field(factory=lambda: {200: Answered()})
    parameters: tuple[str, ...] = ()
    body: Mapping[str, str] = field(factory=dict)
    kinds: Callable[[Kind], bool] = lambda _kind: True
    errors: tuple[int, ...] = ()


def described(needs: Needs | None, doc: Doc) -> dict[str, Any]:
    """Return the options of a handler: who may call it, and what it is."""
    return {ACCESS: needs, DOC: doc}
