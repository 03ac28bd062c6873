"""JSON Schemas of classes: what their fields are, and what is said of them."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from inspect import cleandoc
from typing import Any, Final

import attrs

Schema = dict[str, Any]

_PLAIN: Final[Mapping[Any, Mapping[str, Any]]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    float: {"type": "number"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    datetime: {"type": "string", "format": "date-time"},
    type(None): {"type": "null"},
    Any: {},
}


def schema_of(kind: Any, *, strict: bool = False) -> Schema:
    """Return the schema of a type: an attrs class, or what its fields are made of.

    Args:
        kind: The type.
        strict: Whether nothing that is not known may be there, as in what clients send. What has a default may be left
            out, and is by us.
    """
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if isinstance(kind, typing.NewType):
        return schema_of(kind.__supertype__, strict=strict)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {"type": "string", "enum": [member.value for member in kind]}
    if attrs.has(kind):
        return _object_schema(kind, strict=strict)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [schema_of(each, strict=strict) for each in arguments]}
    if origin is tuple:
        return {"type": "array", "items": schema_of(arguments[0], strict=strict)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema_of(arguments[1], strict=strict)}
    return {}


def _object_schema(kind: Any, *, strict: bool) -> Schema:
    hints, meanings = typing.get_type_hints(kind), _meanings(kind)
    properties, required = dict[str, Schema](), list[str]()
    for field in attrs.fields(kind):
        properties[field.name] = {**schema_of(hints[field.name], strict=strict), **_bounds(field.validator)}
        if field.name in meanings:
            properties[field.name]["description"] = meanings[field.name]
        if field.default is attrs.NOTHING:
            required.append(field.name)
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if strict:
        schema["additionalProperties"] = False
    return schema


def _bounds(validator: Any) -> Schema:
    """Return what a validator says that a schema can say too."""
    found: Schema = {}
    for one in getattr(validator, "_validators", (validator,)):
        match type(one).__name__:
            case "_NumberValidator":
                found[{">=": "minimum", "<=": "maximum"}.get(one.compare_op, "x-bound")] = one.bound
            case "_InValidator":
                found["enum"] = list(one.options)
            case "_MatchesReValidator":
                found["pattern"] = f"^({one.pattern.pattern})$"
    return found


def _meanings(kind: type) -> dict[str, str]:
    """Return what the description of a class, and those of its bases, say of each field."""
    found = dict[str, str]()
    for one in reversed(kind.__mro__):
        _, _, attributes = cleandoc(one.__doc__ or "").partition("\nAttributes:\n")
        for name, text in _MEANING.findall(attributes):
            found[name] = " ".join(text.split())
    return found


_MEANING: Final = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
