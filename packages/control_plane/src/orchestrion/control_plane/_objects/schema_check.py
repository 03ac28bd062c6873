"""Objects of custom kinds: checked against the JSON Schema (2020-12) of their kind, with defaults filled in.

Both the schema and the objects are written by strangers. A schema can name nothing outside itself, uses only words that
can be checked in bounded time (see `schema_keywords`), and is checked itself when its kind is defined.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from attrs import frozen
from orchestrion.shared_types import ConfigInvalid, Problem

from .json_values import JsonObject, check_size, measure, place, words
from .linear_pattern import linear_pattern
from .schema_keywords import (
    FORMATS,
    IN_PLACE,
    ONE_SCHEMA,
    PLAIN,
    SCHEMA_LISTS,
    SCHEMA_MAPS,
    WORK,
    Work,
    checker,
    message_of,
)

MAX_PROBLEMS: Final = 20
MAX_SCHEMA_VALUES: Final = 5_000
"""How many values a schema may have, words and names not counted."""
MAX_SCHEMA_PATTERNS: Final = 100
"""How many patterns a schema may have; while it is in use, all of them are kept as they were read."""
MAX_SCHEMA_DEPTH: Final = 32
"""How deeply a schema may be nested; an object within an object takes two levels."""

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_DEFINITION: Final = re.compile(r"#/\$defs/([\w.-]+)", re.ASCII)

_Part = tuple[str | int, ...]


@frozen
class ObjectSchema:
    """A schema that objects are checked against; made by `read_schema`."""

    schema: Mapping[str, Any]

    def check(self, value: Any, /, *, at: str = "spec") -> Any:
        """Return a value with the schema's defaults in the places that it leaves out, once all of it is right.

        Defaults are filled in before anything is checked, in objects that are there, wherever `properties`, `items`,
        `prefixItems`, `additionalProperties`, `allOf` and `$ref` lead without a condition.

        Args:
            value: Plain JSON data; it is not changed, and the result may share parts with it.
            at: What the value is part of, as problems name it.

        Raises:
            ConfigInvalid: Something is wrong; the first `MAX_PROBLEMS` problems with their places. Also where the value
                is too large or too deep, or checking it would be too much work.
        """
        check_size(value, at)
        filled, problems = _filled_and_checked(value, self.schema, self.schema, at, Work())
        if problems:
            raise ConfigInvalid(problems)
        return filled


def read_schema(schema: Any, /, *, at: str = "schema") -> ObjectSchema:
    """Return the schema of a custom kind, once it is sure that objects can be checked against it.

    Args:
        schema: Plain JSON data; it must not be changed afterwards.
        at: What the schema is part of, as problems name it.

    Raises:
        ConfigInvalid: It is no schema by its draft, is too large, uses a word that is not known or not allowed, a
            reference that leads out of it or round in a circle, a pattern that can't be searched for in linear time, or
            a default that is wrong itself.
    """
    if not isinstance(schema, dict):
        raise ConfigInvalid((Problem(f"a schema is an object, not {words(schema)}", at),))
    count, depth = measure(schema)
    if count > MAX_SCHEMA_VALUES:
        raise ConfigInvalid((Problem(f"a schema has at most {MAX_SCHEMA_VALUES:,} values", at),))
    if depth > MAX_SCHEMA_DEPTH:
        raise ConfigInvalid((Problem(f"a schema is nested at most {MAX_SCHEMA_DEPTH} levels deep", at),))
    for look in (_unlike_its_draft, _not_allowed, _circles, _wrong_defaults):
        # Each takes for granted that there was nothing for the ones before to find.
        problems = tuple(Problem(problem.message, _within(at, problem.path)) for problem in look(schema))
        if problems:
            raise ConfigInvalid(problems[:MAX_PROBLEMS])
    return ObjectSchema(schema)


def _within(at: str, path: str) -> str:
    return at + (path if path.startswith("[") or not path else f".{path}")


def _problems(errors: Iterator[Any], at: str) -> Iterator[Problem]:
    from jsonschema.exceptions import best_match

    for error in islice(errors, MAX_PROBLEMS):
        # Of the options that all do not fit, what is wrong with the one that was most likely meant.
        likely = best_match([error])
        yield Problem(message_of(likely), _within(at, place(*likely.absolute_path)))


def _unlike_its_draft(schema: Mapping[str, Any]) -> Iterator[Problem]:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    errors = Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema)
    found = [best_match([error]) for error in errors]
    # The draft is in several parts, of which each finds the same, in no order that would stay.
    found.sort(key=lambda error: [(str(type(part)), part) for part in error.absolute_path])
    yield from dict.fromkeys(Problem(message_of(error), place(*error.absolute_path)) for error in found)


def _schemas(schema: Any, path: _Part = ()) -> Iterator[tuple[_Part, Mapping[str, Any]]]:
    """Yield a schema and all schemas within it, with their places."""
    if isinstance(schema, dict):
        yield path, schema
        for word, inner in _inside(schema):
            yield from _schemas(inner, (*path, *word))


def _inside(schema: Mapping[str, Any]) -> Iterator[tuple[_Part, Any]]:
    for word, value in schema.items():
        if word in ONE_SCHEMA:
            yield (word,), value
        elif word in SCHEMA_LISTS:
            yield from (((word, index), inner) for index, inner in enumerate(value))
        elif word in SCHEMA_MAPS:
            yield from (((word, name), inner) for name, inner in value.items())


def _not_allowed(root: Mapping[str, Any]) -> Iterator[Problem]:
    known = ONE_SCHEMA | SCHEMA_LISTS | SCHEMA_MAPS | PLAIN
    count = 0
    for path, schema in _schemas(root):
        for word in schema:
            if word not in known and not word.startswith("x-"):
                yield Problem("this word of a schema is not known, or can't be used here", place(*path, word))
        if "$schema" in schema and (path or schema["$schema"] != _DIALECT):
            yield Problem(f"only {_DIALECT!r} is known, at the top", place(*path, "$schema"))
        if "$defs" in schema and path:
            yield Problem("definitions are wanted at the top", place(*path, "$defs"))
        if "$ref" in schema and _target(schema["$ref"], root) is None:
            yield Problem("'#' or '#/$defs/NAME' of this schema is wanted", place(*path, "$ref"))
        if "format" in schema and schema["format"] not in FORMATS:
            yield Problem(f"unknown format; known: {', '.join(sorted(FORMATS))}", place(*path, "format"))
        patterns: list[tuple[_Part, str]] = [
            (("patternProperties", pattern), pattern) for pattern in schema.get("patternProperties", ())
        ]
        if "pattern" in schema:
            patterns.append((("pattern",), schema["pattern"]))
        for inside, pattern in patterns:
            count += 1
            if count > MAX_SCHEMA_PATTERNS:
                yield Problem(f"a schema has at most {MAX_SCHEMA_PATTERNS} patterns", place(*path, *inside))
                return
            try:
                linear_pattern(pattern)
            except ValueError as err:
                yield Problem(str(err), place(*path, *inside))


def _target(reference: str, root: Mapping[str, Any]) -> Any:
    """Return the schema that a reference names; None where it names none."""
    if reference == "#":
        return root
    found = _DEFINITION.fullmatch(reference)
    return root.get("$defs", {}).get(found[1]) if found else None


def _circles(root: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the references that lead back to themselves without going into the value on the way."""
    done: set[int] = set()
    for path, schema in _schemas(root):
        # A stack of its own: references can make a chain longer than recursion bears.
        stack: list[tuple[Any, Iterator[Any]]] = []
        within: set[int] = set()
        following: Any = schema
        while True:
            if isinstance(following, dict) and id(following) not in done:
                if id(following) in within:
                    yield Problem("a schema refers to itself without going into the value", place(*path))
                    return
                within.add(id(following))
                stack.append((following, _in_place(following, root)))
            while stack:
                following = next(stack[-1][1], None)
                if following is not None:
                    break
                left, _ = stack.pop()
                within.discard(id(left))
                done.add(id(left))
            if not stack:
                break


def _in_place(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Any]:
    for word, inner in _inside(schema):
        if word[0] in IN_PLACE:
            yield inner
    if "$ref" in schema:
        yield _target(schema["$ref"], root)


def _wrong_defaults(root: Mapping[str, Any]) -> Iterator[Problem]:
    work = Work()  # one for all: a schema has room for a thousand defaults
    for path, schema in _schemas(root):
        if "default" in schema:
            _, problems = _filled_and_checked(schema["default"], schema, root, place(*path, "default"), work)
            yield from problems
            if work.is_spent:
                return


def _filled_and_checked(
    value: Any, schema: Any, root: Mapping[str, Any], at: str, work: Work
) -> tuple[Any, tuple[Problem, ...]]:
    """Return a value with defaults, and what is wrong with it, by a schema or a part of one."""
    work.nested = 0
    running = WORK.set(work)
    try:
        filled = _filled(value, schema, root)
        check_size(filled, "with its defaults this")
        validator = checker()(root)
        errors = validator.iter_errors(filled) if schema is root else validator.descend(filled, schema)
        return filled, tuple(_problems(errors, at))
    except ConfigInvalid as err:
        return value, tuple(Problem(problem.message, at) for problem in err.problems)
    finally:
        WORK.reset(running)


def _filled(value: Any, schema: Any, root: Mapping[str, Any]) -> Any:
    """Return a value with what a schema says for what it leaves out."""
    work = WORK.get()
    work.spend(1)
    if not isinstance(schema, dict) or not isinstance(value, dict | list):
        return value
    work.enter()
    if "$ref" in schema:
        value = _filled(value, _target(schema["$ref"], root), root)
    for inner in schema.get("allOf", ()):
        value = _filled(value, inner, root)
    filled: Any = _filled_list(value, schema, root) if isinstance(value, list) else _filled_object(value, schema, root)
    work.nested -= 1
    return filled


def _filled_list(value: list[Any], schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[Any]:
    WORK.get().spend(len(value))
    first = schema.get("prefixItems", ())
    rest = schema.get("items")
    return [_filled(item, first[at] if at < len(first) else rest, root) for at, item in enumerate(value)]


def _filled_object(value: JsonObject, schema: Mapping[str, Any], root: Mapping[str, Any]) -> JsonObject:
    properties = schema.get("properties", {})
    WORK.get().spend(len(properties) + len(value))
    result = dict(value)
    for key, inner in properties.items():
        if key in result:
            result[key] = _filled(result[key], inner, root)
        elif isinstance(inner, dict) and "default" in inner:
            result[key] = _filled(inner["default"], inner, root)
    others = schema.get("additionalProperties")
    if isinstance(others, dict) and "patternProperties" not in schema:
        for key in value:
            if key not in properties:
                result[key] = _filled(value[key], others, root)
    return result
