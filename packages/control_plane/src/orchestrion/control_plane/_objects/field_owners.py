"""Who says what of an object: server-side apply.

Each manager (a person's tool, an autoscaler) applies the part of a spec that it cares for; the object's spec is all
parts merged. A manager's new part replaces its former one, so that what nobody says any longer is absent, and thus the
default. Two managers may say the same; where they say different things, the second is refused, or takes the place with
force.

A list whose items all have a `name` of their own is merged by names; any other list is one value, as a scalar is. An
object or list with nothing in it only says that it is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from attrs import frozen
from orchestrion.shared_types import Conflict

from .json_values import JsonObject, check_size, equal, place

_NAME: Final = "name"
_SHOWN: Final = 20


@frozen
class Applied:
    """What an object is made of.

    Attributes:
        spec: All parts merged: the whole that the object is to be.
        applied: By manager its part; one that says nothing is not there.
    """

    spec: JsonObject
    applied: Mapping[str, JsonObject]


@frozen
class _Leaf:
    value: Any


@frozen
class _Branch:
    """An object, or a list by names: what is inside by key or name, in order."""

    named: bool
    inside: Mapping[str, _Tree]


_Tree: TypeAlias = _Leaf | _Branch


def apply(applied: Mapping[str, JsonObject], manager: str, document: JsonObject, /, *, force: bool = False) -> Applied:
    """Return what the object is made of after a manager's part was replaced.

    Applying the same part again changes nothing. What others say stays, but for what `force` takes from them. The order
    in which managers came makes no difference, except that with `force` the last one wins.

    Args:
        applied: By manager its part, as an earlier call returned it.
        manager: Who applies.
        document: All that this manager has to say of the spec; an empty one withdraws it.
        force: Whether others lose what they say differently.

    Raises:
        ConfigInvalid: The document is too deep or too large.
        Conflict: Others say something else, and `force` is False. It names each place and who owns it.
    """
    check_size(document, "the document")
    mine = _tree(document)
    others = {other: _tree(part) for other, part in applied.items() if other != manager}
    if force:
        left = {other: _without(theirs, mine) for other, theirs in others.items()}
        others = {other: theirs for other, theirs in left.items() if theirs is not None}
    else:
        _check_conflicts(mine, others)
    return _assembled({**others, manager: mine})


def said_together(applied: Mapping[str, JsonObject], /) -> JsonObject:
    """Return what all managers say together of a spec, without what nobody says."""
    spec: JsonObject = _assembled({manager: _tree(part) for manager, part in applied.items()}).spec
    return spec


def replace(applied: Mapping[str, JsonObject], manager: str, spec: JsonObject, /) -> Applied:
    """Return what the object is made of after a manager has written the whole spec (PUT), or changed it (PATCH).

    Others keep what they said and the new spec still says; all the rest is this manager's. Where names of a list come
    in an order that the parts do not give, the manager says all the names of that list.

    Args:
        applied: By manager its part, as an earlier call returned it.
        manager: Who writes.
        spec: The whole that the object is to be; the result has it unchanged.

    Raises:
        ConfigInvalid: The spec is too deep or too large.
    """
    check_size(spec, "the spec")
    if not applied:
        return Applied(
            spec, {manager: spec} if spec else {}
        )  # what all the rest comes to where nobody else says anything
    whole = _tree(spec)
    kept = {name: part for name, former in applied.items() if (part := _kept(_tree(former), whole)) is not None}
    former = kept.pop(manager, None)
    mine = _rest(whole, kept, manager, former)
    return _assembled(kept if mine is None else {**kept, manager: mine})


def revise(
    applied: Mapping[str, JsonObject], manager: str, before: JsonObject, given: JsonObject, after: JsonObject, /
) -> dict[str, JsonObject]:
    """Return whose parts are whose after a manager has changed a spec (PUT, PATCH): it says what it changed.

    What is as it was stays with who said it, in the words in which it was said, and with nobody where nobody did, as a
    default. What others said and is no longer so they no longer say.

    Args:
        applied: By manager its part, as an earlier call returned it.
        manager: Who writes.
        before: The spec as it was, in the form in which it is kept.
        given: What the manager wants it to be, in its own words.
        after: What has become of that, in the form in which it is kept.

    Raises:
        ConfigInvalid: What is given is too deep or too large.
    """
    check_size(given, "the spec")
    old, new = _tree(before), _tree(after)
    parts = {name: part for name, former in applied.items() if (part := _still(_tree(former), old, new)) is not None}
    mine = _changed(old, _tree(given), new, parts, manager)
    if mine is not None:
        parts[manager] = _joined(parts[manager], mine) if manager in parts else mine
    return {name: _plain(parts[name]) for name in sorted(parts) if parts[name] != _NOTHING_SAID}


def hand_on(
    applied: Mapping[str, JsonObject], before: JsonObject, after: JsonObject, otherwise: str, /
) -> dict[str, JsonObject]:
    """Return whose parts are whose after a spec has changed by nobody's own words: who said a place says it still.

    A place that is new is said by who says most of what is around it.

    Args:
        applied: By manager its part, as an earlier call returned it.
        before: The spec as it was, in the form in which it is kept.
        after: The spec as it is now, in that form.
        otherwise: Who says what there is if nobody says anything.
    """
    if not applied:
        return {otherwise: after} if after else {}
    parts = _handed({manager: _tree(part) for manager, part in applied.items()}, _tree(before), _tree(after))
    return {manager: _plain(parts[manager]) for manager in sorted(parts) if parts[manager] != _NOTHING_SAID}


def owners_of(applied: Mapping[str, JsonObject], /) -> dict[str, tuple[str, ...]]:
    """Return for each value of the spec who says it, sorted; the places read like `spec.containers[web].image`.

    An object or list is there only where somebody says that it is there and nothing of what is in it.
    """
    owners: dict[str, list[str]] = {}
    for manager in sorted(applied):
        for path in _said(_tree(applied[manager]), "spec"):
            owners.setdefault(path, []).append(manager)
    return {path: tuple(owners[path]) for path in sorted(owners)}


def _tree(value: Any) -> _Tree:
    if isinstance(value, dict):
        return _Branch(False, {key: _tree(inner) for key, inner in value.items()})
    if isinstance(value, list) and is_by_name(value):
        return _Branch(True, {item[_NAME]: _tree(item) for item in value})
    return _Leaf(value)


def is_by_name(items: list[Any]) -> bool:
    """Whether a list is merged by names: all its items have one of their own."""
    names = {item[_NAME] for item in items if isinstance(item, dict) and isinstance(item.get(_NAME), str)}
    return len(names) == len(items)


def _plain(tree: _Tree) -> Any:
    if isinstance(tree, _Leaf):
        return tree.value
    if tree.named:
        return [_plain(inner) for inner in tree.inside.values()]
    return {key: _plain(inner) for key, inner in tree.inside.items()}


def _assembled(parts: Mapping[str, _Tree]) -> Applied:
    saying = {manager: part for manager, part in parts.items() if part != _NOTHING_SAID}
    spec = _merged(saying) if saying else _NOTHING_SAID
    return Applied(_plain(spec), {manager: _plain(saying[manager]) for manager in sorted(saying)})


def _merged(parts: Mapping[str, _Tree]) -> _Tree:
    """Return what parts say together; they do not contradict each other, which every change has made sure of."""
    first = parts[min(parts)]
    if isinstance(first, _Leaf):
        return first
    branches = {manager: part for manager, part in parts.items() if isinstance(part, _Branch)}
    order = _order({manager: list(branch.inside) for manager, branch in branches.items()})
    return _Branch(first.named, {key: _merged(_inside(branches, key)) for key in order})


def _inside(parts: Mapping[str, _Tree], key: str) -> dict[str, _Tree]:
    return {
        manager: part.inside[key] for manager, part in parts.items() if isinstance(part, _Branch) and key in part.inside
    }


def _order(orders: Mapping[str, Sequence[str]]) -> list[str]:
    """Return all keys in one order: that of the longest part, in which the others' keys follow what they follow there.

    What comes first elsewhere comes before what it precedes there, or last. Equally long parts go by their managers.
    """
    ranked = [orders[manager] for manager in sorted(orders, key=lambda manager: (-len(orders[manager]), manager))]
    result = list(ranked[0])
    known = set(result)
    for keys in ranked[1:]:
        if known.issuperset(keys):
            continue
        place_of = {key: index for index, key in enumerate(result)}
        first = next((place_of[key] for key in keys if key in known), len(result))
        before: dict[int, list[str]] = {}
        for key in keys:
            if key in known:
                first = place_of[key] + 1
            else:
                before.setdefault(first, []).append(key)
                known.add(key)
        result = [
            key for index in range(len(result) + 1) for key in (*before.get(index, ()), *result[index : index + 1])
        ]
    return result


def _check_conflicts(mine: _Tree, others: Mapping[str, _Tree]) -> None:
    owned: dict[str, list[str]] = {}
    for other in sorted(others):
        for path in _contradictions(mine, others[other], "spec"):
            owned.setdefault(path, []).append(other)
    if not owned:
        return
    lines = [f"{path} is owned by {' and '.join(map(repr, owners))}" for path, owners in sorted(owned.items())]
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    raise Conflict(
        "\n".join(lines[:_SHOWN] + more),
        remedy="Leave it out, or take it over: force=true, or --force-conflicts of the command.",
    )


def _contradictions(mine: _Tree, theirs: _Tree, path: str) -> Iterator[str]:
    if isinstance(mine, _Branch) and isinstance(theirs, _Branch) and mine.named == theirs.named:
        for key, inner in mine.inside.items():
            if key in theirs.inside:
                yield from _contradictions(inner, theirs.inside[key], _inner_path(path, mine, key))
    elif not _same_leaf(mine, theirs):
        yield path


def _same_leaf(left: _Tree, right: _Tree) -> bool:
    return isinstance(left, _Leaf) and isinstance(right, _Leaf) and equal(left.value, right.value)


def _inner_path(path: str, branch: _Branch, key: str) -> str:
    text = place(key)
    if text.startswith("["):
        return path + text
    return f"{path}[{text}]" if branch.named else f"{path}.{text}"


def _without(theirs: _Tree, mine: _Tree) -> _Tree | None:
    """Return what is left of others' part where it must not contradict mine; None where that is nothing."""
    if isinstance(mine, _Branch) and isinstance(theirs, _Branch) and mine.named == theirs.named:
        left = {
            key: _without(inner, mine.inside[key]) if key in mine.inside else inner
            for key, inner in theirs.inside.items()
        }
        return _trimmed(theirs, left)
    return theirs if _same_leaf(theirs, mine) else None


def _kept(theirs: _Tree, whole: _Tree) -> _Tree | None:
    """Return what of a part is still so in a new whole, in the order that the whole has; None where that is nothing."""
    if isinstance(whole, _Branch) and isinstance(theirs, _Branch) and whole.named == theirs.named:
        kept = {key: _kept(theirs.inside[key], inner) for key, inner in whole.inside.items() if key in theirs.inside}
        return _trimmed(theirs, kept)
    return theirs if _same_leaf(theirs, whole) else None


def _same(left: _Tree | None, right: _Tree | None) -> bool:
    """Whether two trees are the same, with the names of lists in the same order."""
    if not (isinstance(left, _Branch) and isinstance(right, _Branch)):
        return left is not None and right is not None and _same_leaf(left, right)
    if left.named != right.named or left.inside.keys() != right.inside.keys():
        return False
    if left.named and list(left.inside) != list(right.inside):
        return False
    return all(_same(inner, right.inside[key]) for key, inner in left.inside.items())


def _still(theirs: _Tree, old: _Tree | None, new: _Tree) -> _Tree | None:
    """Return what of a part is still so where a whole has become another one; None where that is nothing."""
    if _same(old, new):
        return theirs
    if not (isinstance(theirs, _Branch) and isinstance(old, _Branch) and isinstance(new, _Branch)):
        return _kept(theirs, new)
    if not theirs.named == old.named == new.named:
        return _kept(theirs, new)
    kept = {
        key: _still(theirs.inside[key], old.inside.get(key), inner)
        for key, inner in new.inside.items()
        if key in theirs.inside
    }
    # What the kept form leaves out, as a default is, was so before and still is.
    rest = {key: inner for key, inner in theirs.inside.items() if key not in old.inside and key not in new.inside}
    return _trimmed(theirs, {**kept, **rest})


def _changed(
    old: _Tree | None, given: _Tree, new: _Tree | None, parts: Mapping[str, _Tree], manager: str
) -> _Tree | None:
    """Return what a manager has changed of a whole, or None; what others had changed of it is not the manager's.

    `parts` are what is said of it already.
    """
    if new is None:
        return None if _same(old, given) else given
    if _same(old, new) or _same(old, given):
        return None
    if not (isinstance(given, _Branch) and isinstance(new, _Branch)) or given.named != new.named:
        return new
    before = old.inside if isinstance(old, _Branch) and old.named == new.named else {}
    inside: dict[str, _Tree] = {}
    for key in (*(key for key in new.inside if key in given.inside), *(given.inside.keys() - new.inside.keys())):
        mine = _changed(before.get(key), given.inside[key], new.inside.get(key), _inside(parts, key), manager)
        if mine is not None:
            inside[key] = _identified(mine, key) if new.named else mine
    if new.named:
        orders = {name: list(part.inside) for name, part in parts.items() if isinstance(part, _Branch)}
        own = parts.get(manager)
        said = {*inside, *(own.inside if isinstance(own, _Branch) else ())}
        order = _order({**orders, manager: [key for key in new.inside if key in said]})
        if order != [key for key in new.inside if key in set(order)]:
            inside = {key: _identified(inside.get(key), key) for key in new.inside}
    return _Branch(new.named, inside) if inside or old is None or not new.inside else None


def _joined(former: _Tree, more: _Tree) -> _Tree:
    """Return a part with more that is said; that goes before where both say a place."""
    if not (isinstance(former, _Branch) and isinstance(more, _Branch)) or former.named != more.named:
        return more
    order = list(more.inside) if more.inside.keys() >= former.inside.keys() else list({**former.inside, **more.inside})
    inside: dict[str, _Tree] = {}
    for key in order:
        mine, formerly = more.inside.get(key), former.inside.get(key)
        if mine is None or formerly is None:
            inside[key] = former.inside[key] if mine is None else mine
        else:
            inside[key] = _joined(formerly, mine)
    return _Branch(former.named, inside)


def _handed(parts: Mapping[str, _Tree], old: _Tree | None, new: _Tree) -> dict[str, _Tree]:
    """Return parts of a whole that has become another one, each with what it now has to say of the same places."""
    if _same(old, new):
        return dict(parts)
    branches = {
        manager: part
        for manager, part in parts.items()
        if isinstance(new, _Branch) and isinstance(part, _Branch) and part.named == new.named
    }
    if not isinstance(new, _Branch) or len(branches) < len(parts):
        return dict.fromkeys(parts, new)
    before = old.inside if isinstance(old, _Branch) and old.named == new.named else {}
    most = max(branches, key=lambda manager: (len(branches[manager].inside), manager))
    inside: dict[str, dict[str, _Tree]] = {manager: {} for manager in branches}
    for key, inner in new.inside.items():
        saying = _inside(branches, key)
        if saying:
            for manager, part in _handed(saying, before.get(key), inner).items():
                inside[manager][key] = part
        elif not _same(before.get(key), inner):
            inside[most][key] = inner
    for manager, part in branches.items():
        rest = {key: each for key, each in part.inside.items() if key not in before and key not in new.inside}
        inside[manager].update(rest)
    if new.named:
        order = _order({manager: list(said) for manager, said in inside.items()})
        if order != [key for key in new.inside if key in set(order)]:
            inside[most] = {key: _identified(inside[most].get(key), key) for key in new.inside}
    return {manager: _Branch(new.named, said) for manager, said in inside.items() if said or manager == most}


def _trimmed(branch: _Branch, inside: Mapping[str, _Tree | None]) -> _Branch | None:
    left = {key: inner for key, inner in inside.items() if inner is not None}
    return None if branch.inside and not left else _Branch(branch.named, left)


def _rest(whole: _Tree, others: Mapping[str, _Tree], manager: str, former: _Tree | None) -> _Tree | None:
    """Return what a manager has to say so that it and the others, who are right as far as they go, say the whole.

    What it said formerly and is still so it says on; None where it has nothing to say.
    """
    if isinstance(whole, _Leaf):
        return whole if former is not None or not others else None
    inside: dict[str, _Tree] = {}
    for key, inner in whole.inside.items():
        formerly = former.inside.get(key) if isinstance(former, _Branch) else None
        mine = _rest(inner, _inside(others, key), manager, formerly)
        if mine is not None:
            inside[key] = _identified(mine, key) if whole.named else mine
    if whole.named:
        orders = {name: list(part.inside) for name, part in others.items() if isinstance(part, _Branch)}
        if whole.inside and _order({**orders, manager: list(inside)}) != list(whole.inside):
            inside = {key: _identified(inside.get(key), key) for key in whole.inside}
    return _Branch(whole.named, inside) if inside or former is not None or not others else None


def _identified(item: _Tree | None, name: str) -> _Branch:
    """Return an item of a list by names with the name that makes it this one."""
    said = item.inside if isinstance(item, _Branch) else {}
    return _Branch(False, {_NAME: _Leaf(name), **said})


def _said(tree: _Tree, path: str) -> Iterator[str]:
    if isinstance(tree, _Leaf) or not tree.inside:
        yield path
    else:
        for key, inner in tree.inside.items():
            yield from _said(inner, _inner_path(path, tree, key))


_NOTHING_SAID: Final = _Branch(False, {})
