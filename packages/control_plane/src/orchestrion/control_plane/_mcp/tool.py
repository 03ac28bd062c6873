"""What a tool is, and how what it gives is shown: as much as fits."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from orchestrion.control_plane._objects.schema_check import ObjectSchema
from orchestrion.shared_types import DEFAULT_NAMESPACE

from .desk import Desk

MAX_TEXT_CHARS: Final = 100_000
"""The most that one answer has, in characters: it is read by a model, which has room for so much."""

Schema = dict[str, Any]
Act = Callable[[Desk, Mapping[str, Any]], Awaitable[Any]]


@frozen(kw_only=True)
class Tool:
    """Something that a client can have done.

    Attributes:
        name: What it is called.
        title: For people.
        description: For models: what it does, and when.
        properties: The JSON Schema of each argument.
        required: Which of them have to be given.
        act: Does it, with arguments that fit; returns a text, or plain JSON data that is an object.
        changes: Whether it changes anything.
        destroys: Whether what it does can't be undone.
        repeatable: Whether doing it twice is as doing it once.
    """

    name: str
    title: str
    description: str
    properties: Mapping[str, Schema]
    act: Act
    required: tuple[str, ...] = ()
    changes: bool = False
    destroys: bool = False
    repeatable: bool = True

    @property
    def schema(self) -> Schema:
        """The JSON Schema of its arguments."""
        return {
            "type": "object",
            "properties": dict(self.properties),
            "required": list(self.required),
            "additionalProperties": False,
        }

    def declared(self) -> dict[str, Any]:
        """Return how clients are told of it."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": self.schema,
            "annotations": {
                "title": self.title,
                "readOnlyHint": not self.changes,
                "destructiveHint": self.destroys,
                "idempotentHint": self.repeatable,
                "openWorldHint": False,
            },
        }

    def checked(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return arguments with defaults in the places that they leave out.

        Raises:
            ConfigInvalid: They do not fit; the problems name their places.
        """
        checked: Mapping[str, Any] = ObjectSchema(self.schema).check(dict(arguments), at="arguments")
        return checked


def text(description: str, **more: Any) -> Schema:
    """Return the schema of a text."""
    return {"type": "string", "description": description, "maxLength": 253, **more}


def number(description: str, least: int, most: int, default: int) -> Schema:
    """Return the schema of a whole number."""
    return {"type": "integer", "description": description, "minimum": least, "maximum": most, "default": default}


def flag(description: str) -> Schema:
    """Return the schema of what is off unless it is asked for."""
    return {"type": "boolean", "description": description, "default": False}


NAMESPACE: Final = text("The namespace.", default=DEFAULT_NAMESPACE)
ANY_NAMESPACE: Final = text("Only this namespace; all of them without it.")
WORKLOAD: Final = text("The workload's name.", minLength=1)
LIMIT: Final = number("The most to show.", 1, 500, 100)


def listed(key: str, items: Sequence[Any], limit: int, **more: Any) -> dict[str, Any]:
    """Return a list as far as it fits, with how many there are.

    Args:
        key: What the items are.
        items: All of them, as plain data.
        limit: The most to show.
        more: What else to say.
    """
    shown = list(_fitting(items[:limit]))
    return {key: shown, "total": len(items), "truncated": len(shown) < len(items), **more}


def _fitting(items: Iterable[Any]) -> Iterable[Any]:
    room = MAX_TEXT_CHARS * 9 // 10
    for item in items:
        room -= len(json_text(item)) + 2
        if room < 0:
            return
        yield item


def json_text(data: Any) -> str:
    """Return plain data as JSON in little room."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def content_of(result: str | Mapping[str, Any], *, structured: bool) -> dict[str, Any]:
    """Return what a tool gave as its client gets it; a text that is too long is cut, and says so.

    Args:
        result: What the tool gave.
        structured: Whether the client knows of data beside texts.
    """
    whole = result if isinstance(result, str) else json_text(result)
    answer: dict[str, Any] = {"content": [{"type": "text", "text": cut(whole)}], "isError": False}
    if structured and not isinstance(result, str) and len(whole) <= MAX_TEXT_CHARS:
        answer["structuredContent"] = result
    return answer


def cut(whole: str) -> str:
    """Return a text as far as it fits."""
    if len(whole) <= MAX_TEXT_CHARS:
        return whole
    return f"{whole[:MAX_TEXT_CHARS]}\n... {len(whole) - MAX_TEXT_CHARS} more characters do not fit; ask for less"
