"""Strategies for nodes, clusters and workloads: small, and close to the limits of what fits."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from hypothesis import strategies as st
from immutabledict import immutabledict
from orchestrion.scheduler_interface import (
    NodeView,
    PlacedInstance,
    SchedulerCapability,
    StaticClusterView,
    node_view,
)
from orchestrion.shared_types import (
    DEFAULT_PRIORITY_CLASS,
    MAX_AMOUNT,
    ContainerConfig,
    Device,
    Drain,
    Expression,
    GpuRequest,
    InstanceAffinity,
    InstanceKey,
    Metadata,
    Node,
    NodeAffinity,
    NodeCondition,
    NodeId,
    NodeStatus,
    Operator,
    Placement,
    PortMapping,
    Protocol,
    Resources,
    Spread,
    TaintEffect,
    Toleration,
    Topology,
    WorkloadDefinition,
)

from ._build import NEIGHBOUR, WORKLOAD
from ._suiting import LABELS, TAINTS

WEB = immutabledict({"app": "web", "tier": "front"})
"""The labels of the workload that is asked for."""
DB = immutabledict({"app": "db", "tier": "back"})
_MATCHED: tuple[immutabledict[str, str], ...] = (
    immutabledict({"app": "db"}),
    WEB,
    DB,
    immutabledict({"app": "web"}),
    immutabledict({"app": "db", "tier": "front"}),
    immutabledict(),
)

ALL = frozenset(SchedulerCapability)

T = TypeVar("T")

# Strategies are built once: hypothesis would otherwise spend most of its time on checking them anew for each example.


def rarely(strategy: st.SearchStrategy[T], otherwise: T, *, times: int = 4) -> st.SearchStrategy[T]:
    """Draw from the strategy about once in so many times."""
    return st.one_of(*(st.just(otherwise) for _ in range(times - 1)), strategy)


def _tuples(strategy: st.SearchStrategy[T], max_size: int) -> st.SearchStrategy[tuple[T, ...]]:
    return rarely(st.lists(strategy, max_size=max_size).map(tuple), ())


BOOLEANS = st.booleans()
_RARELY_TRUE = rarely(BOOLEANS, False)
UP_TO_THREE = st.integers(0, 3)
EPOCHS = st.integers(1, 2)


@cache
def _resources(highest: int, *, huge: bool = False) -> st.SearchStrategy[Resources]:
    small = st.integers(0, highest)
    amounts = st.one_of(small, st.integers(MAX_AMOUNT - 2, MAX_AMOUNT)) if huge else small
    return st.builds(
        Resources,
        cpu_millicores=amounts,
        memory_bytes=amounts,
        disk_bytes=small,
        extended=rarely(st.fixed_dictionaries({"licence": UP_TO_THREE}), {}),
    )


def _number_devices(drawn: list[tuple[str, str, int, str]]) -> tuple[Device, ...]:
    return tuple(
        Device(id=f"d{position}", kind=kind, model=model, memory_bytes=memory, capability=capability)
        for position, (kind, model, memory, capability) in enumerate(drawn)
    )


_NODE_LABELS = st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in LABELS.items()})
_STATUSES = rarely(st.sampled_from(NodeStatus), NodeStatus.READY)
_TAINTS = rarely(
    st.lists(st.sampled_from(TAINTS), max_size=2, unique_by=lambda taint: (taint.key, taint.effect)).map(tuple),
    (),
)
_TOPOLOGIES = st.builds(Topology, zone=st.sampled_from(("", "a", "b")), rack=st.sampled_from(("", "r1")))
_DRIVERS = rarely(st.frozensets(st.sampled_from(("process", "docker"))), frozenset({"process"}))
_CONDITIONS = _tuples(st.builds(NodeCondition, type=st.just("DiskPressure"), active=BOOLEANS), 1)
_DEVICES = st.lists(
    st.tuples(
        rarely(st.just("fpga"), "gpu"),
        st.sampled_from(("A100-40", "A100-80", "T4")),
        st.sampled_from((0, 40, 80)),
        st.sampled_from(("", "7.5", "8.0", "10")),
    ),
    max_size=3,
).map(_number_devices)


def _draw_node(draw: st.DrawFn, node_id: str, *, huge: bool) -> Node:
    allocatable = draw(_resources(8, huge=huge))
    cordoned = draw(_RARELY_TRUE)
    return Node(
        id=NodeId(node_id),
        name=node_id,
        status=draw(_STATUSES),
        labels=draw(_NODE_LABELS),
        taints=draw(_TAINTS),
        capacity=allocatable,
        allocatable=allocatable,
        devices=draw(_DEVICES),
        topology=draw(_TOPOLOGIES),
        drivers=draw(_DRIVERS),
        conditions=draw(_CONDITIONS),
        cordoned=cordoned,
        drain=Drain(reason="upkeep") if cordoned and draw(BOOLEANS) else None,
    )


_HELD_PORTS = st.frozensets(st.tuples(st.sampled_from(Protocol), st.sampled_from((80, 443))), max_size=1)
_SHARES = st.sampled_from((0, 0, 300, 500, 1000))
_HOLDERS = st.sampled_from(
    (
        (WORKLOAD, "default", "web", WEB),
        (NEIGHBOUR, "default", "neighbour", DB),
        (WORKLOAD, "default", "web", WEB),
        (NEIGHBOUR, "default", "neighbour", immutabledict()),
        (WORKLOAD, "default", "web", WEB),
        (NEIGHBOUR, "elsewhere", "neighbour", DB),
        (WORKLOAD, "default", "web", immutabledict({"app": "old"})),
        (NEIGHBOUR, "default", "neighbour", WEB),
    )
)
"""Whose instances nodes hold, and with which labels."""


_PRIORITIES = (10, 20, DEFAULT_PRIORITY_CLASS.value, 10)
"""Less than the workload has that is asked for, or as much."""
_GRACES = (10, 0, 10, 30)


def draw_node_view(draw: st.DrawFn, node_id: str, position: int, *, huge: bool) -> NodeView:
    """Draw a node with instances, as `node_views` does, inside another strategy."""
    node = _draw_node(draw, node_id, huge=huge)
    free = {device.id: 1000 for device in node.devices}
    instances = []
    for index in range(draw(UP_TO_THREE)):
        workload_id, namespace, name, labels = draw(_HOLDERS)
        shares = {}
        for device_id in sorted(free):
            share = draw(_SHARES)
            if 0 < share <= free[device_id]:
                free[device_id] -= share
                shares[device_id] = share
        instances.append(
            PlacedInstance(
                # Apart from node to node, since an instance is in one place; and such as requests ask for.
                key=InstanceKey(workload_id, position * 3 + index, draw(EPOCHS)),
                namespace=namespace,
                workload=name,
                labels=labels,
                # Of the key, and not drawn: what few clauses look at is not to cost all of them.
                priority=_PRIORITIES[(position * 3 + index) % len(_PRIORITIES)],
                grace_seconds=_GRACES[(position + index) % len(_GRACES)],
                demand=draw(_resources(3)),
                host_ports=draw(_HELD_PORTS),
                device_thousandths=shares,
            )
        )
    return node_view(node, instances)


def _draw_cluster(
    draw: st.DrawFn, min_nodes: int, max_nodes: int, revision: int | None, *, huge: bool
) -> StaticClusterView:
    count = draw(st.integers(min_nodes, max_nodes))
    return StaticClusterView(
        [draw_node_view(draw, f"n{position}", position, huge=huge) for position in range(count)],
        revision=revision,
    )


@st.composite
def nodes(draw: st.DrawFn, node_id: str = "n1", *, huge: bool = False) -> Node:
    """Draw a node, more often than not one that takes work; huge ones may have the largest amounts there are."""
    return _draw_node(draw, node_id, huge=huge)


@st.composite
def node_views(draw: st.DrawFn, node_id: str = "n1", *, position: int = 0, huge: bool = False) -> NodeView:
    """Draw a node with up to three instances, which may hold more than it has: it may have shrunk.

    Args:
        draw: Hypothesis gives it.
        node_id: The node's id and name.
        position: Different for each node of a cluster, so that no instance is in two places.
        huge: Whether to draw the largest amounts too.
    """
    return draw_node_view(draw, node_id, position, huge=huge)


@st.composite
def cluster_views(
    draw: st.DrawFn, *, min_nodes: int = 0, max_nodes: int = 5, huge: bool = False, revision: int | None = None
) -> StaticClusterView:
    """Draw a cluster."""
    return _draw_cluster(draw, min_nodes, max_nodes, revision, huge=huge)


def _expression_values(operator: Operator) -> st.SearchStrategy[tuple[str, ...]]:
    if operator in (Operator.IN, Operator.NOT_IN):
        return st.sampled_from((("1", "2"), ("ssd",), ("x", "ssd"), ("2", "ssd"), ("x", "1"), ("1",)))
    bound = st.sampled_from(("1", "2", "1", "2", "x"))
    return st.tuples(bound) if operator in (Operator.GREATER, Operator.LESS) else st.just(())


_EXPRESSION = st.one_of(
    [
        st.builds(
            Expression,
            key=st.sampled_from(tuple(LABELS)),
            operator=st.just(operator),
            values=_expression_values(operator),
        )
        for operator in Operator
    ]
)
_EXPRESSIONS = rarely(st.lists(_EXPRESSION, min_size=1, max_size=2).map(tuple), (), times=2)
_SELECT = rarely(
    st.fixed_dictionaries({}, optional={"disk": st.sampled_from(LABELS["disk"]), "zone": st.just("a")}), {}, times=2
)
_SPREADS = _tuples(
    st.builds(
        Spread,
        by=st.sampled_from(("node", "zone", "rack", "disk")),
        max_skew=st.integers(1, 2),
        required=BOOLEANS,
    ),
    2,
)
_TOLERATIONS = _tuples(
    st.builds(
        Toleration,
        key=st.sampled_from(("", "gpu", "old")),
        value=st.sampled_from((None, "", "only")),
        effect=st.sampled_from((None, *TaintEffect)),
        seconds=st.sampled_from((None, 0.0, 60.0)),
    ),
    2,
)


@cache
def _affinities(
    *, able: bool
) -> tuple[st.SearchStrategy[tuple[NodeAffinity, ...]], st.SearchStrategy[tuple[InstanceAffinity, ...]]]:
    """Return strategies for node and instance affinities; whoever is able to keep them is asked for more of them."""
    weights: st.SearchStrategy[int | None] = st.sampled_from((None, None, 50) if able else (50,) * 7 + (None,))
    by_node = st.builds(NodeAffinity, expressions=st.tuples(_EXPRESSION), weight=weights)
    by_instances = st.builds(
        InstanceAffinity,
        match_labels=st.sampled_from(_MATCHED),
        by=st.sampled_from(("node", "zone", "rack", "disk")),
        anti=BOOLEANS,
        weight=weights,
    )
    if not able:
        return _tuples(by_node, 1), _tuples(by_instances, 1)
    return (
        rarely(st.tuples(by_node), (), times=3),
        rarely(st.lists(by_instances, min_size=1, max_size=2).map(tuple), (), times=2),
    )


def _draw_placement(draw: st.DrawFn, abilities: frozenset[SchedulerCapability]) -> Placement:
    node_affinities, instance_affinities = _affinities(able=SchedulerCapability.AFFINITY in abilities)
    return Placement(
        select=draw(_SELECT),
        expressions=draw(_EXPRESSIONS),
        node_affinities=draw(node_affinities),
        instance_affinities=draw(instance_affinities),
        spreads=draw(_SPREADS),
        tolerations=draw(_TOLERATIONS),
    )


@st.composite
def placements(draw: st.DrawFn, abilities: frozenset[SchedulerCapability] = ALL) -> Placement:
    """Draw where instances may and should run.

    Args:
        draw: Hypothesis gives it.
        abilities: What the scheduler is able to do. What it is not able to keep is rarely required.
    """
    return _draw_placement(draw, abilities)


_GPUS = rarely(
    st.builds(
        lambda size, model, memory, capability: GpuRequest(
            count=size // 1000, thousandths=size % 1000, model=model, memory_bytes=memory, capability=capability
        ),
        st.sampled_from((1000, 2000, 300, 500)),
        rarely(st.sampled_from(("a100", "T4", "80")), None),
        rarely(st.sampled_from((40, 80)), 0),
        rarely(st.sampled_from(("7", "8.0", "9.1")), None),
    ),
    None,
)
_DRIVER = rarely(st.just("docker"), None)
_PORTS = rarely(
    st.tuples(
        st.builds(
            PortMapping, name=st.just("p"), host_port=st.sampled_from((80, 443)), protocol=st.sampled_from(Protocol)
        )
    ),
    (),
    times=2,
)


def draw_workload(draw: st.DrawFn, abilities: frozenset[SchedulerCapability], *, huge: bool) -> WorkloadDefinition:
    """Draw a workload, as `workloads` does, inside another strategy."""
    return WorkloadDefinition(
        metadata=Metadata(name="web", uid=WORKLOAD, generation=1, labels=WEB),
        containers=tuple(
            ContainerConfig(
                name=f"c{position}",
                driver=draw(_DRIVER),
                command=("serve",),
                resources=draw(_resources(3, huge=huge)),
                ports=draw(_PORTS),
                gpu=draw(_GPUS),
            )
            # Two that ask for the largest amount would ask for more than can be counted.
            for position in range(1 if huge else draw(EPOCHS))
        ),
        placement=_draw_placement(draw, abilities),
    )


@st.composite
def workloads(
    draw: st.DrawFn, abilities: frozenset[SchedulerCapability] = ALL, *, huge: bool = False
) -> WorkloadDefinition:
    """Draw a workload of one or two containers, whose demand can be counted."""
    return draw_workload(draw, abilities, huge=huge)
