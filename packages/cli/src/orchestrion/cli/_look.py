"""`status`, `events` and `explain`: looking, and changing nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import groupby

from attrs import frozen
from orchestrion.control_plane import HttpControl
from orchestrion.orchestrator_core import SlotPlacement, Subject, WorkloadView, parse_subject
from orchestrion.scheduler_interface import Explanation, describe_change, describe_score
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    ConfigInvalid,
    Event,
    EventSeverity,
    NodeId,
    Problem,
    WorkloadInstance,
    WorkloadNotFound,
)

from ._acting import reach_or_observe
from ._node_names import NodeNames, names_at
from ._offline import reading, store_reader
from ._output import Form, coloured, columns, is_for_people, json_line, note, show
from ._places import Place, namespace_of, namespaces_of, place_of
from ._reach import owner_or_lock
from ._reader import Reader
from ._running import run_async
from ._state_directory import StateDirectory
from ._subjects import chosen, event_subject
from ._times import clock_time, moment, since
from ._where import Where
from ._words import (
    TERMINAL,
    by_workload,
    container_words,
    full_name,
    instance_words,
    next_action,
    phase_colour,
    ready,
    restart_words,
    state_colour,
    state_words,
    view_name,
)

_EVENTS_IN_STATUS = 5


@frozen(kw_only=True)
class Report:
    """What `status` says of a workload.

    Attributes:
        workload: The workload.
        instances: Its instances, by slot and epoch.
        events: The latest ones, oldest first; only where one workload was asked for.
        next_action: What happens next, or what to do; may be empty.
    """

    workload: WorkloadView
    instances: tuple[WorkloadInstance, ...] = ()
    events: tuple[Event, ...] = ()
    next_action: str = ""


def run_status(name: str | None, where: Where, form: Form) -> int:
    """Print how workloads are doing."""
    place = place_of(where)
    namespace = namespaces_of(where, place)
    reports, names, owned = run_async(_reports, place, None if name is None else parse_subject(name), namespace)
    now = datetime.now(UTC)
    show(
        reports,
        form,
        table=lambda items: _tree(items, names, now, detailed=name is not None, wide=form == "wide"),
        name=lambda report: view_name(report.workload),
    )
    if is_for_people(form) and not owned and isinstance(place, StateDirectory):
        there = "this is how things were left" if reports else "there are no workloads"
        note(f"no orchestrator runs on {place.path}, and {there}; `orchestrion up FILE` starts one")
    elif is_for_people(form) and not reports:
        note("no workloads; `orchestrion up FILE` or `apply FILE` runs some")
    return 0


async def _reports(place: Place, wanted: Subject | None, namespace: str | None) -> tuple[list[Report], NodeNames, bool]:
    async with reading(place) as reader:
        names = await names_at(reader)
        if wanted is None:
            views = await reader.list_workloads(namespace=namespace)
            instances = await reader.list_instances(namespace=namespace)
        else:
            namespace = namespace or DEFAULT_NAMESPACE
            views = [await reader.get_workload(wanted.workload, namespace=namespace)]
            instances = chosen(wanted, await reader.list_instances(namespace=namespace, workload=wanted.workload))
        now = datetime.now(UTC)
        reports = []
        for view, own in by_workload(views, instances):
            events: list[Event] = []
            if wanted is not None:
                subject = f"workload/{wanted.workload}" if wanted.index is None else f"instance/{own[0].name}"
                events = await reader.events(namespace=namespace, subject=subject, limit=_EVENTS_IN_STATUS)
            reports.append(
                Report(
                    workload=view,
                    instances=tuple(own),
                    events=tuple(events),
                    next_action=next_action(view, own, now),
                )
            )
        return reports, names, isinstance(reader, HttpControl)


def _tree(
    reports: Sequence[Report], names: NodeNames, now: datetime, *, detailed: bool, wide: bool = False
) -> Iterable[str]:
    rows: list[tuple[str, ...]] = []
    if reports:
        titles = ("NAME", "STATE", "READY", "NODE", "AGE", *(("GENERATION", "ON") if wide else ()), "WHAT")
        rows.append(tuple(coloured(title, "dim") for title in titles))
    for report in reports:
        view = report.workload
        phase = coloured(view.phase.value, phase_colour(view.phase))
        why = ": ".join(text for text in (view.reason, view.message) if text)
        more = (str(view.generation), "") if wide else ()
        rows.append((view_name(view), phase, ready(view), "", since(view.started_at, now), *more, why))
        for instance in report.instances:
            if detailed or instance.status.state not in TERMINAL:
                rows.extend(_instance_rows(instance, names, now, detailed=detailed, wide=wide))
        if report.next_action:
            rows.append((f"{coloured('  next:', 'dim')} {report.next_action}",))
    yield from columns(rows)
    for report in reports:
        if report.events:
            yield ""
            yield coloured("latest events:", "dim")
            yield from columns(_event_rows(report.events))


def _instance_rows(
    instance: WorkloadInstance, names: NodeNames, now: datetime, *, detailed: bool, wide: bool
) -> Iterable[tuple[str, ...]]:
    status = instance.status
    state = coloured(state_words(instance), state_colour(instance))
    age = since(status.started_at or instance.binding.bound_at, now)
    more = ("", str(instance.binding.node_id)) if wide else ()
    words = instance_words(instance, now) or restart_words(instance, now)
    yield (f"  {instance.name}", state, "", names.of(instance.binding.node_id), age, *more, words)
    if detailed:
        no_more = tuple("" for _ in more)
        for container in status.containers:
            attempt = f"attempt {container.attempt}"
            yield (f"    {container.name}", attempt, "", "", "", *no_more, container_words(container, now))


def run_events(
    subject: str | None,
    where: Where,
    since_text: str | None,
    limit: int,
    form: Form,
    *,
    follow: bool,
) -> int:
    """Print what has happened."""
    if limit < 1:
        raise ConfigInvalid((Problem(f"{limit} is no number of events: 1 or more are possible"),))
    start = None if since_text is None else moment(since_text, datetime.now(UTC))
    place = place_of(where)
    run_async(_events, place, subject, namespaces_of(where, place), start, limit, form, follow)
    return 0


async def _events(
    place: Place,
    name: str | None,
    namespace: str | None,
    start: datetime | None,
    limit: int,
    form: Form,
    follow: bool,
) -> None:
    place.must_exist()
    async with owner_or_lock(place) as found:
        if not isinstance(found, HttpControl):
            async with store_reader(found) as reader:
                await _print_kept_events(reader, name, namespace, start, limit, form)
            if follow:
                note("no orchestrator runs here: nothing comes after this")
        elif not follow:
            await _print_kept_events(found, name, namespace, start, limit, form)
        else:
            from ._following import followed_events

            subject, namespace = (None, namespace) if name is None else await event_subject(name, namespace, found)
            if name is not None and not await _is_known(name, namespace, found):
                note(f"there is no workload {parse_subject(name).workload!r} yet")
            # Of a server of the network nothing tells whether it has only ended for a moment.
            ended = place.has_ended if isinstance(place, StateDirectory) else lambda: False
            following = followed_events(found, subject, namespace, start, limit, ended=ended)
            async with aclosing(following) as events:
                async for event in events:
                    _print_event(event, form)
            note("the orchestrator has ended: nothing comes after this")


async def _print_kept_events(
    reader: Reader, name: str | None, namespace: str | None, start: datetime | None, limit: int, form: Form
) -> None:
    subject, namespace = (None, namespace) if name is None else await event_subject(name, namespace, reader)
    events = await reader.events(namespace=namespace, subject=subject, since=start, limit=limit)
    if not events and name is not None and not await _is_known(name, namespace, reader):
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
    show(events, form, table=lambda items: columns(_event_rows(items)), name=lambda event: event.uid)


def _print_event(event: Event, form: Form) -> None:
    if form in ("json", "jsonl", "yaml"):
        print(json_line(event), flush=True)
    elif form == "name":
        print(event.uid, flush=True)
    else:
        print("  ".join(_event_rows([event])[0]), flush=True)


def _event_rows(events: Iterable[Event]) -> list[tuple[str, ...]]:
    return [
        (
            coloured(clock_time(event.at), "dim"),
            full_name(event.namespace, event.subject.partition("/")[2]),
            coloured(event.reason, "yellow" if event.severity is EventSeverity.WARNING else "green"),
            event.message,
        )
        for event in events
    ]


def run_explain(name: str, where: Where, form: Form) -> int:
    """Print why a workload's slots are where they are."""
    place = place_of(where)
    placements, names = run_async(_explain, place, parse_subject(name), namespace_of(where, place))
    show(
        placements,
        form,
        table=lambda items: placement_lines(items, names),
        name=lambda placement: placement.instance,
    )
    if not placements and is_for_people(form):
        note(f"{name} has no slots to place now")
    return 0


async def _explain(place: Place, wanted: Subject, namespace: str) -> tuple[list[SlotPlacement], NodeNames]:
    place.must_exist()
    async with reach_or_observe(place) as control:
        placements = await control.explain(wanted.workload, namespace=namespace)
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
        text = names.within(placement.text)
        if placement.node_id is not None:
            yield f"{placement.instance}: {coloured('on', 'green')} {names.of(placement.node_id)}: {text}"
            yield from _score_lines(placement.explanation, placement.node_id, names)
            continue
        to = f" to {others[-1].instance} ({len(others) + 1} slots)" if others else ""
        yield f"{placement.instance}{to}: {coloured('nowhere', 'red')}: {text}"
        if placement.explanation.closest:
            yield f"    closest: {', '.join(names.of(node_id) for node_id in placement.explanation.closest)}"
        change = names.within(describe_change(placement.explanation.smallest_change))
        if change:
            yield f"    it would fit: {change}"


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
        yield "    no other node would do"
        return
    here, there = describe_score(explanation, chosen), describe_score(explanation, others[0])
    if scores[others[0]] > scores[chosen]:
        yield f"    score {here}"
        yield f"    better by now {names.of(others[0])} with {there}"
    elif explanation.parts:
        yield f"    score {here}"
        yield f"    next best {names.of(others[0])} with {there}"
    else:
        yield f"    score {here}; next best {names.of(others[0])} with {there}"
