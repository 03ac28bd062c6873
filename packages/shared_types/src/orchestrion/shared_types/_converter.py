"""The one converter between values and plain data."""

from __future__ import annotations

import collections.abc
import json
from collections.abc import Callable, Iterator, Mapping
from enum import EnumType
from typing import Any, TypeVar, get_origin

from cattrs import (
    AttributeValidationNote,
    BaseValidationError,
    Converter,
    IterableValidationNote,
    StructureHandlerNotFoundError,
)
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.preconf.json import make_converter as make_json_converter
from cattrs.strategies import configure_tagged_union

from ._container import Probe
from ._errors import ConfigInvalid, Problem

T = TypeVar("T")

_LISTS = (tuple, frozenset, list)
_KINDS: Mapping[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
}


def make_converter() -> Converter:
    """Return a converter for every type of this package and for attrs classes made of them.

    It refuses unknown keys, refuses a text where a number is wanted and a text where a list is wanted, leaves out
    fields that have their default, and tags the union `Probe` with `type`.
    """
    converter = make_json_converter(forbid_extra_keys=True, omit_if_default=True)
    # By a predicate, because a hook for a class also holds for what inherits from it, and enums inherit from str.
    converter.register_structure_hook_func(lambda kind: kind in (str, int, float, bool), _scalar)
    converter.register_structure_hook_func(lambda kind: isinstance(kind, EnumType), _member)
    _guard(converter, lambda kind: get_origin(kind) in _LISTS, (list, tuple), "a list")
    _guard(converter, lambda kind: get_origin(kind) in (dict, collections.abc.Mapping), (Mapping,), "a mapping")
    configure_tagged_union(
        Probe, converter, tag_name="type", tag_generator=lambda cls: cls.__name__.removesuffix("Probe").lower()
    )
    return converter


def _probe_tag(kind: type) -> str:
    return kind.__name__.removesuffix("Probe").lower()


def _scalar(value: Any, kind: type) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        msg = f"{_KINDS[kind]} is wanted, not {kind_of(value)} ({value!r:.80})"
        raise TypeError(msg)
    return value


def _member(value: Any, kind: EnumType) -> Any:
    try:
        return kind(value)
    except ValueError:
        wanted = ", ".join(str(member.value) for member in kind)  # type: ignore[var-annotated] # members of any enum
        msg = f"one of {wanted} is wanted, not {value!r:.80}"
        raise ValueError(msg) from None


def kind_of(value: object) -> str:
    """Return what `value` is, in words for an error message."""
    return _KINDS.get(type(value), "a mapping" if isinstance(value, Mapping) else type(value).__name__)


def _guard(converter: Converter, applies: Callable[[Any], bool], accepted: tuple[type, ...], wanted: str) -> None:
    """Refuse what is not of `accepted` where `applies` says so: a text could else pass for a list of letters."""
    under_way = set[Any]()

    def guarded(kind: Any, _: Converter) -> Callable[[Any, Any], Any]:
        under_way.add(kind)
        try:
            structure = converter.get_structure_hook(kind, cache_result=False)
        finally:
            under_way.remove(kind)

        def hook(value: Any, kind: Any) -> Any:
            if not isinstance(value, accepted):
                msg = f"{wanted} is wanted, not {kind_of(value)} ({value!r:.80})"
                raise TypeError(msg)
            return structure(value, kind)

        return hook

    converter.register_structure_hook_factory(lambda kind: applies(kind) and kind not in under_way, guarded)


_converter = make_converter()


def unstructure(value: object) -> Any:
    """Return `value` as plain data that JSON can hold. Fields that have their default are left out."""
    return _converter.unstructure(value)


def structure(data: Any, kind: type[T]) -> T:
    """Return the value of type `kind` that `data` stands for.

    Raises:
        ConfigInvalid: It stands for none; each problem has its path.
    """
    try:
        return _converter.structure(data, kind)
    except (BaseValidationError, ValueError, TypeError, KeyError, AttributeError, ForbiddenExtraKeysError) as err:
        raise ConfigInvalid(tuple(problems_of(err))) from err


def to_json(value: object) -> bytes:
    """Return `value` as one line of compact JSON."""
    return json.dumps(_converter.unstructure(value), separators=(",", ":"), ensure_ascii=False).encode()


def from_json(data: bytes, kind: type[T]) -> T:
    """Return the value of type `kind` that the JSON text `data` stands for.

    Raises:
        ConfigInvalid: It is not JSON, or stands for no such value.
    """
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise ConfigInvalid((Problem(f"this is not JSON: {err}"),)) from err
    return structure(plain, kind)


def problems_of(error: BaseException, path: str = "") -> Iterator[Problem]:
    """Yield what a failed structuring has to say, with the path of each place."""
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from problems_of(inner, _extended(path, inner))
        return
    yield Problem(_in_words(error), path=path)


def _extended(path: str, error: BaseException) -> str:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return f"{path}.{note.name}" if path else note.name
        if isinstance(note, IterableValidationNote):
            return f"{path}[{note.index}]"
    return path


def _in_words(error: BaseException) -> str:
    match error:
        case ForbiddenExtraKeysError():
            return f"unknown: {', '.join(repr(name) for name in sorted(error.extra_fields, key=str))}"
        case StructureHandlerNotFoundError():
            return "no value of any accepted form"
        case KeyError():
            return f"{error.args[0]!r} is missing" if error.args else "a key is missing"
        case _:
            return str(error.args[0]) if error.args else type(error).__name__
