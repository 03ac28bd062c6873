"""Schedulers that are wrong about what suits a node: each fails the clause that it breaks."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from attrs import evolve
from orchestrion.scheduler_interface import (
    ClusterView,
    NodeView,
    SchedulingRequest,
    demand_of,
    drivers_of,
)
from orchestrion.shared_types import (
    MAX_AMOUNT,
    Expression,
    Node,
    NodeStatus,
    Operator,
    Placement,
    PortMapping,
    Protocol,
    Resources,
    Taint,
    TaintEffect,
    Toleration,
    Topology,
    WorkloadDefinition,
)

from .scheduler_mutants import Mutant, MutantKind, Mutants, failed_checks

MUTANTS = Mutants()


@MUTANTS.breaks("FIT-1")
@MUTANTS.breaks("SAFE-4")
class TrustsUnknownNodes(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, status=NodeStatus.READY) if node.status is NodeStatus.UNKNOWN else node


@MUTANTS.breaks("FIT-1")
class TrustsNoNode(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, status=NodeStatus.NOT_READY)


@MUTANTS.breaks("FIT-2")
@MUTANTS.breaks("SAFE-4")
class IgnoresCordons(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, cordoned=False, drain=None)


@MUTANTS.breaks("FIT-3")
@MUTANTS.breaks("SAFE-4")
class IgnoresConditions(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, conditions=())


@MUTANTS.breaks("FIT-3")
class TakesAnyConditionForAFault(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, conditions=tuple(evolve(each, active=True) for each in node.conditions))


@MUTANTS.breaks("FIT-4")
@MUTANTS.breaks("SAFE-4")
class IgnoresTheOnlyNode(Mutant):
    def request(self, request: SchedulingRequest) -> SchedulingRequest:
        return evolve(request, only_node=None)


@MUTANTS.breaks("FIT-5")
class IsContentWithOneDriver(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        wanted = drivers_of(request.workload)
        return evolve(node, drivers=node.drivers | wanted) if node.drivers & wanted else node


@MUTANTS.breaks("FIT-5")
@MUTANTS.breaks("SAFE-4")
class IgnoresDrivers(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, drivers=node.drivers | drivers_of(request.workload))


@MUTANTS.breaks("FIT-5")
class IgnoresImages(Mutant):
    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        return evolve(workload, containers=tuple(evolve(each, image=None) for each in workload.containers))


@MUTANTS.breaks("FIT-6")
@MUTANTS.breaks("SAFE-4")
class LooksAtOneSelector(Mutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, select=dict(sorted(placement.select.items())[:1]))


@MUTANTS.breaks("FIT-6")
class DoesNotSelectByTopology(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, topology=Topology())


@MUTANTS.breaks("FIT-6")
class DoesNotSelectTopologyByLabel(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, labels={key: value for key, value in node.labels.items() if key != "zone"})


@MUTANTS.breaks("FIT-6")
@MUTANTS.breaks("SAFE-4")
class IgnoresSelectors(Mutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, select={})


@MUTANTS.breaks("FIT-7")
@MUTANTS.breaks("SAFE-4")
class IgnoresExpressions(Mutant):
    def placement(self, placement: Placement) -> Placement:
        return evolve(placement, expressions=())


class RewritesExpressions(Mutant):
    def expression(self, expression: Expression) -> Expression | None:
        return expression

    def placement(self, placement: Placement) -> Placement:
        rewritten = (self.expression(expression) for expression in placement.expressions)
        return evolve(placement, expressions=tuple(each for each in rewritten if each is not None))


@MUTANTS.breaks("FIT-7")
@MUTANTS.breaks("SAFE-4")
class LooksAtTheFirstValue(RewritesExpressions):
    def expression(self, expression: Expression) -> Expression:
        return evolve(expression, values=expression.values[:1])


@MUTANTS.breaks("FIT-7")
@MUTANTS.breaks("SAFE-4")
class IgnoresExistence(RewritesExpressions):
    def expression(self, expression: Expression) -> Expression | None:
        return expression if expression.values else None


@MUTANTS.breaks("FIT-7")
class ComparesText(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        expressions = request.workload.placement.expressions

        def read(key: str, value: str) -> str:
            bounds = [each.values[0] for each in expressions if each.key == key and each.values]
            return value if not bounds else "1000" if value > bounds[0] else "0"

        numeric = any(each.operator is Operator.GREATER for each in expressions)
        return evolve(node, labels={key: read(key, value) for key, value in node.labels.items()}) if numeric else node


@MUTANTS.breaks("FIT-7")
class ComparesFractions(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        numeric = any(each.operator is Operator.LESS for each in request.workload.placement.expressions)
        cut = {key: value.split(".")[0] for key, value in node.labels.items()}
        return evolve(node, labels=cut) if numeric else node


@MUTANTS.breaks("FIT-8")
@MUTANTS.breaks("SAFE-4")
class IgnoresNoExecute(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, taints=tuple(each for each in node.taints if each.effect is not TaintEffect.NO_EXECUTE))


@MUTANTS.breaks("FIT-8")
@MUTANTS.breaks("SAFE-4")
class IgnoresTaints(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, taints=())


@MUTANTS.breaks("FIT-8")
class LooksAtOneTaint(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, taints=node.taints[:1])


class RewritesTolerations(Mutant):
    def toleration(self, toleration: Toleration) -> Toleration | None:
        return toleration

    def placement(self, placement: Placement) -> Placement:
        rewritten = (self.toleration(toleration) for toleration in placement.tolerations)
        return evolve(placement, tolerations=tuple(each for each in rewritten if each is not None))


@MUTANTS.breaks("FIT-8")
class ToleratesAnyValue(RewritesTolerations):
    def toleration(self, toleration: Toleration) -> Toleration:
        return evolve(toleration, value=None)


@MUTANTS.breaks("FIT-8")
class ToleratesAnyEffect(RewritesTolerations):
    def toleration(self, toleration: Toleration) -> Toleration:
        return evolve(toleration, effect=None)


@MUTANTS.breaks("FIT-8")
class WantsTolerationsForEver(RewritesTolerations):
    def toleration(self, toleration: Toleration) -> Toleration | None:
        return toleration if toleration.seconds is None else None


@MUTANTS.breaks("FIT-9")
class TakesDislikeForRefusal(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, taints=tuple(Taint(each.key, each.value) for each in node.taints))


class RewritesPorts(Mutant):
    def port(self, port: PortMapping) -> PortMapping:
        return port

    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        return evolve(
            workload,
            containers=tuple(
                evolve(each, ports=tuple(self.port(port) for port in each.ports)) for each in workload.containers
            ),
        )


@MUTANTS.breaks("FIT-10")
@MUTANTS.breaks("SAFE-2")
class IgnoresPorts(RewritesPorts):
    def port(self, port: PortMapping) -> PortMapping:
        return evolve(port, host_port=None)


@MUTANTS.breaks("FIT-10")
class TakesContainerPortsForHostPorts(RewritesPorts):
    def port(self, port: PortMapping) -> PortMapping:
        return evolve(port, host_port=port.host_port or port.container_port)


@MUTANTS.breaks("FIT-10")
class IgnoresProtocols(RewritesPorts):
    def port(self, port: PortMapping) -> PortMapping:
        return evolve(port, protocol=Protocol.TCP)

    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        return evolve(view, host_ports=frozenset((Protocol.TCP, number) for _, number in view.host_ports))


class RewritesDemand(Mutant):
    def demand(self, resources: Resources) -> Resources:
        return resources

    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        demand_of(workload)  # which is refused, if it is above what can be counted
        return evolve(
            workload,
            containers=tuple(evolve(each, resources=self.demand(each.resources)) for each in workload.containers),
        )


@MUTANTS.breaks("FIT-11")
@MUTANTS.breaks("SAFE-1")
class ForgetsCpu(RewritesDemand):
    def demand(self, resources: Resources) -> Resources:
        return evolve(resources, cpu_millicores=0)


@MUTANTS.breaks("FIT-11")
@MUTANTS.breaks("SAFE-1")
class ForgetsMemory(RewritesDemand):
    def demand(self, resources: Resources) -> Resources:
        return evolve(resources, memory_bytes=0)


@MUTANTS.breaks("FIT-11")
@MUTANTS.breaks("SAFE-1")
class ForgetsDisk(RewritesDemand):
    def demand(self, resources: Resources) -> Resources:
        return evolve(resources, disk_bytes=0)


@MUTANTS.breaks("FIT-11")
@MUTANTS.breaks("SAFE-1")
class ForgetsExtendedResources(RewritesDemand):
    def demand(self, resources: Resources) -> Resources:
        return evolve(resources, extended={})


@MUTANTS.breaks("FIT-11")
@MUTANTS.breaks("SAFE-1")
class LooksAtTheFirstContainer(RewritesDemand):
    def workload(self, workload: WorkloadDefinition) -> WorkloadDefinition:
        first, *others = super().workload(workload).containers
        return evolve(workload, containers=(first, *(evolve(each, resources=Resources()) for each in others)))


@MUTANTS.breaks("FIT-11")
@MUTANTS.breaks("SAFE-1")
class ForgetsWhatIsReserved(Mutant):
    def view(self, request: SchedulingRequest, view: NodeView) -> NodeView:
        return evolve(view, reserved=Resources())


@MUTANTS.breaks("FIT-11")
class LooksAtTheCapacity(Mutant):
    def node(self, request: SchedulingRequest, node: Node) -> Node:
        return evolve(node, allocatable=node.capacity)


@MUTANTS.breaks("FIT-12")
class WantsOneMore(RewritesDemand):
    def demand(self, resources: Resources) -> Resources:
        cpu = resources.cpu_millicores
        return evolve(resources, cpu_millicores=min(MAX_AMOUNT, cpu + (cpu > 0)))


@MUTANTS.breaks("FIT-12")
class RoundsToFloats(RewritesDemand):
    def demand(self, resources: Resources) -> Resources:
        memory = resources.memory_bytes
        return evolve(resources, memory_bytes=memory if memory < 2**52 else memory // 1024 * 1024)


@MUTANTS.breaks("FIT-13")
class ShunsShrunkNodes(Mutant):
    def views(self, request: SchedulingRequest, view: ClusterView) -> Iterable[NodeView]:
        return [each for each in view if each.reserved.fits_in(each.node.allocatable)]


@pytest.mark.parametrize(("clause", "kind"), MUTANTS.parameters())
def test_the_kit_kills(clause: str, kind: MutantKind) -> None:
    assert failed_checks(clause, kind)
