"""What a manager says in words other than those in which it was said: `0.5` of a processor is what `500m` is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from orchestrion.shared_types import ConfigInvalid

from .field_owners import apply, is_by_name
from .json_values import JsonObject, check_size, equal
from .specs import amount_of

Meaning = Callable[[JsonObject], Any]
"""From a whole spec to what it comes to: two that come to the same say the same. ConfigInvalid is for what is none."""

MOST: Final = 100
"""Differences from what another manager says of which it is found out whether they are any; it takes a while each."""

_NAME: Final = "name"
_Keys = tuple[str, ...]


def in_words_of_others(
    applied: Mapping[str, JsonObject], manager: str, document: JsonObject, meaning: Meaning, /
) -> JsonObject:
    """Return a manager's part with the words of others where it says the same as they do in words of its own.

    What it says differently stays as it is, and so do differences beyond the first `MOST` from each manager. Returning
    the same again for the result changes nothing.

    Args:
        applied: By manager its part; the parts do not contradict each other.
        manager: Who applies.
        document: All that this manager has to say of the spec.
        meaning: What a whole spec comes to.

    Raises:
        ConfigInvalid: The document is too deep or too large.
    """
    check_size(document, "the document")
    found = _Meant(applied, manager, meaning)
    for other in sorted(applied):
        if other == manager:
            continue
        for number, (keys, theirs) in enumerate(_differences(document, applied[other], ())):
            if number == MOST:
                break
            told = _put(document, keys, theirs)
            if found.same(document, told):
                document = told
    return document


def amounts_meant(spec: JsonObject, /) -> JsonObject:
    """Return what a spec of amounts by name comes to, as that of a quota does; what is no amount stays as it is."""
    return {
        part: {name: _amount_meant(name, amount) for name, amount in amounts.items()}
        if isinstance(amounts, dict)
        else amounts
        for part, amounts in spec.items()
    }


def _amount_meant(name: str, amount: Any) -> Any:
    try:
        return amount_of(name, amount)
    except (ValueError, TypeError, ConfigInvalid):
        return amount


class _Meant:
    """Knows what parts of a manager come to, together with what the others say."""

    def __init__(self, applied: Mapping[str, JsonObject], manager: str, meaning: Meaning) -> None:
        self._applied, self._manager, self._meaning = applied, manager, meaning
        self._own: list[Any] = []

    def same(self, document: JsonObject, told: JsonObject) -> bool:
        """Whether two parts come to the same, of which the first may have been told in others' words before."""
        try:
            if not self._own:
                self._own.append(self._comes_to(document))
            return equal(self._own[0], self._comes_to(told))
        except ConfigInvalid:
            return False

    def _comes_to(self, document: JsonObject) -> Any:
        return self._meaning(apply(self._applied, self._manager, document, force=True).spec)


def _differences(mine: Any, theirs: Any, keys: _Keys) -> Iterator[tuple[_Keys, Any]]:
    """Yield where two parts have values that differ, and the others' value there."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in mine.keys() & theirs.keys():
            yield from _differences(mine[key], theirs[key], (*keys, key))
    elif _is_named(mine) and _is_named(theirs):
        their_items = {item[_NAME]: item for item in theirs}
        for item in mine:
            if item[_NAME] in their_items:
                yield from _differences(item, their_items[item[_NAME]], (*keys, item[_NAME]))
    elif not equal(mine, theirs):
        yield keys, theirs


def _is_named(value: Any) -> bool:
    return isinstance(value, list) and is_by_name(value)


def _put(part: Any, keys: _Keys, value: Any) -> Any:
    """Return a part with another value at a place."""
    if not keys:
        return value
    key, *rest = keys
    if isinstance(part, dict):
        return {**part, key: _put(part[key], tuple(rest), value)}
    return [_put(item, tuple(rest), value) if item[_NAME] == key else item for item in part]
