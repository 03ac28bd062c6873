"""Which fields the objects of a kind can have, and what those are that an object leaves out."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final

import attrs
from attrs import define, field, frozen
from orchestrion.orchestrator_core import NodeReport, WorkloadView
from orchestrion.shared_types import Binding, Event, InstanceStatus, Node, unstructure
from orchestrion.shared_types.manifest import manifest_schema

from .document import ObjectMetadata
from .kinds import EVENT, INSTANCE, NODE, RESOURCE_QUOTA, WORKLOAD, Kind

Schema = Mapping[str, Any]

MAX_STEPS: Final = 20_000
"""How many schemas are looked at for one selector; what is left then may be asked for unseen."""
MAX_IN_PLACE: Final = 64
"""How deeply references and options in one place are followed."""
MAX_NAMED: Final = 1_000
_LEVELS: Final = 4

_OPEN: Final[Schema] = {}
_TEXT: Final[Schema] = {"type": "string"}
_SCALARS: Final[Mapping[Any, str]] = {
    str: "string",
    int: "integer",
    bool: "boolean",
    float: "number",
    bytes: "string",
    datetime: "string",
    type(None): "null",
}

_ONLY_OF: Final[Mapping[str, frozenset[str]]] = {
    "replicas": frozenset({"service"}),
    "update": frozenset({"service", "daemon"}),
    "completions": frozenset({"batch"}),
    "retries": frozenset({"batch"}),
    "missed_start": frozenset({"batch"}),
}
"""What only workloads of some kinds have: others have no default of it either."""


@frozen
class Filled:
    """What a field is that an object leaves out.

    Attributes:
        value: Plain data.
        since: From which part of the path on all may be left out; before it, what is left out is not there.
        only_of: Kinds of workloads that have it; empty is all.
        unless: Another field of the spec, where which is given the value follows from that; empty is none.
    """

    value: Any
    since: int
    only_of: frozenset[str] = frozenset()
    unless: str = ""

    def holds(self, document: Mapping[str, Any], missing: int) -> bool:
        """Return whether a document that leaves out a part of the path has this value there."""
        if missing < self.since:
            return False
        if not self.only_of and not self.unless:
            return True
        spec = document.get("spec", {})
        return self.unless not in spec and (not self.only_of or spec.get("kind", "service") in self.only_of)


@define(eq=False)
class FieldPaths:
    """The fields of the objects of a kind, for one selector."""

    kind: Kind
    _root: Schema = field(init=False)
    _steps: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._root = _root_of(self.kind)

    def filled(self, path: tuple[str, ...]) -> Filled | None:
        """Return what the field at a path is where an object leaves it out; None where that is nothing.

        Raises:
            ValueError: No object of the kind can have it; the text says what is meant, if that is known.
        """
        here, since = [self._root], 0
        value: Any = None
        for index, part in enumerate(path):
            here = self._inside(here, part)
            if not here:
                raise ValueError(self._refusal(path, index))
            if isinstance(value, Mapping) and part in value:
                value = value[part]
            elif "default" in here[0]:
                value = here[0]["default"]
            else:
                value, since = None, index + 1
        # A custom kind's defaults are filled in where its objects are written.
        if since == len(path) or self.kind.custom is not None or path[0] not in ("spec", "status"):
            return None
        only_of, unless = frozenset[str](), ""
        if self.kind is WORKLOAD and path[0] == "spec":
            only_of = _ONLY_OF.get(path[1], only_of)
            unless = "priority_class" if path[1] == "priority" else ""
        return Filled(value, since, only_of, unless)

    def _refusal(self, path: tuple[str, ...], index: int) -> str:
        asked = ".".join(path)
        there = ".".join(path[:index]) or f"a {self.kind.name}"
        text = f"{there:.80} has no field {path[index]!r:.80}"
        known = list(self._named())
        # A field is often known by its own name, and looked for in the wrong place.
        lasts = {each.rpartition(".")[2] for each in known}
        alike = get_close_matches(path[-1], lasts, n=1) or get_close_matches(path[index], lasts, n=1)
        likely = [each for each in known if alike and each.rpartition(".")[2] == alike[0]]
        near = get_close_matches(asked, likely, n=1, cutoff=0.0) or get_close_matches(asked, known, n=1, cutoff=0.8)
        if near:
            return f"{text}: is {near[0]} meant?"
        return f"{text}: there are {', '.join(sorted(self._keys(path[:index]))[:30]) or 'none'}"

    def _keys(self, path: tuple[str, ...]) -> set[str]:
        here = [self._root]
        for part in path:
            here = self._inside(here, part)
        return {key for schema in here for each in self._in_place(schema) for key in each.get("properties", ())}

    def _named(self) -> Iterator[str]:
        """Yield all fields that have names, the nearest ones first."""
        level, count = [("", self._root)], 0
        for _ in range(_LEVELS):
            below = list[tuple[str, Schema]]()
            for prefix, schema in level:
                for each in self._in_place(schema):
                    for name, inner in each.get("properties", {}).items():
                        if (count := count + 1) > MAX_NAMED:
                            return
                        yield prefix + name
                        below.append((f"{prefix}{name}.", inner))
            level = below

    def _in_place(self, schema: Any, depth: int = 0) -> Iterator[Schema]:
        if not isinstance(schema, Mapping) or depth > MAX_IN_PLACE or self._steps > MAX_STEPS:
            return
        self._steps += 1
        yield schema
        if "$ref" in schema:
            yield from self._in_place(self._referred(schema["$ref"]), depth + 1)
        for word in ("allOf", "anyOf", "oneOf"):
            for each in schema.get(word, ()):
                yield from self._in_place(each, depth + 1)

    def _inside(self, schemas: list[Schema], key: str) -> list[Schema]:
        """Return the schemas that a field may have; none where it can't be there."""
        found, known = list[Schema](), set[int]()
        for schema in schemas:
            for inner in self._step(schema, key, 0) or ():
                if id(inner) not in known:
                    known.add(id(inner))
                    found.append(inner)
        return found

    def _step(self, schema: Any, key: str, depth: int) -> list[Schema] | None:
        """Return what a schema has for a field: nothing where it forbids it."""
        if not isinstance(schema, Mapping):
            return None if schema is False else [_OPEN]
        self._steps += 1
        if self._steps > MAX_STEPS or depth > MAX_IN_PLACE:
            return [_OPEN]
        parts = [_own(schema, key)]
        if "$ref" in schema:
            parts.append(self._step(self._referred(schema["$ref"]), key, depth + 1))
        parts += [self._step(each, key, depth + 1) for each in schema.get("allOf", ())]
        for word in ("anyOf", "oneOf"):
            if word in schema:
                options = [self._step(each, key, depth + 1) for each in schema[word]]
                open_ones = [each for option in options if option is not None for each in option]
                parts.append(open_ones or None)
        if any(part is None for part in parts):
            return None
        every = [each for part in parts if part is not None for each in part]
        return [each for each in every if each is not _OPEN] or [_OPEN]

    def _referred(self, reference: str) -> Any:
        return self._root["$defs"].get(reference.removeprefix("#/$defs/"), _OPEN)


def _own(schema: Schema, key: str) -> list[Schema] | None:
    """Return what a schema has for a field by its own words, without those that lead to others in its place."""
    kinds = schema.get("type")
    if kinds is not None and kinds != "object" and "object" not in kinds:
        return None
    if not any(isinstance(each, Mapping) for each in schema.get("enum", ({},))):
        return None
    if not isinstance(schema.get("const", {}), Mapping):
        return None
    if key in schema.get("properties", {}):
        inner = schema["properties"][key]
        return None if inner is False else [inner if isinstance(inner, Mapping) else _OPEN]
    if schema.get("patternProperties"):
        return [_OPEN]
    more = schema.get("additionalProperties", True)
    return None if more is False else [more if isinstance(more, Mapping) else _OPEN]


_roots: Final[dict[str, Schema]] = {}


def _root_of(kind: Kind) -> Schema:
    """Return the schema of the objects of a kind; those of kinds that there always are, are made once."""
    if kind.custom is not None:
        schema = kind.custom.schema
        return _object(schema or _OPEN, _OPEN, schema.get("$defs", {}))
    if kind.plural not in _roots:
        _roots[kind.plural] = _made(kind)
    return _roots[kind.plural]


def _made(kind: Kind) -> Schema:
    if kind is WORKLOAD:
        named = dict(manifest_schema()["$defs"])
        properties = {key: each for key, each in named["workload"]["properties"].items() if key not in _IN_METADATA}
        return _object({**named["workload"], "properties": properties}, _class(WorkloadView, {"definition"}), named)
    if kind is INSTANCE:
        spec = _class(Binding)
        return _object({**spec, "properties": {"workload": _TEXT, **spec["properties"]}}, _class(InstanceStatus), {})
    if kind is NODE:
        shown = {name: each for name, each in _class(Node)["properties"].items() if name in ("status", "conditions")}
        shown["report"] = _class(NodeReport)
        return _object(_class(Node, {"status", "conditions", "labels"}), _closed(shown), {})
    if kind is EVENT:
        return _object(_class(Event, {"uid", "namespace"}), _closed({}), {})
    status = _closed({"used": {"type": "object"}}) if kind is RESOURCE_QUOTA else _closed({})
    return _object(_OPEN if kind.spec is None else _class(kind.spec), status, {})


_IN_METADATA: Final = ("labels", "annotations")


def _object(spec: Schema, status: Schema, definitions: Schema) -> Schema:
    # All of them are there in every object, if empty.
    properties = {
        "api_version": _TEXT,
        "kind": _TEXT,
        "metadata": _class(ObjectMetadata),
        "spec": spec,
        "status": status,
    }
    return {**_closed(properties), "$defs": definitions}


def _closed(properties: Schema) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _class(kind: Any, without: set[str] = frozenset()) -> dict[str, Any]:  # type: ignore[assignment] # never changed
    """Return the schema of what a class is as plain data, with its defaults."""
    hints = typing.get_type_hints(kind)
    properties = dict[str, Schema]()
    for each in attrs.fields(kind):
        if each.name not in without:
            properties[each.name] = {**_type(hints[each.name]), **_default(each.default)}
    return _closed(properties)


def _default(given: Any) -> Schema:
    if given is attrs.NOTHING:
        return {}
    if isinstance(given, attrs.Factory):  # type: ignore[arg-type] # a class, though it is described as a function
        return {} if given.takes_self else {"default": unstructure(given.factory())}
    return {} if given is None else {"default": unstructure(given)}


def _type(kind: Any) -> Schema:
    if kind in _SCALARS:
        return {"type": _SCALARS[kind]}
    if isinstance(kind, typing.NewType):
        return _type(kind.__supertype__)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _TEXT
    if attrs.has(kind):
        return _class(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_type(each) for each in arguments]}
    if origin in (tuple, frozenset, list):
        return {"type": "array"}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _type(arguments[1])}
    return _OPEN
