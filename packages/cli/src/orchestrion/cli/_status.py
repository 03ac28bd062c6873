"""`status`: how workloads are doing, and what happens next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from attrs import frozen
from orchestrion.control_plane import HttpControl
from orchestrion.orchestrator_core import Subject, WorkloadView, parse_subject
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    Event,
    EventSeverity,
    WorkloadInstance,
)

from ._node_names import NodeNames, names_at
from ._offline import reading
from ._output import Form, coloured, columns, is_for_people, note, show
from ._places import Place, namespaces_of, place_of
from ._reach import owner_or_lock
from ._running import run_async
from ._state_directory import StateDirectory
from ._subjects import chosen
from ._tables import harmless
from ._times import clock_time, since
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
    why,
)

EVENTS_IN_STATUS = 5


@frozen(kw_only=True)
class Report:
    """What `status` says of a workload.

    Attributes:
        api_version: The version of this form.
        kind: What this is: more than the object of the kind Workload, which `get` shows.
        namespace: Where the workload is.
        name: What it is called.
        workload: The workload.
        instances: Its instances, by slot and epoch.
        events: The latest ones, oldest first; only where one workload was asked for.
        next_action: What happens next, or what to do; may be empty.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    workload: WorkloadView
    instances: tuple[WorkloadInstance, ...] = ()
    events: tuple[Event, ...] = ()
    next_action: str = ""

    @classmethod
    def of(
        cls, view: WorkloadView, instances: Iterable[WorkloadInstance], events: Iterable[Event], next_action: str
    ) -> Report:
        """Return what is said of a workload."""
        metadata = view.definition.metadata
        return cls(
            api_version="orchestrion/v1",
            kind="WorkloadReport",
            namespace=metadata.namespace,
            name=metadata.name,
            workload=view,
            instances=tuple(instances),
            events=tuple(events),
            next_action=next_action,
        )


def run_status(name: str | None, where: Where, form: Form, *, follow: bool = False) -> int:
    """Print how workloads are doing, and with `follow` again as that changes."""
    place = place_of(where)
    namespace = namespaces_of(where, place)
    wanted = None if name is None else parse_subject(name)
    if follow and run_async(_followed, place, wanted, namespace, form):
        return 0
    reports, names, owned = run_async(_reports, place, wanted, namespace)
    now = datetime.now(UTC)
    show(
        reports,
        form,
        table=lambda items: tree(items, names, now, detailed=name is not None, wide=form == "wide"),
        name=lambda report: view_name(report.workload),
    )
    if is_for_people(form) and not owned and isinstance(place, StateDirectory):
        there = "this is how things were left" if reports else "there are no workloads"
        note(f"no orchestrator runs on {place.path}, and {there}; `orchestrion up FILE` starts one")
    elif is_for_people(form) and not reports:
        note("no workloads; `orchestrion up FILE` or `apply FILE` runs some")
    return 0


async def _followed(place: Place, wanted: Subject | None, namespace: str | None, form: Form) -> bool:
    """Follow how workloads are doing; return False, and do nothing, where nobody runs them."""
    from ._status_follow import Wish, follow_status

    place.must_exist()
    async with owner_or_lock(place, only_looks=True) as found:
        if not isinstance(found, HttpControl):
            note("no orchestrator runs here: nothing comes after this")
            return False
        await follow_status(found, place, Wish(subject=wanted, namespace=namespace, form=form))
    return True


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
                events = await reader.events(namespace=namespace, subject=subject, limit=EVENTS_IN_STATUS)
            reports.append(Report.of(view, own, events, next_action(view, own, now)))
        return reports, names, isinstance(reader, HttpControl)


def tree(
    reports: Sequence[Report],
    names: NodeNames,
    now: datetime,
    *,
    detailed: bool,
    wide: bool = False,
    titles: bool = True,
) -> Iterable[str]:
    """Return workloads as lines, with their instances below them, and what happens next.

    Args:
        reports: What there is to tell.
        names: Names the nodes.
        now: From when ages are counted.
        detailed: Whether containers are shown, and instances that have ended.
        wide: Whether less important columns are shown too.
        titles: Whether the columns have titles.
    """
    rows: list[tuple[str, ...]] = []
    if reports and titles:
        shown = ("NAME", "STATE", "READY", "NODE", "AGE", *(("GENERATION", "ON") if wide else ()), "WHAT")
        rows.append(tuple(coloured(title, "dim") for title in shown))
    for report in reports:
        view = report.workload
        phase = coloured(view.phase.value, phase_colour(view.phase))
        cause = why(view.reason, view.message)
        more = (str(view.generation), "") if wide else ()
        rows.append((view_name(view), phase, ready(view), "", since(view.started_at, now), *more, cause))
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
            yield from columns(event_rows(report.events))


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


def event_rows(events: Iterable[Event]) -> list[tuple[str, ...]]:
    """Return events as rows: when, about what, why, and what."""
    return [
        (
            coloured(clock_time(event.at), "dim"),
            harmless(full_name(event.namespace, event.subject.partition("/")[2])),
            coloured(harmless(event.reason), "yellow" if event.severity is EventSeverity.WARNING else "green"),
            harmless(event.message),
        )
        for event in events
    ]
