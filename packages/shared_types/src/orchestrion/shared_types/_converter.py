"""The one converter between values and plain data."""

from __future__ import annotations

import collections.abc
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import EnumType, StrEnum
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import attrs
from cattrs import (
    AttributeValidationNote,
    BaseValidationError,
    Converter,
    IterableValidationNote,
    StructureHandlerNotFoundError,
)
from cattrs.cols import mapping_structure_factory
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.preconf.json import make_converter as make_json_converter

from ._container import ExecProbe, HttpProbe, Probe, TcpProbe
from ._errors import ConfigInvalid, Problem
from ._plain_statuses import register_statuses
from ._suggest import nearest, unknown

T = TypeVar("T")

_LISTS = (tuple, frozenset, list)
_SCALARS = {str, int, float, bool}
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
_PROBES: Mapping[str, type] = {"http": HttpProbe, "tcp": TcpProbe, "exec": ExecProbe}
_PROBE_NAMES = {kind: name for name, kind in _PROBES.items()}
_TAG = "type"


def make_converter(*, passes_over: bool = False) -> Converter:
    """Return a converter for every type of this package and for attrs classes made of them.

    It refuses unknown keys, refuses a text where a number is wanted and a text where a list is wanted, refuses times
    without a time zone, leaves out fields that have their default, and tags the union `Probe` with `type`.

    Args:
        passes_over: Whether unknown keys are passed over instead.
    """
    converter = make_json_converter(forbid_extra_keys=not passes_over, omit_if_default=True)
    # By class, because those hooks go before the ones that are chosen by a predicate; they also hold for what inherits
    # from the class, so enums, which inherit from str, arrive there too.
    for scalar in (str, int, float, bool):
        converter.register_structure_hook(scalar, _scalar)
    converter.register_structure_hook(datetime, _time)
    converter.register_unstructure_hook(datetime, _time_text)
    converter.register_unstructure_hook(StrEnum, lambda member: member.value)
    # The order of a set differs from run to run; equal values are to be equal texts.
    converter.register_unstructure_hook_func(lambda kind: kind == frozenset[str], sorted)
    _guard(converter, lambda kind: get_origin(kind) in _LISTS, (list, tuple), "a list")
    converter.register_structure_hook_factory(_is_mapping, _mapping_hook)
    converter.register_structure_hook_func(_is_choice_of_scalars, _one_of_scalars)
    _guard(converter, lambda kind: isinstance(kind, type) and attrs.has(kind), (Mapping,), "a mapping")
    _tag_probes(converter)
    register_statuses(converter)
    return converter


def _tag_probes(converter: Converter) -> None:
    def structure(value: Any, _kind: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(_other("a mapping", value))
        rest = dict(value)
        tag = rest.pop(_TAG, None)
        if tag is None:
            msg = f"{_TAG!r} is missing; one of {', '.join(_PROBES)} is wanted"
            raise ValueError(msg)
        if not isinstance(tag, str) or tag not in _PROBES:
            raise ValueError(_not_among(_PROBES, tag))
        return converter.structure(rest, _PROBES[tag])

    def unstructure(value: Any) -> Any:
        return {_TAG: _PROBE_NAMES[type(value)], **converter.unstructure(value, type(value))}

    converter.register_structure_hook_func(lambda kind: kind == Probe, structure)
    converter.register_unstructure_hook_func(lambda kind: kind == Probe, unstructure)


def _scalar(value: Any, kind: type) -> Any:
    if type(value) is kind:
        return value
    if isinstance(kind, EnumType):
        return _member(value, kind)
    if kind is float and type(value) is int and value.bit_length() <= 64:
        return float(value)
    raise TypeError(_other(_KINDS[kind], value))


def _member(value: Any, kind: EnumType) -> Any:
    try:
        return kind(value)
    except ValueError:
        choices = [str(member.value) for member in kind]  # type: ignore[var-annotated] # members of any enum
        raise ValueError(_not_among(choices, value)) from None


def _time(value: Any, _kind: Any) -> datetime:
    if not isinstance(value, str):
        raise TypeError(_other("a time such as 2030-01-31T12:00:00+00:00", value))
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        msg = f"a time such as 2030-01-31T12:00:00+00:00 is wanted, not {value!r:.80}"
        raise ValueError(msg) from None
    if time.utcoffset() is None:
        msg = f"a time with its time zone is wanted; {value!r:.80} has none (append Z for UTC)"
        raise ValueError(msg)
    return time


def _time_text(value: datetime) -> str:
    if value.utcoffset() is None:
        msg = f"{value!r} has no time zone; every time that is kept needs one"
        raise ValueError(msg)
    return value.isoformat()


def kind_of(value: object) -> str:
    """Return what `value` is, in words for an error message."""
    return _KINDS.get(type(value), "a mapping" if isinstance(value, Mapping) else type(value).__name__)


def _other(wanted: str, value: object) -> str:
    return f"{wanted} is wanted, not {kind_of(value)} ({value!r:.80})"


def _not_among(choices: collections.abc.Iterable[str], value: object) -> str:
    choices = list(choices)
    guess = nearest(value, choices) if isinstance(value, str) else None
    hint = f"; did you mean {guess!r}?" if guess else ""
    return f"one of {', '.join(choices)} is wanted, not {value!r:.80}{hint}"


def _is_choice_of_scalars(kind: Any) -> bool:
    choices = set(get_args(kind)) - {type(None)} if get_origin(kind) in (Union, UnionType) else set()
    return len(choices) > 1 and choices <= _SCALARS


def _one_of_scalars(value: Any, kind: Any) -> Any:
    choices = get_args(kind)
    if type(value) in choices:
        return value
    if float in choices and type(value) is int:
        return _scalar(value, float)
    raise TypeError(_other(" or ".join(_KINDS[each] for each in choices if each is not type(None)), value))


def _is_mapping(kind: Any) -> bool:
    origin: Any = get_origin(kind)
    return origin in (dict, collections.abc.Mapping)


def _mapping_hook(kind: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    # Not by `_guard`: the converter keeps its own hook for a mapping, and from then on takes that past every other.
    structure = mapping_structure_factory(kind, converter, dict, detailed_validation=True)

    def hook(value: Any, kind: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(_other("a mapping", value))
        return structure(value, kind)

    return hook


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
                raise TypeError(_other(wanted, value))
            return structure(value, kind)

        return hook

    converter.register_structure_hook_factory(lambda kind: applies(kind) and kind not in under_way, guarded)


_converter = make_converter()
_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)

_REFUSALS = (
    BaseValidationError,
    ForbiddenExtraKeysError,
    StructureHandlerNotFoundError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
)


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
    except _REFUSALS as err:
        raise ConfigInvalid(tuple(problems_of(err))) from err


def structure_answer(data: Any, kind: type[T]) -> T:
    """Return the value of type `kind` that `data` stands for: an answer of somebody who may be of a later version.

    Keys that are not known here are passed over.

    Raises:
        ConfigInvalid: It stands for none; each problem has its path.
    """
    try:
        return _lenient_converter().structure(data, kind)
    except _REFUSALS as err:
        raise ConfigInvalid(tuple(problems_of(err))) from err


@functools.cache
def _lenient_converter() -> Converter:
    return make_converter(passes_over=True)


def to_json(value: object) -> bytes:
    """Return `value` as one line of compact JSON."""
    return _encoder.encode(_converter.unstructure(value)).encode()


def from_json(data: bytes, kind: type[T]) -> T:
    """Return the value of type `kind` that the JSON text `data`, in UTF-8, stands for.

    Raises:
        ConfigInvalid: It is not JSON, or stands for no such value.
    """
    try:
        text = data.decode()
        plain = json.loads(text, parse_constant=_no_constant)
        if "\\u" in text:
            # An escape can make half of a surrogate pair, a text that could never be written again.
            json.dumps(plain, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as err:
        raise ConfigInvalid((Problem(f"this is not JSON: {err}"),)) from err
    return structure(plain, kind)


def _no_constant(name: str) -> None:
    msg = f"{name} is not a number that JSON has"
    raise ValueError(msg)


def problems_of(error: BaseException, path: str = "") -> Iterator[Problem]:
    """Yield what a failed structuring has to say, with the path of each place."""
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from problems_of(inner, _extended(path, inner))
        return
    refused = _by_validator(error)
    if refused is not None:
        name, message = refused
        yield Problem(message, path=f"{path}.{name}" if path else name)
        return
    for message in _in_words(error):
        yield Problem(message, path=path)


def _extended(path: str, error: BaseException) -> str:
    if isinstance(error, KeyError):
        # Its place is the mapping that lacks the key; the message has the key.
        return path
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return f"{path}.{note.name}" if path else note.name
        if isinstance(note, IterableValidationNote):
            return f"{path}[{note.index}]"
    return path


def _in_words(error: BaseException) -> Iterator[str]:
    match error:
        case ForbiddenExtraKeysError():
            accepted = [field.name for field in attrs.fields(error.cl)] if attrs.has(error.cl) else []
            for name in sorted(error.extra_fields, key=str):
                yield unknown("key", str(name), accepted)
        case StructureHandlerNotFoundError():
            yield "no value of any accepted form"
        case KeyError():
            yield f"{error.args[0]!r} is missing" if error.args else "a key is missing"
        case _:
            yield str(error.args[0]) if error.args else type(error).__name__


_BOUND = re.compile(r"(Length of )?'(\w+)' must be (<=|>=|<|>) (\S+): (.+)", re.DOTALL)
_BOUNDS = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than"}


def _by_validator(error: BaseException) -> tuple[str, str] | None:
    """Return which attribute a validator of attrs has refused, and why, in plain words; None for other errors."""
    if not isinstance(error, ValueError):
        return None
    match error.args:
        case [_, attrs.Attribute(name=name), re.Pattern(pattern=pattern), value]:
            return name, f"{value!r:.80} is not of the form {pattern}"
        case [_, attrs.Attribute(name=name), collections.abc.Collection() as choices, value]:
            return name, _not_among(map(str, choices), value)
        case [str(text)] if found := _BOUND.fullmatch(text):
            length, name, sign, bound, value = found.groups()
            what = "a length of " if length else ""
            return name, f"{what}{_BOUNDS[sign]} {_whole(bound)} is wanted, not {_whole(value):.80}"
    return None


def _whole(number: str) -> str:
    return number.removesuffix(".0")
