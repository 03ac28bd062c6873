"""What an apply does to a workload: pure comparison, and the checks before it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import define, evolve
from orchestrion.orchestrator_core._control.bringing_back import generation_kept, replaces, staying_note
from orchestrion.orchestrator_core._control.gate import ProposedChange
from orchestrion.orchestrator_core._control.views import ChangeAction, FieldDifference, WorkloadChange
from orchestrion.orchestrator_core._state.events import EventRecorder
from orchestrion.orchestrator_core._state.facts import Canary, canary_of, ended_as, is_scaled, target_generation
from orchestrion.orchestrator_core._state.records import (
    CAUSE_ANNOTATION,
    SINCE_ANNOTATION,
    Outcome,
    WorkloadControl,
    WorkloadName,
    WorkloadSpec,
    control_key,
    progress_key,
    spec_key,
    template_key,
    template_of,
)
from orchestrion.orchestrator_core._state.world import WorkloadRecord, World
from orchestrion.shared_types import (
    ConfigInvalid,
    Conflict,
    InternalError,
    Problem,
    UidFactory,
    WorkloadDefinition,
    check_workloads,
    unstructure,
)
from orchestrion.store_interface import Compare, Operation, Revision

MAX_APPLIED: Final = 5_000
"""Workloads that are applied at once, and are all seen or none."""

Starts = bool | Collection[WorkloadName]
"""Whether what rests starts by being applied: all, none, or those of these names; see `admit`."""


@define(eq=False)
class Admission:
    """What an apply does to one workload.

    Attributes:
        change: For the author to read.
        spec: The author's part as it is to be; None where it stays.
        control: The operator's part as it is to be; None where it stays.
        record: What is there now, or None.
        idle: Whether it is left as it is, stopped or at its end.
        cause: Why there is a new generation although its author has changed nothing; "" otherwise.
    """

    change: WorkloadChange
    spec: WorkloadSpec | None
    control: WorkloadControl | None
    record: WorkloadRecord | None
    idle: bool = False
    cause: str = ""


def name_of(definition: WorkloadDefinition) -> WorkloadName:
    """Return the name of a definition's workload."""
    return WorkloadName(definition.metadata.namespace, definition.metadata.name)


def admit(
    definitions: Sequence[WorkloadDefinition],
    world: World,
    now: datetime,
    new_uid: UidFactory,
    *,
    rerun: bool = False,
    starts: Starts = True,
    promoted: bool = False,
) -> list[Admission]:
    """Return what an apply of these definitions does.

    Args:
        definitions: What the author wants.
        world: What is there.
        now: The time that changes are noted with.
        new_uid: Makes the ids of new workloads.
        rerun: Whether work that has ended runs again although nothing of its definition has changed.
        starts: Whether what was stopped runs again, and what was rolled back is tried again although nothing of what
            its instances run from has changed; or the names of those alone for which that, and `rerun`, holds.
        promoted: Whether the updates that it leads to go on beyond their canaries.

    Raises:
        ConfigInvalid: They can't be accepted together, or are more than `MAX_APPLIED`.
        Conflict: A workload of that name is being removed.
    """
    _check_count(definitions)
    _check(definitions, world)
    admissions = list[Admission]()
    for definition in definitions:
        name = name_of(definition)
        may = starts if isinstance(starts, bool) else name in starts
        record = world.workloads.get(name)
        admissions.append(
            _admit_one(definition, record, now, new_uid, rerun=rerun and may, starts=may, promoted=promoted)
        )
    return admissions


def _check_count(definitions: Sequence[WorkloadDefinition]) -> None:
    """Make sure that workloads are not more than one apply takes.

    Raises:
        ConfigInvalid: They are.
    """
    if len(definitions) > MAX_APPLIED:
        problem = Problem(f"{len(definitions):,} workloads are more than {MAX_APPLIED:,}, which one apply takes")
        raise ConfigInvalid((problem,), remedy="Split the manifest.")


def check_new(admissions: Iterable[Admission]) -> None:
    """Make sure that an apply makes workloads, and changes none.

    Raises:
        Conflict: There is one of a name already.
    """
    for admission in admissions:
        change = admission.change
        if change.action is not ChangeAction.CREATE:
            msg = f"there is a workload {change.name!r} in namespace {change.namespace!r} already"
            raise Conflict(msg, remedy="Change that one, or choose another name.")


def _check(definitions: Sequence[WorkloadDefinition], world: World) -> None:
    # What comes after nothing has to do with nobody else, however many there are.
    waits = any(definition.after for definition in definitions)
    known = world.workloads.values() if waits else ()
    others = [record.spec.definition for record in known if record.spec is not None]
    problems = check_workloads(definitions, others=others)
    if problems:
        raise ConfigInvalid(problems)


def _admit_one(
    definition: WorkloadDefinition,
    record: WorkloadRecord | None,
    now: datetime,
    new_uid: UidFactory,
    *,
    rerun: bool,
    starts: bool,
    promoted: bool,
) -> Admission:
    before = record.spec if record is not None else None
    name = name_of(definition)
    if record is not None and record.control.removed and before is not None:
        msg = f"workload {name.name!r} is being removed"
        raise Conflict(msg, remedy=f"Apply again once it is gone: orchestrion status {name.name}")
    if before is None or record is None:
        uid = new_uid()
        metadata = evolve(definition.metadata, uid=uid, generation=1, revision=0, created_at=now, updated_at=now)
        spec = WorkloadSpec(definition=evolve(definition, metadata=metadata), template_generation=1)
        change = WorkloadChange(
            namespace=name.namespace, name=name.name, action=ChangeAction.CREATE, generation=1, differences=()
        )
        return Admission(change, spec, None, record)
    return _compare(definition, before, record, now, rerun=rerun, starts=starts, promoted=promoted)


def starts_again(definition: WorkloadDefinition, record: WorkloadRecord, *, rerun: bool = False) -> bool:
    """Whether applying a definition would let run again what rests for another reason than what it says.

    That is what was stopped; what was rolled back, unless the definition would have its instances run something else;
    and, with `rerun`, work that has ended.

    Args:
        definition: What is to be applied.
        record: The workload as it is.
        rerun: Whether work that has ended is to run once more.
    """
    before = record.spec
    if before is None:
        return False
    if record.control.stopped:
        return True
    if ended_as(record) is not None:
        return rerun
    if target_generation(record) == before.template_generation:
        return False
    return template_of(_kept(definition, before.definition)) == template_of(before.definition)


def _kept(definition: WorkloadDefinition, old: WorkloadDefinition) -> WorkloadDefinition:
    """Return a definition with what the old one keeps of its metadata."""
    metadata = evolve(
        definition.metadata,
        uid=old.metadata.uid,
        generation=old.metadata.generation,
        revision=0,
        created_at=old.metadata.created_at,
        updated_at=old.metadata.updated_at,
    )
    return evolve(definition, metadata=metadata)


def _compare(
    definition: WorkloadDefinition,
    before: WorkloadSpec,
    record: WorkloadRecord,
    now: datetime,
    *,
    rerun: bool,
    starts: bool,
    promoted: bool,
) -> Admission:
    old = before.definition
    new = _kept(definition, old)
    differences = tuple(_differences(unstructure(old), unstructure(new), ""))
    control = record.control
    differences = tuple(_with_note(difference, record, new) for difference in differences)
    changed = new != old
    retemplated = template_of(new) != template_of(old)
    outcome = ended_as(record)
    again, note = False, ""
    if outcome is not None:
        # What has ended needs no place any longer, and what it is called by is no reason to do the work again.
        named = evolve(new, metadata=old.metadata)
        retemplated = template_of(named) != template_of(old)
        again = rerun or retemplated or (named != old and outcome is Outcome.FAILED)
        if again:
            differences = (*differences, _noting(f"{_ENDED[outcome]}, and runs again"))
        else:
            note = f"{_ENDED[outcome]}, and is left as it ended"
    elif target_generation(record) != before.template_generation and (starts or retemplated):
        again = True
        if not retemplated:
            differences = (*differences, _noting("it was rolled back, and is tried again"))
    elif target_generation(record) != before.template_generation:
        note = "it was rolled back, and stays so"
    next_control = evolve(control, stopped=False) if control.stopped and starts else None
    idle = (control.stopped and not starts) or (outcome is not None and not again)
    if next_control is not None and (outcome is None or again):
        differences = (*differences, _noting("it was stopped, and starts again"))
    generation = old.metadata.generation + (1 if changed or again else 0)
    kept = generation_kept(new, record) if (retemplated or again) and outcome is None else 0
    target = kept or (generation if retemplated or again else before.template_generation)
    left = canary_of(record)
    if kept and control.promoted == kept and (left is None or left.overtaken != kept):
        # Each update has a canary of its own, also one that leads back to what was promoted when it was new; but what
        # stayed as it was promoted goes on from where it is.
        next_control = evolve(next_control or control, promoted=0)
    updates = (retemplated or again) and outcome is None
    canary = _canary_after(new, record, target, next_control) if updates else None
    if promoted and canary is not None:
        next_control, canary = evolve(next_control or control, promoted=target), None
    change = WorkloadChange(
        namespace=record.name.namespace,
        name=record.name.name,
        action=ChangeAction.UPDATE if differences else ChangeAction.UNCHANGED,
        generation=generation,
        differences=differences,
        restarts=(retemplated or again) and (not kept or replaces(record, kept)),
        note=note,
    )
    if control.paused and retemplated and outcome is None and change.restarts:
        note = f"updates are paused; `orchestrion rollout resume {record.name.name}` lets it go on"
        change = evolve(change, note=note, restarts=False)
    elif canary is not None and canary.count:
        first = "1 instance is" if canary.count == 1 else f"{canary.count} instances are"
        note = f"{first} replaced first; `orchestrion rollout promote {record.name.name}` lets the update go on"
        change = evolve(change, note=note)
    if kept:
        change = evolve(change, note="; ".join(filter(None, (staying_note(record, kept), change.note))))
    if control.stopped and not starts and outcome is None:
        change = evolve(change, note="it is stopped, and stays so", restarts=False)
    if not changed and not again:
        return Admission(change, None, next_control, record, idle)
    metadata = evolve(new.metadata, generation=generation, updated_at=now)
    spec = evolve(before, definition=evolve(new, metadata=metadata), template_generation=target)
    if control.replicas is not None and control.scaled_from != new.replicas:
        next_control = evolve(next_control or control, replicas=None, scaled_from=0)
    return Admission(change, spec, next_control, record, idle)


def _canary_after(
    new: WorkloadDefinition, record: WorkloadRecord, generation: int, control: WorkloadControl | None
) -> Canary | None:
    """Return where an update to a definition would wait until it is promoted; None where it would not."""
    spec = WorkloadSpec(definition=new, template_generation=generation)
    after = WorkloadRecord(
        record.name,
        spec=spec,
        control=evolve(control or record.control, stopped=False),
        progress=record.progress,
        templates={**record.templates, generation: templated(spec, record)},
    )
    return canary_of(after)


_NOTES: Final = (CAUSE_ANNOTATION, SINCE_ANNOTATION)

_ENDED: Final = {Outcome.SUCCEEDED: "it has succeeded", Outcome.FAILED: "it failed"}


def _noting(text: str) -> FieldDifference:
    return FieldDifference(path="", before="", after="", note=text)


def _with_note(difference: FieldDifference, record: WorkloadRecord, new: WorkloadDefinition) -> FieldDifference:
    if difference.path == "replicas" and is_scaled(record) and record.control.replicas is not None:
        return evolve(difference, note=f"replaces what scale had set ({record.control.replicas})")
    return difference


def scale_note(record: WorkloadRecord) -> str:
    """Return what is to be said about a workload that `scale` has changed, or ""."""
    if record.spec is None or not is_scaled(record):
        return ""
    return f"scale keeps it at {record.control.replicas} instead of {record.spec.definition.replicas}"


def _differences(before: Any, after: Any, path: str) -> Iterator[FieldDifference]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys(), key=str):
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(before.get(key, _MISSING), after.get(key, _MISSING), inner)
    elif isinstance(before, list) and isinstance(after, list) and _are_objects(before) and _are_objects(after):
        for place in range(max(len(before), len(after))):
            old = before[place] if place < len(before) else _MISSING
            new = after[place] if place < len(after) else _MISSING
            yield from _differences(old, new, f"{path}[{place}]")
    else:
        yield FieldDifference(path=path, before=_as_text(before), after=_as_text(after))


_MISSING = object()


def _are_objects(items: Iterable[object]) -> bool:
    return all(isinstance(item, dict) for item in items)


def _as_text(value: object) -> str:
    return "" if value is _MISSING else json.dumps(value, ensure_ascii=False, sort_keys=True)


def templated(spec: WorkloadSpec, record: WorkloadRecord | None, cause: str = "") -> WorkloadDefinition:
    """Return what instances of a spec's template generation run from, with what is noted of that generation.

    Args:
        spec: The author's part as it is to be.
        record: What is there before, or None.
        cause: Why there is that generation, where it is a new one; "" is because of its author.
    """
    generation, own = spec.template_generation, spec.definition.metadata
    known = record.templates.get(generation) if record is not None else None
    notes = {key: value for key, value in own.annotations.items() if key not in _NOTES}
    if known is not None:
        notes.update((key, value) for key, value in known.metadata.annotations.items() if key in _NOTES)
    if _is_brought_back(spec, record):
        notes[SINCE_ANNOTATION] = str(own.generation)
    if cause:
        notes[CAUSE_ANNOTATION] = cause
    return evolve(spec.definition, metadata=evolve(own, generation=generation, annotations=notes))


def _is_brought_back(spec: WorkloadSpec, record: WorkloadRecord | None) -> bool:
    """Whether a spec goes on with a template generation of before the current one."""
    if record is None or record.spec is None:
        return False
    generation = spec.template_generation
    return generation != record.spec.template_generation and generation < spec.definition.metadata.generation


def writes_of(admissions: Sequence[Admission], world: World) -> tuple[list[Compare], list[Operation]]:
    """Return what writes an apply down, if nobody has changed the workloads since."""
    compares = list[Compare]()
    operations = list[Operation]()
    for admission in admissions:
        change = admission.change
        name = WorkloadName(change.namespace, change.name)
        if admission.spec is None and admission.control is None:
            continue
        revision = admission.record.spec_revision if admission.record is not None else Revision(0)
        compares.append(Compare(spec_key(name), revision))
        if admission.spec is not None:
            template = templated(admission.spec, admission.record, admission.cause)
            operations.append(world.put(spec_key(name), admission.spec))
            operations.append(world.put(template_key(name, admission.spec.template_generation), template))
            if admission.record is not None and _is_brought_back(admission.spec, admission.record):
                # What is to go on has to be what was rolled out, or at least has not failed, until this is on record.
                compares.append(Compare(progress_key(name), admission.record.progress_revision))
        # Also where only the definition is written: what is removed meanwhile does not come back by it.
        held = admission.record.control_revision if admission.record is not None else Revision(0)
        compares.append(Compare(control_key(name), held))
        if admission.control is not None:
            operations.append(world.put(control_key(name), admission.control))
    return compares, operations


def proposed(admission: Admission) -> ProposedChange:
    """Return a change as others are asked about it."""
    record = admission.record
    before = record.spec if record is not None else None
    spec = admission.spec if admission.spec is not None else before
    if spec is None:
        msg = f"an admission of {admission.change.name!r} with no definition"
        raise InternalError(msg)
    control = admission.control if admission.control is not None else record.control if record is not None else None
    scaled = control.replicas if control is not None else None
    return ProposedChange(
        before=before.definition if before is not None else None,
        revision=record.revision if record is not None else Revision(0),
        after=spec.definition,
        replicas=spec.definition.replicas if scaled is None else scaled,
        generation=admission.change.generation,
        idle=admission.idle,
    )


def noted(admission: Admission, waits: str) -> WorkloadChange:
    """Return a change with all that is to be said about it; `waits` says what it would wait for, or is ""."""
    scaled = scale_note(admission.record) if admission.record is not None and admission.control is None else ""
    return evolve(admission.change, note="; ".join(filter(None, (admission.change.note, scaled, waits))))


def tell_applied(recorder: EventRecorder, admissions: Sequence[Admission]) -> None:
    """Record an event for each workload that was changed."""
    for admission in admissions:
        change = admission.change
        if change.action is ChangeAction.UNCHANGED:
            continue
        verb = "Created" if change.action is ChangeAction.CREATE else "Updated"
        paths = ", ".join(difference.path for difference in change.differences[:5] if difference.path)
        why = paths or admission.cause
        text = f"generation {change.generation}" + (f": {why}" if why else "")
        recorder.record(change.namespace, f"workload/{change.name}", verb, text)
