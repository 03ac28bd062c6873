"""Strategies for clusters, workloads and requests: small, and close to the limits of what fits."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from hypothesis import strategies as st
from orchestrion.scheduler_interface import (
    NodeView,
    PlacedInstance,
    SchedulerCapability,
    SchedulingRequest,
    StaticClusterView,
    node_view,
)
from orchestrion.shared_types import (
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
    Taint,
    TaintEffect,
    Toleration,
    Topology,
    WorkloadDefinition,
)

from ._build import NEIGHBOUR, WORKLOAD

ALL = frozenset(SchedulerCapability)

_LABELS = {"disk": ("ssd", "hdd"), "gen": ("1", "2", "10", "x")}
_ZONES = ("", "a", "b")
_PORTS = (80, 443)
_MODELS = ("A100-40", "A100-80", "T4")


def _rarely(strategy: st.SearchStrategy[Any], otherwise: Any) -> st.SearchStrategy[Any]:
    return st.one_of(st.just(otherwise), st.just(otherwise), st.just(otherwise), strategy)


def _amounts(highest: int, huge: bool) -> st.SearchStrategy[int]:
    small = st.integers(0, highest)
    return st.one_of(small, st.integers(MAX_AMOUNT - 2, MAX_AMOUNT)) if huge else small


def _resources(highest: int, *, huge: bool = False) -> st.SearchStrategy[Resources]:
    amounts = _amounts(highest, huge)
    return st.builds(
        Resources,
        cpu_millicores=amounts,
        memory_bytes=amounts,
        disk_bytes=st.integers(0, highest),
        extended=_rarely(st.fixed_dictionaries({"licence": st.integers(0, 3)}), {}),
    )


def _labels() -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in _LABELS.items()})


def _devices() -> st.SearchStrategy[tuple[Device, ...]]:
    device = st.builds(
        lambda model, memory, capability, kind: (kind, model, memory, capability),
        st.sampled_from(_MODELS),
        st.sampled_from((0, 40, 80)),
        st.sampled_from(("", "7.5", "8.0", "10")),
        _rarely(st.just("fpga"), "gpu"),
    )
    return st.lists(device, max_size=3).map(
        lambda drawn: tuple(
            Device(id=f"d{position}", kind=kind, model=model, memory_bytes=memory, capability=capability)
            for position, (kind, model, memory, capability) in enumerate(drawn)
        )
    )


@st.composite
def nodes(draw: st.DrawFn, node_id: str = "n1", *, huge: bool = False) -> Node:
    """Draw a node, more often than not one that takes work."""
    allocatable = draw(_resources(8, huge=huge))
    cordoned = draw(_rarely(st.booleans(), False))
    taints = draw(
        _rarely(
            st.lists(
                st.builds(
                    Taint,
                    st.sampled_from(("gpu", "old")),
                    st.sampled_from(("", "only")),
                    st.sampled_from(TaintEffect),
                ),
                max_size=2,
                unique_by=lambda taint: (taint.key, taint.effect),
            ),
            [],
        )
    )
    return Node(
        id=NodeId(node_id),
        name=node_id,
        status=draw(_rarely(st.sampled_from(NodeStatus), NodeStatus.READY)),
        labels=draw(_labels()),
        taints=tuple(taints),
        capacity=allocatable,
        allocatable=allocatable,
        devices=draw(_devices()),
        topology=Topology(zone=draw(st.sampled_from(_ZONES)), rack=draw(st.sampled_from(("", "r1")))),
        drivers=frozenset(draw(_rarely(st.sets(st.sampled_from(("process", "docker"))), {"process"}))),
        conditions=draw(
            _rarely(st.booleans().map(lambda active: (NodeCondition(type="DiskPressure", active=active),)), ())
        ),
        cordoned=cordoned,
        drain=Drain(reason="upkeep") if cordoned and draw(st.booleans()) else None,
    )


@st.composite
def node_views(draw: st.DrawFn, node_id: str = "n1", *, position: int = 0, huge: bool = False) -> NodeView:
    """Draw a node with up to three instances, which may hold more than it has: it may have shrunk."""
    node = draw(nodes(node_id, huge=huge))
    free = {device.id: 1000 for device in node.devices}
    instances = []
    for index in range(draw(st.integers(0, 3))):
        own = draw(st.booleans())
        shares = {}
        for device_id in sorted(free):
            share = draw(st.sampled_from((0, 0, 300, 500, 1000)))
            if 0 < share <= free[device_id]:
                free[device_id] -= share
                shares[device_id] = share
        # Apart from node to node: an instance is in one place only. Own slots are in the range that requests ask for.
        key = InstanceKey(WORKLOAD if own else NEIGHBOUR, position * 3 + index, draw(st.integers(1, 2)))
        instances.append(
            PlacedInstance(
                key=key,
                namespace="default",
                workload="web" if own else "neighbour",
                demand=draw(_resources(3)),
                host_ports=draw(
                    st.frozensets(
                        st.tuples(st.sampled_from(Protocol), st.sampled_from(_PORTS)),
                        max_size=1,
                    )
                ),
                device_thousandths=shares,
            )
        )
    return node_view(node, instances)


@st.composite
def cluster_views(
    draw: st.DrawFn, *, min_nodes: int = 0, max_nodes: int = 5, huge: bool = False, revision: int = 1
) -> StaticClusterView:
    """Draw a cluster."""
    count = draw(st.integers(min_nodes, max_nodes))
    return StaticClusterView(
        [draw(node_views(f"n{position}", position=position, huge=huge)) for position in range(count)],
        revision=revision,
    )


def _expressions() -> st.SearchStrategy[Expression]:
    def values_for(operator: Operator) -> st.SearchStrategy[tuple[str, ...]]:
        value = st.sampled_from(("1", "2", "ssd", "x"))
        if operator in (Operator.IN, Operator.NOT_IN):
            return st.lists(value, min_size=1, max_size=2).map(tuple)
        return st.tuples(value) if operator in (Operator.GREATER, Operator.LESS) else st.just(())

    return st.sampled_from(Operator).flatmap(
        lambda operator: st.builds(
            lambda key, values: Expression(key=key, operator=operator, values=values),
            st.sampled_from(tuple(_LABELS)),
            values_for(operator),
        )
    )


@st.composite
def placements(draw: st.DrawFn, abilities: frozenset[SchedulerCapability] = ALL) -> Placement:
    """Draw where instances may and should run.

    Args:
        draw: Hypothesis gives it.
        abilities: What the scheduler is able to do. Required affinities are drawn only where it is not able to keep
            them, since the kit does not know what they mean.
    """
    affinity_weights = st.integers(1, 100)
    if SchedulerCapability.AFFINITY not in abilities:
        affinity_weights = _rarely(st.none(), 50)
    selects: dict[str, st.SearchStrategy[str]] = {"disk": st.sampled_from(_LABELS["disk"]), "zone": st.just("a")}
    return Placement(
        select=draw(_rarely(st.fixed_dictionaries({}, optional=selects), {})),
        expressions=tuple(draw(_rarely(st.lists(_expressions(), max_size=2), []))),
        node_affinities=tuple(
            draw(
                _rarely(
                    st.lists(
                        st.builds(NodeAffinity, expressions=st.tuples(_expressions()), weight=affinity_weights),
                        max_size=1,
                    ),
                    [],
                )
            )
        ),
        instance_affinities=tuple(
            draw(
                _rarely(
                    st.lists(
                        st.builds(
                            InstanceAffinity,
                            match_labels=st.just({"app": "db"}),
                            anti=st.booleans(),
                            weight=affinity_weights,
                        ),
                        max_size=1,
                    ),
                    [],
                )
            )
        ),
        spreads=tuple(
            draw(
                _rarely(
                    st.lists(
                        st.builds(
                            Spread,
                            by=st.sampled_from(("node", "zone", "rack", "disk")),
                            max_skew=st.integers(1, 2),
                            required=st.booleans(),
                        ),
                        max_size=2,
                    ),
                    [],
                )
            )
        ),
        tolerations=tuple(
            draw(
                _rarely(
                    st.lists(
                        st.builds(
                            Toleration,
                            key=st.sampled_from(("", "gpu", "old")),
                            value=st.sampled_from((None, "", "only")),
                            effect=st.sampled_from((None, *TaintEffect)),
                            seconds=st.sampled_from((None, 0.0, 60.0)),
                        ),
                        max_size=2,
                    ),
                    [],
                )
            )
        ),
    )


def _gpus() -> st.SearchStrategy[GpuRequest]:
    sizes = st.sampled_from(({"count": 1}, {"count": 2}, {"thousandths": 300}, {"thousandths": 500}))
    return st.builds(
        lambda size, model, memory, capability: GpuRequest(
            **size, model=model, memory_bytes=memory, capability=capability
        ),
        sizes,
        _rarely(st.sampled_from(("a100", "T4", "80")), None),
        _rarely(st.sampled_from((40, 80)), 0),
        _rarely(st.sampled_from(("7", "8.0", "9.1")), None),
    )


@st.composite
def workloads(
    draw: st.DrawFn, abilities: frozenset[SchedulerCapability] = ALL, *, huge: bool = False
) -> WorkloadDefinition:
    """Draw a workload of one or two containers, whose demand can be counted."""
    count = 1 if huge else draw(st.integers(1, 2))
    containers = tuple(
        ContainerConfig(
            name=f"c{position}",
            driver=draw(_rarely(st.just("docker"), None)),
            command=("serve",),
            resources=draw(_resources(3, huge=huge)),
            ports=tuple(
                PortMapping(name=f"p{number}", host_port=number, protocol=draw(st.sampled_from(Protocol)))
                for number in draw(_rarely(st.lists(st.sampled_from(_PORTS), max_size=1), []))
            ),
            gpu=draw(_rarely(_gpus(), None)),
        )
        for position in range(count)
    )
    return WorkloadDefinition(
        metadata=Metadata(name="web", uid=WORKLOAD, generation=1),
        containers=containers,
        placement=draw(placements(abilities)),
    )


@frozen(kw_only=True)
class Situation:
    """A request and the cluster that it is about."""

    request: SchedulingRequest
    view: StaticClusterView


@st.composite
def situations(
    draw: st.DrawFn,
    abilities: frozenset[SchedulerCapability] = ALL,
    *,
    min_nodes: int = 0,
    huge: bool = False,
    max_slots: int = 5,
) -> Situation:
    """Draw a cluster and a request, some of whose slots may be placed already."""
    view = draw(cluster_views(min_nodes=min_nodes, huge=huge))
    indices = draw(st.lists(st.integers(0, 14), min_size=1, max_size=max_slots, unique=True))
    workload = draw(workloads(abilities, huge=huge))
    some_node = _rarely(st.sampled_from([NodeId(f"n{position}") for position in range(6)]), None)
    return Situation(
        request=SchedulingRequest(
            workload=workload,
            slots=tuple(InstanceKey(WORKLOAD, index, draw(st.integers(1, 2))) for index in indices),
            only_node=draw(some_node),
            explain=draw(st.booleans()),
        ),
        view=view,
    )
