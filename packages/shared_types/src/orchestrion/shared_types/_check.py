"""What is wrong with workloads although each of their values is right: what their parts say of each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from typing import Final

from ._check_containers import container_findings
from ._check_ports import port_findings, shared_ports
from ._errors import Problem
from ._finding import Finding, Others, Path, bad_name, duplicates, path_text
from ._ids import is_name
from ._node import TaintEffect
from ._suggest import unknown
from ._workload import (
    MAX_GANG,
    DependencyCondition,
    MissPolicy,
    RestartCondition,
    UpdateStrategy,
    WorkloadDefinition,
    WorkloadKind,
)

_SHOWN_CYCLES = 10

ONLY_FOR: Final[Mapping[str, tuple[frozenset[WorkloadKind], str]]] = {
    "replicas": (
        frozenset({WorkloadKind.SERVICE}),
        "a batch workload has completions and parallelism, a daemon runs once on every node",
    ),
    "update": (
        frozenset({WorkloadKind.SERVICE, WorkloadKind.DAEMON}),
        "a batch workload is not updated while it runs: remove it and apply it again",
    ),
    "completions": (frozenset({WorkloadKind.BATCH}), "use replicas, or write kind: batch"),
    "parallelism": (frozenset({WorkloadKind.BATCH}), "use replicas, or write kind: batch"),
    "retries": (frozenset({WorkloadKind.BATCH}), "use restart, or write kind: batch"),
    "deadline": (frozenset({WorkloadKind.BATCH}), "write kind: batch, or leave it out"),
    "start_within": (frozenset({WorkloadKind.BATCH}), "write kind: batch, or leave it out"),
    "missed_start": (frozenset({WorkloadKind.BATCH}), "write kind: batch, or leave it out"),
    "gang": (
        frozenset({WorkloadKind.SERVICE, WorkloadKind.BATCH}),
        "it runs on each node by itself; leave it out",
    ),
}
"""Keys of a workload that have a meaning for some kinds only, and what to do instead."""


def check_workloads(
    workloads: Iterable[WorkloadDefinition], *, others: Iterable[WorkloadDefinition] = ()
) -> tuple[Problem, ...]:
    """Return what keeps `workloads` from being accepted together; empty where nothing does.

    Args:
        workloads: What is to be accepted at once.
        others: Workloads that exist already, which those may come after. One with the name of one of `workloads` is
            taken to be replaced by it.
    """
    return tuple(
        Problem(finding.message, path=path_text(finding.path))
        for finding in findings(tuple(workloads), others=tuple(others))
        if not finding.warning
    )


def findings(
    workloads: Collection[WorkloadDefinition], *, others: Collection[WorkloadDefinition] = ()
) -> Iterator[Finding]:
    """Yield all errors and warnings of `workloads`, namespace by namespace."""
    namespaces = dict.fromkeys(workload.metadata.namespace for workload in workloads)
    for namespace in namespaces:
        if not is_name(namespace):
            yield Finding(("namespace",), bad_name("namespace", namespace))
        mine = [workload for workload in workloads if workload.metadata.namespace == namespace]
        yield from findings_in(
            mine, {other.metadata.name: other for other in others if other.metadata.namespace == namespace}
        )


def findings_in(
    workloads: Collection[WorkloadDefinition], known: Others, *, volumes: Collection[str] = ()
) -> Iterator[Finding]:
    """Yield all errors and warnings of `workloads`, which are of one namespace.

    Args:
        workloads: What is to be accepted at once.
        known: All names that a workload may come after; None for one whose definition is not known.
        volumes: Names of further volumes that a mount may have been meant to name.
    """
    known = {**known, **{workload.metadata.name: workload for workload in workloads}}
    yield from duplicates(
        ((("workloads", workload.metadata.name), workload.metadata.name) for workload in workloads), "workload"
    )
    for workload in workloads:
        at: Path = ("workloads", workload.metadata.name)
        if not is_name(workload.metadata.name):
            yield Finding(at, bad_name("workload", workload.metadata.name))
        yield from _kind_findings(workload, at)
        yield from _canary_findings(workload, at)
        yield from _gang_findings(workload, at)
        yield from _idle_findings(workload, at)
        yield from _volume_findings(workload, at)
        yield from _after_findings(workload, at, known)
        yield from container_findings(workload, at, known, volumes)
        yield from port_findings(workload, at)
    yield from _cycles({workload.metadata.name for workload in workloads}, known)
    yield from shared_ports(workloads)


def not_for(key: str, kind: WorkloadKind) -> str | None:
    """Return why a workload of this kind can't have `key`, or None where it can."""
    kinds, remedy = ONLY_FOR.get(key, (frozenset(WorkloadKind), ""))
    return None if kind in kinds else f"{key} has no meaning for a {kind}; {remedy}"


def _kind_findings(workload: WorkloadDefinition, at: Path) -> Iterator[Finding]:
    changed = {
        "replicas": workload.replicas != 1,
        "update": workload.update != UpdateStrategy(),
        "completions": workload.completions != 1,
        "parallelism": workload.parallelism is not None,
        "retries": workload.retries != 0,
        "deadline": workload.deadline_seconds is not None,
        "start_within": workload.start_within_seconds is not None,
        "missed_start": workload.missed_start is not MissPolicy.LATE,
        "gang": workload.gang is not None,
    }
    for key, given in changed.items():
        refusal = not_for(key, workload.kind) if given else None
        if refusal is not None:
            yield Finding((*at, key), refusal)
    if workload.kind is WorkloadKind.BATCH and workload.restart.condition is RestartCondition.ALWAYS:
        yield Finding((*at, "restart"), "a batch workload that always restarts never ends; use on-failure or never")


def _canary_findings(workload: WorkloadDefinition, at: Path) -> Iterator[Finding]:
    canary = workload.update.canary
    if canary == 0 or workload.kind is WorkloadKind.BATCH:
        return
    at = (*at, "update", "canary")
    if workload.kind is WorkloadKind.DAEMON:
        yield Finding(
            at,
            "canary has no meaning for a daemon, which is on every node; rollout pause holds up its update",
        )
    elif canary > workload.replicas > 0:
        yield Finding(at, f"there never are {canary} instances to go first; replicas is {workload.replicas}")


def _gang_findings(workload: WorkloadDefinition, at: Path) -> Iterator[Finding]:
    gang = workload.gang
    if gang is None or workload.kind is WorkloadKind.DAEMON:
        return
    is_batch = workload.kind is WorkloadKind.BATCH
    key, wanted = ("completions", workload.completions) if is_batch else ("replicas", workload.replicas)
    if gang.minimum is not None and gang.minimum > wanted > 0:
        yield Finding((*at, "gang"), f"there never are {gang.minimum} instances to come up together; {key} is {wanted}")
    if gang.least_of(wanted) > MAX_GANG:
        yield Finding(
            (*at, "gang"),
            f"{wanted} instances are too many to come up together; at most {MAX_GANG} can, the others as there is "
            f"room: write gang: {MAX_GANG} or less",
        )
    if is_batch and workload.parallelism is not None and workload.parallelism < wanted:
        yield Finding(
            (*at, "parallelism"),
            f"a gang's completions may all run at once; raise it to {wanted}, or leave it out",
        )


def _idle_findings(workload: WorkloadDefinition, at: Path) -> Iterator[Finding]:
    """Yield warnings of what makes no difference."""
    is_batch = workload.kind is WorkloadKind.BATCH
    if is_batch and workload.missed_start is not MissPolicy.LATE and workload.start_within_seconds is None:
        yield Finding(
            (*at, "missed_start"), "it has no effect without start_within, which says when a start is missed", True
        )
    for place, toleration in enumerate(workload.placement.tolerations):
        if toleration.seconds is not None and toleration.effect not in (None, TaintEffect.NO_EXECUTE):
            yield Finding(
                (*at, "placement", "tolerations", place, "for"),
                f"it has no effect on a {toleration.effect} taint, which is tolerated for ever; only NoExecute ends "
                "what runs",
                True,
            )


def _volume_findings(workload: WorkloadDefinition, at: Path) -> Iterator[Finding]:
    at = (*at, "volumes")
    yield from duplicates((((*at, volume.name), volume.name) for volume in workload.volumes), "volume")
    for volume in workload.volumes:
        if not is_name(volume.name):
            yield Finding((*at, volume.name), bad_name("volume", volume.name))


def _after_findings(workload: WorkloadDefinition, at: Path, known: Others) -> Iterator[Finding]:
    at = (*at, "after")
    yield from duplicates((((*at, one.workload), one.workload) for one in workload.after), "workload")
    for dependency in workload.after:
        here = (*at, dependency.workload)
        if dependency.workload not in known:
            yield Finding(here, unknown("workload", dependency.workload, known))
            continue
        other = known[dependency.workload]
        if other is None:
            continue
        if dependency.condition is DependencyCondition.SUCCEEDED and other.kind is not WorkloadKind.BATCH:
            yield Finding(
                here,
                f"{dependency.workload!r} is a {other.kind}, which never succeeds; wait for healthy or started",
            )
        if dependency.condition is DependencyCondition.HEALTHY and other.kind is WorkloadKind.BATCH:
            yield Finding(
                here,
                f"{dependency.workload!r} is a batch workload, which is never healthy as a whole; "
                "wait for succeeded or started",
            )


def _cycles(given: Set[str], known: Others) -> Iterator[Finding]:
    """Yield each cycle of `after` once, by taking away what depends on nothing until only cycles feed the rest."""
    waits = _waits_of(given, known)
    for _ in range(_SHOWN_CYCLES):
        _peel(waits)
        if not waits:
            return
        walk: dict[str, None] = {}
        name = next(iter(waits))
        while name not in walk:
            walk[name] = None
            name = next(other for other in waits[name] if other in waits)
        names = list(walk)
        cycle = names[names.index(name) :]
        # What was accepted before had no cycle: some part of this one is given now, and the finding is placed there.
        first = next((place for place, member in enumerate(cycle) if member in given), 0)
        cycle = [*cycle[first:], *cycle[:first]]
        path: Path = ("workloads", cycle[0], "after", next(iter(cycle[1:]), cycle[0]))
        yield Finding(
            path, f"these wait for each other for ever: {' -> '.join([*cycle, cycle[0]])}; leave out one of them"
        )
        for member in cycle:
            del waits[member]


def _waits_of(given: Set[str], known: Others) -> dict[str, list[str]]:
    """Return what the given workloads wait for, directly or not: what was accepted before has no cycle of its own."""
    waits: dict[str, list[str]] = {}
    to_visit = [name for name in known if name in given]
    while to_visit:
        name = to_visit.pop()
        one = known.get(name)
        if one is not None and name not in waits:
            waits[name] = [after.workload for after in one.after]
            to_visit.extend(waits[name])
    return {name: waits[name] for name in known if name in waits}


def _peel(waits: dict[str, list[str]]) -> None:
    open_ends = {name: len({other for other in others if other in waits}) for name, others in waits.items()}
    dependants: dict[str, list[str]] = {}
    for name, others in waits.items():
        for other in set(others):
            dependants.setdefault(other, []).append(name)
    ready = [name for name, count in open_ends.items() if count == 0]
    while ready:
        name = ready.pop()
        del waits[name]
        for dependant in dependants.get(name, ()):
            open_ends[dependant] -= 1
            if open_ends[dependant] == 0:
                ready.append(dependant)
