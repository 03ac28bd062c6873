"""The form of placement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from orchestrion.shared_types._node import TaintEffect
from orchestrion.shared_types._workload import (
    Expression,
    InstanceAffinity,
    NodeAffinity,
    Operator,
    Placement,
    Spread,
    Toleration,
)

from ._scalars import Flag, Text, Word
from ._shapes import Field, Forms, ListOf, Mapped, Record
from ._terms import (
    ANY,
    DURATION,
    KEY,
    LABELS,
    POSITIVE_COUNT,
    TEXT,
    WEIGHT,
    is_but,
)

_BY = Field("by", TEXT, "node, rack, zone, region, or a node label's key.")
_WEIGHT = Field("weight", WEIGHT, "A preference of that strength; without it a requirement.")
_EXPRESSION = Record(
    "expression",
    [
        Field("key", KEY, "The label's key.", required=True),
        Field("operator", Word(Operator), "How the label is compared.", required=True),
        Field("values", ListOf(ANY), "One or more for In and NotIn, one for Gt and Lt, none for the others."),
    ],
    Expression,
    kind=Expression,
    about="A condition on a node's label.",
    example="expressions: [{key: disk, operator: In, values: [ssd, nvme]}]\n",
)
_NODE_AFFINITY = Record(
    "node_affinity",
    [Field("expressions", ListOf(_EXPRESSION, least=1), "All must match.", required=True), _WEIGHT],
    NodeAffinity,
    kind=NodeAffinity,
    about="Draws instances to nodes.",
)
_INSTANCE_AFFINITY = Record(
    "instance_affinity",
    [
        Field("match", LABELS, "Labels of the workloads whose instances are meant.", "match_labels", required=True),
        _BY,
        Field("anti", Flag(), "True keeps away from them."),
        _WEIGHT,
    ],
    InstanceAffinity,
    kind=InstanceAffinity,
    about="Draws instances to where certain others are, or keeps them away.",
)
_AFFINITY = Record(
    "affinity",
    [
        Field("nodes", ListOf(_NODE_AFFINITY), "Requirements and preferences on nodes.", "node_affinities"),
        Field("instances", ListOf(_INSTANCE_AFFINITY), "The same on neighbours.", "instance_affinities"),
    ],
    dict,
    kind=Placement,
    split=lambda parts: parts,
    about="What draws instances to nodes and neighbours.",
    example="affinity:\n  nodes: [{expressions: [{key: gpu, operator: Exists}], weight: 50}]\n"
    "  instances: [{match: {app: web}, by: node, anti: true}]\n",
)
_SPREAD = Record(
    "spread",
    [
        _BY,
        Field("max_skew", POSITIVE_COUNT, "The most that the fullest domain may exceed the emptiest by."),
        Field("required", Flag(), "True refuses a placement that exceeds it."),
    ],
    Spread,
    kind=Spread,
    about="Spreads the instances of the workload. A text alone is `by`.",
    example="spread: [zone, {by: node, max_skew: 2, required: true}]\n",
)
_TOLERATION = Record(
    "toleration",
    [
        Field("key", Text(), "The taint's key; every key without it."),
        Field("value", ANY, "The taint's value; every value without it."),
        Field("effect", Word(TaintEffect), "The taint's effect; every effect without it."),
        Field("for", DURATION, "How long a NoExecute taint is tolerated; for ever without it.", "seconds"),
    ],
    Toleration,
    kind=Toleration,
    about="Lets instances on nodes with matching taints.",
    example="tolerations: [{key: dedicated, value: batch, effect: NoSchedule}]\n",
)


def _placement(**attributes: Any) -> Placement:
    affinity = attributes.pop("affinity", {})
    return Placement(**attributes, **affinity)


def _split_placement(placement: Placement) -> Mapping[str, Any]:
    parts = attrs.asdict(placement, recurse=False)
    affinity = {name: parts.pop(name) for name in ("node_affinities", "instance_affinities")}
    return {**parts, "affinity": affinity if any(affinity.values()) else {}}


PLACEMENT = Record(
    "placement",
    [
        Field("select", LABELS, "Labels that a node must have; zone, region, rack and node also match its topology."),
        Field("expressions", ListOf(_EXPRESSION), "Further conditions on labels; all must hold."),
        Field("affinity", _AFFINITY, "What draws instances to nodes and neighbours.", default={}),
        Field(
            "spread",
            Forms(
                Mapped(TEXT, lambda by: (Spread(by=by),)),
                ListOf(
                    Forms(
                        Mapped(TEXT, lambda by: Spread(by=by), lambda spread: spread.by),
                        _SPREAD,
                        choose=lambda spread: 0 if is_but(spread, Spread, by="by") else 1,
                    )
                ),
            ),
            "How to spread the workload's instances.",
            "spreads",
        ),
        Field("tolerations", ListOf(_TOLERATION), "Taints that do not keep it off."),
    ],
    _placement,
    kind=Placement,
    split=_split_placement,
    about="Where instances may and should run.",
    example="placement: {select: {zone: a}, spread: [node]}\n",
)
