"""`node label`, `node taint` and `node rm`: what people say of nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from orchestrion.shared_types import ConfigInvalid, NotFound, PreconditionFailed, Problem, TaintEffect

from ._get import name_of
from ._kinds import KindName
from ._named import node_meant, node_names
from ._objects import MERGE_PATCH, Data, Objects, reach_objects
from ._output import Form, is_for_people, note, show_one
from ._places import place_of
from ._removal import may_remove
from ._running import run_async
from ._tables import at, harmless
from ._where import Where

_TRIES: Final = 5
_EFFECTS: Final = tuple(effect.value for effect in TaintEffect)

Taints = Mapping[tuple[str, str], Mapping[str, str]]
"""Taints as they are on the wire, by key and effect."""

Change = Callable[[Data], Mapping[str, Any]]
"""From a node to a merge patch of it."""


def run_node_label(name: str, changes: Sequence[str], where: Where, form: Form, *, dry_run: bool) -> int:
    """Give a node labels, or take them away."""
    labels = dict(_label(text) for text in changes)
    if len(labels) < len(changes):
        raise ConfigInvalid((Problem("a label is there twice"),))
    return _patched(name, where, form, lambda _: {"metadata": {"labels": labels}}, dry_run=dry_run)


def _label(text: str) -> tuple[str, str | None]:
    key, given, value = text.partition("=")
    if given and key:
        return key, value
    if not given and len(text) > 1 and text.endswith("-"):
        return text[:-1], None
    raise ConfigInvalid((Problem(f"{text!r:.100} is no KEY=VALUE, and no KEY- to take one away"),))


def run_node_taint(name: str, changes: Sequence[str], where: Where, form: Form, *, dry_run: bool) -> int:
    """Give a node taints, or take them away."""
    steps = [_taint(text) for text in changes]
    return _patched(name, where, form, lambda node: {"spec": {"taints": _tainted(node, steps)}}, dry_run=dry_run)


def _taint(text: str) -> tuple[str, str | None, str | None]:
    """Return the key of a taint, its value, or None where it goes, and its effect, or None where any goes."""
    goes = text.endswith("-")
    plain, colon, effect = text.removesuffix("-").partition(":")
    key, given, value = plain.partition("=")
    is_one = effect in _EFFECTS if colon else goes
    if not key or not is_one or (goes and given):
        told = f"{text!r:.100} is no KEY=VALUE:EFFECT, and no KEY- or KEY:EFFECT- to take one away"
        raise ConfigInvalid((Problem(told),), remedy=f"An EFFECT is one of: {', '.join(_EFFECTS)}")
    return key, None if goes else value, effect or None


def _tainted(node: Data, steps: Sequence[tuple[str, str | None, str | None]]) -> list[Mapping[str, str]]:
    """Return the taints of a node after some steps.

    Raises:
        NotFound: One that is to go is not there.
    """
    found: dict[tuple[str, str], Mapping[str, str]] = {
        (taint["key"], taint.get("effect", TaintEffect.NO_SCHEDULE.value)): taint
        for taint in at(node, "spec.taints") or ()
    }
    for key, value, effect in steps:
        if value is not None and effect is not None:
            found[key, effect] = {"key": key, "value": value, "effect": effect}
            continue
        going = [known for known in found if known[0] == key and effect in (None, known[1])]
        if not going:
            told = f"{key}:{effect}" if effect else key
            raise NotFound(f"the node has no taint {told!r:.100}", remedy="`orchestrion describe node` shows them.")
        for known in going:
            del found[known]
    return list(found.values())


def _patched(name: str, where: Where, form: Form, change: Change, *, dry_run: bool) -> int:
    place = place_of(where)

    async def patched() -> Data:
        async with reach_objects(where, place) as objects:
            kind = await objects.kind("node")
            for _ in range(_TRIES):
                node = await _one(objects, kind, name)
                patch = dict(change(node))
                # Of what was read: others may be about to say something of it as well.
                patch["metadata"] = {**patch.get("metadata", {}), "revision": node["metadata"]["revision"]}
                try:
                    return await objects.patch(kind, _id_of(node), patch, MERGE_PATCH, dry_run=dry_run)
                except PreconditionFailed as err:
                    refused = err
            raise refused

    node = run_async(patched)
    if not is_for_people(form):
        show_one(node, form, table=lambda _: (), name=name_of)
        return 0
    note(f"{_name_of(node)}: {'would have' if dry_run else 'has'} {marks_words(node)}")
    return 0


def marks_words(node: Data) -> str:
    """Return the labels and taints of a node, for people."""
    labels = ", ".join(f"{key}={value}" for key, value in sorted((at(node, "metadata.labels") or {}).items()))
    taints = ", ".join(_taint_words(taint) for taint in at(node, "spec.taints") or ())
    return harmless(f"labels {labels or 'none'}; taints {taints or 'none'}")


def _taint_words(taint: Mapping[str, str]) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint.get('effect', TaintEffect.NO_SCHEDULE.value)}"


def run_node_remove(names: Sequence[str], where: Where, *, yes: bool, dry_run: bool) -> int:
    """Forget nodes, after naming them and asking."""
    place = place_of(where)

    async def found() -> list[Data]:
        async with reach_objects(where, place) as objects:
            kind = await objects.kind("node")
            return [await _one(objects, kind, name) for name in dict.fromkeys(names)]

    nodes = run_async(found)
    for node in nodes:
        note(f"rm node {_name_of(node)} ({at(node, 'status.status')}), {_id_of(node)}")
    if not may_remove(place, sure=dry_run or yes):
        return 2

    async def removed() -> None:
        async with reach_objects(where, place) as objects:
            kind = await objects.kind("node")
            for node in nodes:
                await objects.delete(kind, _id_of(node), dry_run=dry_run)
                note(f"{_name_of(node)}: {'would be removed' if dry_run else 'removed'}")

    run_async(removed)
    return 0


def _id_of(node: Data) -> str:
    return str(node["metadata"]["name"])


def _name_of(node: Data) -> str:
    """Return the name of a node for people."""
    return harmless(str(at(node, "spec.name") or _id_of(node)))


async def _one(objects: Objects, kind: KindName, name: str) -> Data:
    """Return the node of a name, or of an id or the beginning of one, also one that is not there any longer.

    Raises:
        NotFound: There is none.
        ConfigInvalid: There are several.
    """
    nodes = (await objects.list(kind)).items
    found = node_meant(nodes, name, node_names)
    if found is None:
        there = ", ".join(sorted(_name_of(node) for node in nodes)) or "none"
        raise NotFound(
            f"there is no node {name!r:.100}; there are: {there}", remedy="`orchestrion get nodes` says more."
        )
    return found
