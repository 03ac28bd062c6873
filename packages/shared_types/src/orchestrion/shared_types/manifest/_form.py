"""The form of workloads and of the manifest, from which loader, writer, schema and reference are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from orchestrion.shared_types._check import not_for
from orchestrion.shared_types._finding import Path
from orchestrion.shared_types._ids import DEFAULT_NAMESPACE
from orchestrion.shared_types._metadata import Metadata
from orchestrion.shared_types._priority import (
    DEFAULT_PRIORITY_CLASS,
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    PriorityClass,
    priority_class_of,
)
from orchestrion.shared_types._workload import (
    MAX_GANG,
    MAX_SLOTS,
    Dependency,
    DependencyCondition,
    Disruption,
    Gang,
    MissPolicy,
    RestartCondition,
    RestartPolicy,
    Retention,
    UpdateStrategy,
    WorkloadDefinition,
    WorkloadKind,
)

from ._container_form import CONTAINER
from ._nodes import Mapping as MappingNode
from ._nodes import Node, Scalar
from ._placement_form import PLACEMENT
from ._port_form import VOLUMES
from ._scalars import ClassName, CountOrAll, CountOrShare, Flag, Nothing, Real, Text, Whole, Word
from ._shape import UNSET, Reader
from ._shapes import Field, Forms, ListOf, Mapped, Record, Table
from ._terms import (
    COUNT,
    DURATION,
    LABELS,
    NAME,
    POSITIVE,
    POSITIVE_COUNT,
    is_but,
)

_RESTART = Record(
    "restart",
    [
        Field(
            "condition",
            Word(RestartCondition),
            "Which exits are followed by a restart in place: without it `always`, and `never` for batch.",
        ),
        Field("max_restarts", Whole(0, MAX_SLOTS), "After so many in a row the instance fails; no limit without it."),
        Field("initial_delay", DURATION, "The wait before the first restart.", "initial_delay_seconds"),
        Field("factor", Real(1, 100), "How the wait grows."),
        Field("max_delay", DURATION, "The longest wait.", "max_delay_seconds"),
        Field("jitter", Real(0, 1), "The share of the wait that is random."),
        Field("reset_after", DURATION, "A run of this length ends the row.", "reset_after_seconds"),
    ],
    RestartPolicy,
    kind=RestartPolicy,
    about="Restarts in place. A word alone is the condition.",
    example="restart: {condition: on-failure, max_restarts: 5, initial_delay: 2s}\n",
)
RESTART = Forms(
    Mapped(
        Word(RestartCondition), lambda condition: RestartPolicy(condition=condition), lambda policy: policy.condition
    ),
    _RESTART,
    choose=lambda policy: 0 if policy.condition and is_but(policy, RestartPolicy, condition="condition") else 1,
)
UPDATE = Record(
    "update",
    [
        Field("max_surge", COUNT, "Instances beyond `replicas` during an update."),
        Field("max_unavailable", COUNT, "Instances below `replicas` during an update; not both 0."),
        Field(
            "min_healthy", DURATION, "A new instance counts after it was healthy for so long.", "min_healthy_seconds"
        ),
        Field(
            "progress_deadline",
            POSITIVE,
            "An update that makes no progress for so long has failed.",
            "progress_deadline_seconds",
        ),
        Field("rollback", Flag(), "Whether an update that fails is undone."),
        Field(
            "canary",
            COUNT,
            "Instances of a service that are replaced first, at most `replicas`; the others follow after "
            "`orchestrion rollout promote`. 0 is no such stop.",
        ),
    ],
    UpdateStrategy,
    kind=UpdateStrategy,
    about="How a changed template replaces the one before.",
    example="update: {max_surge: 1, max_unavailable: 0, min_healthy: 2s, rollback: true, canary: 1}\n",
)


def _disruption(max_unavailable: int | str) -> Disruption:
    if isinstance(max_unavailable, int):
        return Disruption(max_unavailable=max_unavailable)
    return Disruption(max_unavailable_percent=int(max_unavailable.removesuffix("%")))


def _split_disruption(budget: Disruption) -> Mapping[str, Any]:
    number, percent = budget.max_unavailable, budget.max_unavailable_percent
    return {"max_unavailable": f"{percent}%" if number is None else number}


DISRUPTION = Record(
    "disruption",
    [
        Field(
            "max_unavailable",
            CountOrShare(MAX_SLOTS),
            "Instances that may be missing at once: a number, or a percentage of those wanted, rounded down.",
            required=True,
        )
    ],
    _disruption,
    kind=Disruption,
    split=_split_disruption,
    about="How many instances may be missing because a node is drained or a higher priority needs room.",
    example="disruption: {max_unavailable: 25%}\n",
)


GANG = Mapped(
    CountOrAll(1, MAX_GANG),
    lambda written: Gang(minimum=None if written == CountOrAll.ALL else written),
    lambda gang: CountOrAll.ALL if gang.minimum is None else gang.minimum,
)
RETENTION = Record(
    "retention",
    [
        Field("terminal_instances", COUNT, "Ended instances that are kept."),
        Field("attempts", COUNT, "Ended attempts of a running container whose logs are kept."),
    ],
    Retention,
    kind=Retention,
    about="How much history is kept.",
    example="retention: {terminal_instances: 100}\n",
)
_CONDITION = Forms(Nothing(), Word(DependencyCondition), choose=lambda condition: 0 if condition is None else 1)
AFTER = Forms(
    Mapped(NAME, lambda name: (Dependency(workload=name),)),
    Mapped(
        ListOf(NAME),
        lambda names: tuple(Dependency(workload=name) for name in names),
        lambda after: [one.workload for one in after],
    ),
    Mapped(
        Table(NAME, _CONDITION),
        lambda after: tuple(Dependency(workload=name, condition=condition) for name, condition in after.items()),
        lambda after: {one.workload: one.condition for one in after},
    ),
    choose=lambda after: 1 if all(one.condition is None for one in after) else 2,
)


_OF_CONTAINERS = frozenset(field.key for field in CONTAINER.fields) - {"name"}


class _WorkloadRecord(Record):
    """A workload, some of whose keys have a meaning for some kinds only."""

    def read_other(
        self, key: str, place: Scalar, item: Node, path: Path, reader: Reader, values: dict[str, Any]
    ) -> bool:
        """See `Record`."""
        if key not in _OF_CONTAINERS:
            return super().read_other(key, place, item, path, reader, values)
        reader.fail(place, (*path, key), f"{key} belongs in a container: write it there, beside its command or image")
        return False

    def check(self, node: MappingNode, path: Path, reader: Reader) -> bool:
        """See `Record`."""
        written = node.entries["kind"][1] if "kind" in node.entries else None
        name = written.text if isinstance(written, Scalar) else WorkloadKind.SERVICE.value
        kind = next((kind for kind in WorkloadKind if kind.value == name), None)
        good = True
        for key, (place, _) in node.entries.items():
            refusal = None if kind is None else not_for(key, kind)
            if refusal is not None:
                reader.fail(place, (*path, key), refusal)
                good = False
        return _agree_on_priority(node, path, reader) and good


def _agree_on_priority(node: MappingNode, path: Path, reader: Reader) -> bool:
    """Return whether a workload's class says the same as what stands beside it, after reporting that it does not."""
    written = node.entries.get("priority_class")
    name = written[1].value if written is not None and isinstance(written[1], Scalar) else None
    found = next((each for each in reader.classes if each.name == name), None)
    good = True
    for key, value in () if found is None else (("priority", found.value), ("preempts", found.preempts)):
        given = node.entries[key][1] if key in node.entries else None
        if isinstance(given, Scalar) and type(given.value) is type(value) and given.value != value:
            text = str(value).lower()
            msg = f"the class {name} stands for {key}: {text}, not {given.text}; write one of the two"
            reader.fail(given, (*path, key), msg)
            good = False
    if found is None and name is not None and reader.passes_on:
        for key in ("priority", "preempts"):
            if key in node.entries:
                msg = f"what the class {name} stands for is known where it runs; write one of the two"
                reader.fail(node.entries[key][1], (*path, key), msg)
                good = False
    return good


def _workload(**attributes: Any) -> dict[str, Any]:
    named: PriorityClass | str | None = attributes.pop("priority_class", None)
    if isinstance(named, str):
        return {**attributes, "priority_class": named}
    return attributes if named is None else {**attributes, "priority": named.value, "preempts": named.preempts}


def _split_workload(definition: WorkloadDefinition) -> Mapping[str, Any]:
    parts = attrs.asdict(definition, recurse=False)
    named = definition.priority_class or priority_class_of(definition.priority, preempts=definition.preempts)
    parts["priority_class"] = UNSET
    if named is not None:
        parts.update(priority_class=named, priority=UNSET, preempts=UNSET)
    return {**parts, "labels": definition.metadata.labels, "annotations": definition.metadata.annotations}


WORKLOAD = _WorkloadRecord(
    "workload",
    [
        Field(
            "kind", Word(WorkloadKind), "`service`: replicas that run on; `batch`: completions; `daemon`: one per node."
        ),
        Field("labels", LABELS, "Free keys and values, for selection.", default={}),
        Field("annotations", LABELS, "Free keys and values, never selected by.", default={}),
        Field("containers", ListOf(CONTAINER, least=1), "What runs in every instance.", required=True),
        Field("volumes", VOLUMES, "Volumes beside those of the manifest."),
        Field("replicas", COUNT, "Instances of a service."),
        Field("completions", POSITIVE_COUNT, "Instances of a batch workload that must succeed."),
        Field("parallelism", POSITIVE_COUNT, "Instances of a batch workload that may run at once; all without it."),
        Field("retries", COUNT, "New placements of each failed instance of a batch workload."),
        Field(
            "deadline",
            DURATION,
            "A batch workload that has not ended so long after it first had a place fails; no limit without it.",
            "deadline_seconds",
        ),
        Field(
            "start_within",
            DURATION,
            "A batch workload is to have its first place so long after it began to look for one; of equals, the "
            "earliest goes first. No limit without it.",
            "start_within_seconds",
        ),
        Field(
            "missed_start",
            Word(MissPolicy),
            "What becomes of a batch workload that misses `start_within`: `late` goes on waiting, `drop` fails.",
        ),
        Field("placement", PLACEMENT, "Where instances may and should run."),
        Field(
            "priority_class",
            ClassName(),
            "A name for `priority` and `preempts`.",
            default=DEFAULT_PRIORITY_CLASS,
        ),
        Field("priority", Whole(LOWEST_PRIORITY, HIGHEST_PRIORITY), "Higher goes first."),
        Field("preempts", Flag(), "Whether it may push out instances of lower priority where there is no room."),
        Field("restart", RESTART, "Restarts in place: a word, or a mapping."),
        Field("update", UPDATE, "How a changed template is rolled out. Not for batch."),
        Field(
            "disruption",
            DISRUPTION,
            "How many instances may be missing for the sake of others; without it a drain keeps to `update`, and a "
            "higher priority to no limit.",
        ),
        Field(
            "gang",
            GANG,
            "Instances that come up together or not at all: `all` that are wanted, or so many at least. Not for "
            "daemons.",
        ),
        Field(
            "after",
            AFTER,
            "Workloads to wait for before the first start: `{NAME: succeeded | healthy | started}`, a list of names, "
            "or a name. Without a condition `succeeded` for batch and `healthy` for others.",
        ),
        Field("retention", RETENTION, "How much history is kept."),
    ],
    _workload,
    kind=WorkloadDefinition,
    split=_split_workload,
    about="Something to run, under its name.",
    example="workloads:\n  report:\n    kind: batch\n    completions: 4\n    parallelism: 2\n"
    "    priority_class: batch\n"
    "    containers: [{name: main, command: [./report, '${ORCHESTRION_INDEX}']}]\n",
)

MANIFEST = Record(
    "manifest",
    [
        Field("$schema", Text(), "For editors; it has no meaning here."),
        Field("namespace", NAME, "Where the workloads live.", default=DEFAULT_NAMESPACE),
        Field("volumes", VOLUMES, "Directories that workloads can mount: a mapping, or a list of names.", default=()),
        Field("workloads", Table(NAME, WORKLOAD), "What runs, by name."),
    ],
    dict,
    about="A document. Several documents, in one file or more, make one manifest.",
)


def definition(name: str, namespace: str, attributes: Mapping[str, Any]) -> WorkloadDefinition:
    """Return the workload that was read as `attributes`."""
    rest = dict(attributes)
    metadata = Metadata(
        name=name, namespace=namespace, labels=rest.pop("labels", {}), annotations=rest.pop("annotations", {})
    )
    return WorkloadDefinition(metadata=metadata, **rest)
