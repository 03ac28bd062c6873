"""The words of JSON Schema 2020-12 that schemas of custom kinds may use, and how those that need care are checked.

What is left out can't be checked in bounded time or room, or would lead out of the schema: other documents, anchors,
`unevaluatedProperties` and `unevaluatedItems` (write `additionalProperties`, `items`). Checks count their steps, so
that no schema and no object makes the server work on for long.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import date, datetime
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any, Final

from orchestrion.shared_types import ConfigInvalid, Problem

from .json_values import measure, words
from .linear_pattern import linear_pattern

MAX_STEPS: Final = 150_000
"""How much work the check of one object may be; a step takes some ten microseconds at most."""

_MAX_NESTED: Final = 150
_SHOWN: Final = 20
_OPTIONS: Final = 3

ONE_SCHEMA: Final = frozenset(
    {"items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"}
)
SCHEMA_LISTS: Final = frozenset({"prefixItems", "allOf", "anyOf", "oneOf"})
SCHEMA_MAPS: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs"})
IN_PLACE: Final = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"})
"""Words whose schemas are about the value itself, and about nothing inside it."""

PLAIN: Final = frozenset(
    [
        "$comment",
        "$ref",
        "$schema",
        "const",
        "default",
        "dependentRequired",
        "deprecated",
        "description",
        "enum",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "maxContains",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minContains",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "pattern",
        "readOnly",
        "required",
        "title",
        "type",
        "uniqueItems",
        "writeOnly",
    ]
)


class Work:
    """Counts the steps of one check.

    Attributes:
        steps: How many there were.
        nested: How many keywords are being checked within each other.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.nested = 0

    @property
    def is_spent(self) -> bool:
        """Whether there were more steps than may be."""
        return self.steps > MAX_STEPS

    def spend(self, steps: int) -> None:
        """Count steps.

        Raises:
            ConfigInvalid: There were more than `MAX_STEPS`.
        """
        self.steps += steps
        if self.is_spent:
            raise ConfigInvalid((Problem("checking this against its schema is too much work"),))

    def enter(self) -> None:
        """Count a keyword that is checked within others.

        Raises:
            ConfigInvalid: They are nested so deeply that recursion would come to its end.
        """
        self.nested += 1
        if self.nested > _MAX_NESTED:
            raise ConfigInvalid((Problem("the schema leads too deep into this"),))


WORK: Final[ContextVar[Work]] = ContextVar("WORK")
"""The check that is going on."""


def _date_time(text: str) -> bool:
    # Read by its own pattern first: the library takes many forms that RFC 3339 does not know.
    whole = r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)"
    return bool(re.fullmatch(whole, text, re.ASCII)) and _reads(
        datetime.fromisoformat, re.sub(r"\.\d+", "", text).upper()
    )


def _date(text: str) -> bool:
    return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII)) and _reads(date.fromisoformat, text)


def _reads(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


FORMATS: Final[Mapping[str, Callable[[str], bool]]] = {
    "date": _date,
    "date-time": _date_time,
    "ipv4": partial(_reads, ipaddress.IPv4Address),
    "ipv6": partial(_reads, ipaddress.IPv6Address),
    "uuid": lambda text: bool(re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text)),
}
"""The formats that can be asked for; they are checked, not only noted."""


@lru_cache(maxsize=1)
def checker() -> Any:
    """Return the class of validators that know these words only, and count."""
    from jsonschema import validators  # here, because few servers have custom kinds, and it takes 0.1 s

    draft = validators.Draft202012Validator
    known = {**draft.VALIDATORS, **_OWN}
    allowed = ONE_SCHEMA | SCHEMA_LISTS | SCHEMA_MAPS | PLAIN
    extend: Any = validators.extend  # it has no types
    return extend(
        draft,
        {word: _counted(word, check) if word in allowed else _nothing for word, check in known.items()},
    )


def message_of(error: Any) -> str:
    """Return what is wrong, in a sentence that names no more of the value than can be read."""
    wanted = error.validator_value
    match error.validator:
        case "type":
            kinds = [wanted] if isinstance(wanted, str) else wanted
            return f"{' or '.join(_KINDS.get(kind, kind) for kind in kinds)} is wanted, not {words(error.instance)}"
        case "enum":
            more = f" (and {len(wanted) - _SHOWN} more)" if len(wanted) > _SHOWN else ""
            return f"one of {', '.join(json.dumps(value)[:80] for value in wanted[:_SHOWN])}{more} is wanted"
        case "const":
            return f"{json.dumps(wanted)[:80]} is wanted"
        case "anyOf" | "oneOf" if error.context:
            whys = dict.fromkeys(message_of(why) for why in error.context)
            return f"no option fits: {'; '.join(list(whys)[:_OPTIONS])}"
        case None:
            return "there must be nothing here"
        case _:
            text: str = error.message
            return text if len(text) <= 300 else text[:200] + " ... " + text[-90:]


_KINDS: Final = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a text",
}


def _counted(word: str, check: Callable[..., Iterable[Any] | None]) -> Callable[..., list[Any]]:
    """Return a keyword's check that counts; its errors come all at once, so that what is counted is what was done."""
    compares = word in ("enum", "const")

    def counted(validator: Any, wanted: Any, instance: Any, schema: Any) -> list[Any]:
        work = WORK.get()
        if compares:
            work.spend(measure(wanted)[0])
        else:
            work.spend(1 + (len(wanted) if isinstance(wanted, dict | list) else 0))
        work.enter()
        errors = list(check(validator, wanted, instance, schema) or ())
        work.nested -= 1
        # Messages hold the value that is wrong, however large it is.
        work.spend(sum(1 + len(error.message) // 50 for error in errors))
        return errors

    return counted


def _nothing(validator: Any, wanted: Any, instance: Any, schema: Any) -> tuple[()]:
    return ()


def _error(message: str, *path: str) -> Any:
    from jsonschema import ValidationError

    return ValidationError(message, path=path)


def _is_found(pattern: str, text: str) -> bool:
    linear = linear_pattern(pattern)
    WORK.get().spend(1 + linear.size * len(text) // 20)
    return linear.search(text)


def _pattern(validator: Any, wanted: str, instance: Any, schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not _is_found(wanted, instance):
        yield _error(f"a text that matches the pattern {wanted!r} is wanted")


def _pattern_properties(validator: Any, wanted: Mapping[str, Any], instance: Any, schema: Any) -> Iterator[Any]:
    if isinstance(instance, dict):
        for pattern, inner in wanted.items():
            for key, value in instance.items():
                if _is_found(pattern, key):
                    yield from validator.descend(value, inner, path=key, schema_path=pattern)


def _additional_properties(validator: Any, wanted: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    known = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    WORK.get().spend(len(instance))
    for key, value in instance.items():
        if key in known or any(_is_found(pattern, key) for pattern in patterns):
            continue
        if wanted is False:
            some = f"; known: {', '.join(sorted(known)[:_SHOWN])}" if known else ""
            yield _error(f"unknown key {key!r:.80}{some}")
        else:
            yield from validator.descend(value, wanted, path=key)


def _unique_items(validator: Any, wanted: bool, instance: Any, schema: Any) -> Iterator[Any]:
    if wanted and isinstance(instance, list):
        seen: set[str] = set()
        for index, item in enumerate(instance):
            WORK.get().spend(measure(item)[0])
            text = _same_text(item)
            if text in seen:
                yield _error(f"item {index} is there a second time")
                return
            seen.add(text)


def _same_text(value: Any) -> str:
    """Return text that two values have in common where they are equal: whole floats are written as integers."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _multiple_of(validator: Any, wanted: float, instance: Any, schema: Any) -> Iterator[Any]:
    # By the digits as they are written: 0.3 is a multiple of 0.1, though their nearest floats are none.
    if isinstance(instance, int | float) and not isinstance(instance, bool):
        if isinstance(instance, int) and isinstance(wanted, int):
            is_multiple = instance % wanted == 0
        else:
            is_multiple = Fraction(repr(instance)) % Fraction(repr(wanted)) == 0
        if not is_multiple:
            yield _error(f"a multiple of {wanted!r} is wanted")


def _format(validator: Any, wanted: str, instance: Any, schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not FORMATS[wanted](instance):
        yield _error(f"{instance!r:.80} is no {wanted}")


def _required(validator: Any, wanted: Iterable[str], instance: Any, schema: Any) -> Iterator[Any]:
    if isinstance(instance, dict):
        for key in wanted:
            if key not in instance:
                yield _error(f"{key!r:.80} is missing")


_OWN: Final = {
    "additionalProperties": _additional_properties,
    "format": _format,
    "multipleOf": _multiple_of,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "required": _required,
    "uniqueItems": _unique_items,
}
