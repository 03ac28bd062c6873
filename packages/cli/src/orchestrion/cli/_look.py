"""`events` and `explain`: looking, and changing nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

from orchestrion.control_plane import HttpControl
from orchestrion.orchestrator_core import SlotPlacement, Subject, parse_subject
from orchestrion.scheduler_interface import Explanation, Predicate, describe, describe_change, describe_score
from orchestrion.shared_types import (
    ConfigInvalid,
    Event,
    NodeId,
    Problem,
    WorkloadNotFound,
)

from ._acting import reach_or_observe
from ._node_names import NodeNames, named_node, names_at
from ._offline import store_reader
from ._output import Form, coloured, columns, is_for_people, line_for, note, show
from ._places import Place, namespace_of, namespaces_of, place_of
from ._reach import owner_or_lock
from ._reader import Reader
from ._running import run_async
from ._state_directory import StateDirectory
from ._status import event_rows
from ._subjects import event_subject
from ._tables import harmless
from ._times import moment
from ._where import Where

_MOST_TYPES: Final = 20


def run_events(
    subject: str | None,
    where: Where,
    since_text: str | None,
    limit: int,
    form: Form,
    *,
    follow: bool,
    types: str = "",
) -> int:
    """Print what has happened."""
    if limit < 1:
        raise ConfigInvalid((Problem(f"{limit} is no number of events: 1 or more are possible"),))
    start = None if since_text is None else moment(since_text, datetime.now(UTC))
    place = place_of(where)
    run_async(_events, place, subject, namespaces_of(where, place), start, limit, form, follow, _words(types))
    return 0


def _words(types: str) -> tuple[str, ...]:
    """Return severities and reasons that were typed with commas between."""
    words = tuple(word.strip() for word in types.split(",")) if types else ()
    for word in words:
        if not (word.isascii() and word.isalnum()) or len(words) > _MOST_TYPES:
            problem = Problem(f"{word!r:.80} is no type of events: severities and reasons are words, 20 at most")
            raise ConfigInvalid((problem,), remedy="orchestrion events --types Warning, or: --types Placed,BackOff")
    return words


async def _events(
    place: Place,
    name: str | None,
    namespace: str | None,
    start: datetime | None,
    limit: int,
    form: Form,
    follow: bool,
    types: Collection[str],
) -> None:
    place.must_exist()
    async with owner_or_lock(place, only_looks=True) as found:
        if not isinstance(found, HttpControl):
            async with store_reader(found) as reader:
                await _print_kept_events(reader, name, namespace, start, limit, form, types)
            if follow:
                note("no orchestrator runs here: nothing comes after this")
        elif not follow:
            await _print_kept_events(found, name, namespace, start, limit, form, types)
        else:
            from ._following import followed_events

            subject, namespace = (None, namespace) if name is None else await event_subject(name, namespace, found)
            if name is not None and not await _is_known(name, namespace, found):
                note(f"there is no workload {parse_subject(name).workload!r} yet")
            # Of a server of the network nothing tells whether it has only ended for a moment.
            ended = place.has_ended if isinstance(place, StateDirectory) else lambda: False
            following = followed_events(found, subject, namespace, start, limit, types, ended=ended)
            async with aclosing(following) as events:
                async for event in events:
                    _print_event(event, form)
            note("the orchestrator has ended: nothing comes after this")


async def _print_kept_events(
    reader: Reader,
    name: str | None,
    namespace: str | None,
    start: datetime | None,
    limit: int,
    form: Form,
    types: Collection[str],
) -> None:
    subject, namespace = (None, namespace) if name is None else await event_subject(name, namespace, reader)
    events = await reader.events(namespace=namespace, subject=subject, since=start, limit=limit, types=types)
    if types and not events and await reader.events(namespace=namespace, subject=subject, since=start, limit=1):
        if is_for_people(form):
            note(f"nothing of what has happened is of {', '.join(types)}")
    elif not events and name is not None and not await _is_known(name, namespace, reader):
        workload = parse_subject(name).workload
        where = "" if namespace is None else f" in namespace {namespace!r}"
        raise WorkloadNotFound(
            f"there is no workload {workload!r}{where}, and nothing is known to have happened to one",
            remedy="See what there is: orchestrion status",
        )
    _print_events(events, form)


async def _is_known(name: str, namespace: str | None, reader: Reader) -> bool:
    """Whether a subject is one of another kind, or is, or is of, a workload that there is."""
    if "/" in name:
        return True
    wanted = parse_subject(name).workload
    return any(view.definition.metadata.name == wanted for view in await reader.list_workloads(namespace=namespace))


def _print_events(events: Sequence[Event], form: Form) -> None:
    show(events, form, table=lambda items: columns(event_rows(items)), name=lambda event: event.uid)


def _print_event(event: Event, form: Form) -> None:
    if form == "name":
        print(event.uid, flush=True)
    elif is_for_people(form):
        print("  ".join(event_rows([event])[0]), flush=True)
    else:
        print(line_for(event, form), flush=True)


def run_explain(name: str, where: Where, form: Form, node: str | None = None) -> int:
    """Print why a workload's slots are where they are; with `node` whether that one would take them."""
    place = place_of(where)
    placements, names = run_async(_explain, place, parse_subject(name), namespace_of(where, place), node)
    show(
        placements,
        form,
        table=lambda items: placement_lines(items, names) if node is None else row_lines(items, node, names),
        name=lambda placement: placement.instance,
    )
    if not placements and is_for_people(form):
        note(f"{name} has no slots to place now")
    return 0


async def _explain(
    place: Place, wanted: Subject, namespace: str, node: str | None
) -> tuple[list[SlotPlacement], NodeNames]:
    place.must_exist()
    async with reach_or_observe(place) as control:
        at = None if node is None else named_node(await control.list_nodes(), node).id
        placements = await control.explain(wanted.workload, namespace=namespace, node=at)
        names = await names_at(control)
    if wanted.index is None:
        return placements, names
    own = [placement for placement in placements if wanted.names(placement.instance)]
    if not own:
        raise wanted.unknown(namespace)
    return own, names


def placement_lines(placements: Iterable[SlotPlacement], names: NodeNames, /) -> Iterable[str]:
    """Return where slots go, or why they can't, and the smallest change that would place them.

    Slots of a workload that are refused one after the other for the same reasons are told as one.
    """
    for _, alike in groupby(placements, key=_what_is_told):
        placement, *others = alike
        text, instance = harmless(names.within(placement.text)), harmless(placement.instance)
        if placement.node_id is not None:
            yield f"{instance}: {coloured('on', 'green')} {names.of(placement.node_id)}: {text}"
            yield from _score_lines(placement.explanation, placement.node_id, names)
            continue
        yield f"{instance}{_up_to(others)}: {coloured('nowhere', 'red')}: {text}"
        if placement.explanation.closest:
            yield f"    closest: {', '.join(names.of(node_id) for node_id in placement.explanation.closest)}"
        change = harmless(names.within(describe_change(placement.explanation.smallest_change)))
        if change:
            yield f"    it would fit: {change}"


def row_lines(placements: Iterable[SlotPlacement], node: str, names: NodeNames, /) -> Iterable[str]:
    """Return whether a node would take slots, and for that each predicate; slots of which the same holds are one."""
    for _, alike in groupby(placements, key=lambda placement: placement.explanation.groups):
        placement, *others = alike
        explanation = placement.explanation
        told = coloured("would be taken", "green") if placement.node_id else coloured("would be refused", "red")
        yield f"{harmless(placement.instance)}{_up_to(others)}: {told} by {node}"
        rows: list[tuple[str, ...]] = []
        for predicate in Predicate:
            failing = [group for group in explanation.groups if group.predicate is predicate]
            reasons = [describe(Explanation(groups=(group,))).removeprefix("1 node: ") for group in failing]
            if reasons:
                rows.append(
                    (f"    {predicate.value}", coloured("fails", "red"), harmless(names.within("; ".join(reasons))))
                )
            elif predicate not in (Predicate.OTHER_NODE, Predicate.UNSUPPORTED):
                rows.append((f"    {predicate.value}", coloured("holds", "green"), ""))
        yield from columns(rows)
        change = harmless(names.within(describe_change(explanation.smallest_change)))
        if change:
            yield f"    it would fit: {change}"


def _up_to(others: Sequence[SlotPlacement]) -> str:
    """Return up to which slot the same holds as for the one before these."""
    return f" to {harmless(others[-1].instance)} ({len(others) + 1} slots)" if others else ""


def _what_is_told(placement: SlotPlacement) -> tuple[object, ...]:
    if placement.node_id is not None:
        return (placement.instance,)
    explanation = placement.explanation
    workload = placement.instance.rpartition(".")[0]
    return (workload, placement.text, explanation.closest, explanation.smallest_change)


def _score_lines(explanation: Explanation, chosen: NodeId, names: NodeNames) -> Iterable[str]:
    scores = explanation.scores
    if chosen not in scores:
        return
    others = sorted((node_id for node_id in scores if node_id != chosen), key=lambda node_id: -scores[node_id])
    if not others:
        yield "    there is no other node" if explanation.nodes_considered == 1 else "    no other node would do"
        return
    here, there = (harmless(describe_score(explanation, each)) for each in (chosen, others[0]))
    if scores[others[0]] > scores[chosen]:
        yield f"    score {here}"
        yield f"    better by now {names.of(others[0])} with {there}"
    elif explanation.parts:
        yield f"    score {here}"
        yield f"    next best {names.of(others[0])} with {there}"
    else:
        yield f"    score {here}; next best {names.of(others[0])} with {there}"
