"""Rules that hold once all has healed and nothing moves any more."""

from __future__ import annotations

from collections import Counter, defaultdict

from orchestrion.mocks import MockContainer
from orchestrion.orchestrator_core._node.loop import NodeLoop
from orchestrion.orchestrator_core._state.budgets import budgets_of
from orchestrion.orchestrator_core._state.facts import Dependencies, dependencies_of
from orchestrion.orchestrator_core._state.records import InstanceName, Outcome, WorkloadName, instance_key
from orchestrion.orchestrator_core._state.world import InstanceRecord, WorkloadRecord
from orchestrion.orchestrator_core._state.world import World as Mirror
from orchestrion.scheduler_interface import FullScanScheduler, NoPlacement, SchedulingRequest, SimpleScheduler
from orchestrion.shared_types import (
    ContainerState,
    DesiredState,
    InstanceKey,
    InstanceState,
    NodeId,
    WorkloadKind,
)

from .driver import Driver
from .programs import Server
from .watchdog import canary_at


async def check_settled(driver: Driver) -> None:
    """Check that what is is what is wanted."""
    world, trace = driver.world, driver.world.trace
    mirror = Mirror()
    await mirror.load(world.store)
    leader = _leader(driver)
    if leader is None:
        trace.violated("nobody leads")
        return
    for name in sorted(mirror.workloads):
        await _check_workload(driver, leader, mirror, mirror.workloads[name])
    _check_accepted(driver, mirror)
    _check_containers(driver, mirror)
    _check_mirrors(driver, mirror)
    _check_leases(driver, mirror)
    _check_volumes(driver, mirror)
    trace.raise_if_violated()


def check_cleared(driver: Driver) -> None:
    """Check that nothing is left of what was removed."""
    world, trace = driver.world, driver.world.trace
    for key in world.state.entries:
        if not key.startswith(("/event/", "/lease/", "/leader/")):
            trace.violated(f"{key} is left over")
    for container in world.containers.containers.values():
        if container.options.node_id not in world.removed:
            trace.violated(f"container {container.container_id} of {container.options.workload} is left over")
    for node_id, name in world.volumes.own:
        if node_id not in world.removed:
            trace.violated(f"the volume of {name} is left over on {node_id}")
    for node in world.cluster.list_nodes():
        if ports := world.containers.ports_in_use(node.id):
            trace.violated(f"ports {sorted(ports)} of {node.id} are left over")
    for loop in _loops(driver):
        if loop.ports._leased:
            trace.violated(f"{loop.node_id} still leases ports {loop.ports._leased}")
        if loop._book.instances or loop._book.keys:
            trace.violated(f"{loop.node_id} still remembers {loop._book.instances}")


def _leader(driver: Driver) -> Server | None:
    leading = [
        server
        for server in driver.servers
        if server.serves and server.orchestrator is not None and server.orchestrator.cluster_loop.leading.is_set()
    ]
    if len(leading) > 1:
        driver.world.trace.violated("two lead")
    return leading[0] if leading else None


def _loops(driver: Driver) -> list[NodeLoop]:
    loops = [agent.loop for agent in driver.agents.values() if agent.loop is not None]
    for server in driver.servers:
        if server.orchestrator is not None:
            loops.extend(server.orchestrator.node_loops.values())
    return loops


def _wanted(record: WorkloadRecord) -> int:
    """Return how many instances of a service are wanted."""
    spec, control = record.spec, record.control
    if spec is None or control.stopped or control.removed:
        return 0
    definition = spec.definition
    if control.replicas is not None and control.scaled_from == definition.replicas:
        return control.replicas
    return definition.replicas


async def _check_workload(driver: Driver, leader: Server, mirror: Mirror, record: WorkloadRecord) -> None:
    trace = driver.world.trace
    if record.spec is None or record.control.removed:
        trace.violated(f"{record.name} was to be removed and is there")
        return
    active = {name: instance for name, instance in record.instances.items() if _is_active(instance)}
    ending = {name for name, instance in record.instances.items() if not instance.ended and name not in active}
    if ending:
        trace.violated(f"{sorted(ending)} were told to stop and have not ended")
    stopped = record.control.stopped
    progress = record.progress
    if stopped and active:
        trace.violated(f"{record.name} is stopped, and {sorted(active)} are there")
    if stopped:
        return
    assert leader.orchestrator is not None
    facts = leader.orchestrator.cluster_loop.facts
    waits = dependencies_of(leader.orchestrator.world.workloads[record.name], facts)
    if progress is None or progress.started_at is None:
        if active:
            trace.violated(f"{record.name} has not started, and {sorted(active)} are there")
        _check_waiting(driver, record, waits)
        may_start = not waits.waiting_for and not waits.impossible
        wanted = record.spec.definition.kind is not WorkloadKind.SERVICE or _wanted(record) > 0
        if may_start and wanted and not await _is_unplaceable(driver, leader, record):
            trace.violated(f"{record.name} has not started, and nothing keeps it from starting")
        return
    match record.spec.definition.kind:
        case WorkloadKind.SERVICE:
            await _check_service(driver, leader, record, active)
        case WorkloadKind.BATCH:
            await _check_batch(driver, leader, record, active)
        case WorkloadKind.DAEMON:
            await _check_daemon(driver, leader, record, active)


def _is_active(instance: InstanceRecord) -> bool:
    return instance.bound is not None and instance.bound.binding.desired is DesiredState.RUN and not instance.ended


def _check_waiting(driver: Driver, record: WorkloadRecord, waits: Dependencies) -> None:
    progress = record.progress
    failed = progress is not None and progress.outcome is Outcome.FAILED
    if bool(waits.impossible) != failed:
        driver.world.trace.violated(f"{record.name}: {waits.impossible!r}, but its outcome is {progress}")


async def _is_unplaceable(
    driver: Driver, leader: Server, record: WorkloadRecord, node: NodeId | None = None, generation: int = 0
) -> bool:
    """Whether no node has room for one more instance, nor would have if it pushed out those that it may."""
    assert leader.orchestrator is not None
    assert record.spec is not None
    template = record.templates[generation or _target(record)]
    view = leader.orchestrator.cluster_loop.keeper.view()
    needed = _lacking(driver, record) if node is None else 1
    slots = tuple(InstanceKey(template.metadata.uid, 900_000 + number, 1) for number in range(needed))
    loop = leader.orchestrator.cluster_loop
    budgets = budgets_of(loop.world.workloads.values(), loop.facts)
    preempts = template.preempts and driver.world.options.preempts
    scheduler = FullScanScheduler() if preempts else SimpleScheduler()
    request = SchedulingRequest(
        workload=template, slots=slots, minimum=needed, only_node=node, preempt=preempts, budgets=budgets
    )
    decision, *_ = await scheduler.schedule(request, view)
    return isinstance(decision, NoPlacement)


def _lacking(driver: Driver, record: WorkloadRecord) -> int:
    """Return how many instances have to get a place together for one to get one."""
    assert record.spec is not None
    definition = record.spec.definition
    if definition.gang is None:
        return 1
    batch = definition.kind is WorkloadKind.BATCH
    least = definition.gang.least_of(definition.completions if batch else _wanted(record))
    there = sum(_is_active(instance) for instance in record.instances.values())
    run = (definition.metadata.uid, _target(record))
    done = sum((uid, generation) == run for uid, generation, _ in driver.world.watchdog.completions)
    return max(1, least - there - done)


def _target(record: WorkloadRecord) -> int:
    assert record.spec is not None
    progress = record.progress
    wanted = record.spec.template_generation
    if progress is not None and progress.failed_generation == wanted and progress.stable_generation:
        return progress.stable_generation
    return wanted


async def _check_service(
    driver: Driver, leader: Server, record: WorkloadRecord, active: dict[InstanceName, InstanceRecord]
) -> None:
    trace, wanted, target = driver.world.trace, _wanted(record), _target(record)
    if len(active) > wanted:
        trace.violated(f"{record.name} has {len(active)} instances of {wanted}: {sorted(active)}")
    short = len(active) < wanted and canary_at(driver.world.state, record.name) is None
    if short and not await _is_unplaceable(driver, leader, record):
        trace.violated(f"{record.name} has {len(active)} instances of {wanted}, and there is room for more")
    slots = Counter(name.slot for name in active)
    if max(slots.values(), default=1) > 1:
        trace.violated(f"{record.name} has two instances of a slot: {sorted(active)}")
    old = [name for name, i in active.items() if i.bound is not None and i.bound.binding.generation != target]
    canary = canary_at(driver.world.state, record.name)
    if canary is not None and record.progress is not None:
        await _check_canary(driver, leader, record, active, canary[2])
    elif old and not await _is_unplaceable(driver, leader, record):
        trace.violated(f"{old} do not run generation {target}")
    _check_running(driver, record, active)


async def _check_canary(
    driver: Driver, leader: Server, record: WorkloadRecord, active: dict[InstanceName, InstanceRecord], most: int
) -> None:
    """Check that as many run the new template as the canary, and all others what was there before."""
    assert record.progress is not None
    wanted, target, stable = _wanted(record), _target(record), record.progress.stable_generation
    running = Counter(i.bound.binding.generation for i in active.values() if i.bound is not None)
    new = min(most, wanted)
    # What serves of a promoted update that this one overtook stays; what lacks is of what was rolled out.
    overtaken = record.control.promoted if record.control.promoted > stable else 0
    if overtaken:
        running = Counter(stable if each == overtaken else each for each in running.elements())
    if running == Counter({stable: wanted - new, target: new}):
        return
    if running[target] > new:
        driver.world.trace.violated(f"{record.name} runs {running}, of which {new} were to be of generation {target}")
    # What there was goes first.
    lacking = stable if running[stable] < wanted - new else target
    if not await _is_unplaceable(driver, leader, record, generation=lacking):
        driver.world.trace.violated(f"{record.name} runs {running}, with a canary of {new} of {wanted} at {target}")


async def _check_batch(
    driver: Driver, leader: Server, record: WorkloadRecord, active: dict[InstanceName, InstanceRecord]
) -> None:
    trace, progress, spec = driver.world.trace, record.progress, record.spec
    assert progress is not None
    assert spec is not None
    if progress.outcome is None:
        if active or not await _is_unplaceable(driver, leader, record):
            trace.violated(f"{record.name} has no outcome: {progress}")
        return
    if active:
        trace.violated(f"{record.name} has {progress.outcome}, and {sorted(active)} are there")
    if progress.outcome is Outcome.SUCCEEDED:
        for slot in range(spec.definition.completions):
            run = (progress.uid, progress.run_generation, slot)
            if driver.world.watchdog.completions[run] != 1:
                trace.violated(f"{record.name} has succeeded without index {slot}")


async def _check_daemon(
    driver: Driver, leader: Server, record: WorkloadRecord, active: dict[InstanceName, InstanceRecord]
) -> None:
    trace, target = driver.world.trace, _target(record)
    where = Counter(i.bound.binding.node_id for i in active.values() if i.bound is not None)
    for node in driver.world.cluster.list_nodes():
        if where[node.id] > 1:
            trace.violated(f"{record.name} runs {where[node.id]} times on {node.id}")
        if where[node.id] == 0 and not await _is_unplaceable(driver, leader, record, node.id):
            trace.violated(f"{record.name} does not run on {node.id}")
    if gone := where.keys() - {node.id for node in driver.world.cluster.list_nodes()}:
        trace.violated(f"{record.name} runs on {sorted(gone)}, which are no nodes")
    for name, instance in active.items():
        bound = instance.bound
        if (
            bound is not None
            and bound.binding.generation != target
            and not await _is_unplaceable(driver, leader, record, bound.binding.node_id)
        ):
            trace.violated(f"{name} does not run generation {target}")
    _check_running(driver, record, active)


def _check_running(driver: Driver, record: WorkloadRecord, active: dict[InstanceName, InstanceRecord]) -> None:
    """Check that each container of each instance runs, once, and that the status says so."""
    trace = driver.world.trace
    live = defaultdict[tuple[InstanceKey, str], list[MockContainer]](list)
    for container in driver.world.containers.containers.values():
        if container.live:
            live[container.options.instance, container.config.name].append(container)
    for name, instance in active.items():
        assert instance.bound is not None
        template = record.templates[instance.bound.binding.generation]
        if instance.status.state is not InstanceState.RUNNING:
            trace.violated(f"{name} is {instance.status.state}, not Running")
        for config in template.containers:
            there = live[instance_key(name, instance.bound.workload_id), config.name]
            said = [status for status in instance.status.containers if status.name == config.name]
            if any(status.state is ContainerState.EXITED for status in said) and not there:
                # It has ended, and its policy starts it no more.
                continue
            if len(there) != 1:
                trace.violated(f"{name} runs container {config.name} {len(there)} times")
            elif [s.container_id for s in said if s.state is ContainerState.RUNNING] != [there[0].container_id]:
                trace.violated(f"{name}: the status of {config.name} is not that of {there[0].container_id}: {said}")


def _check_accepted(driver: Driver, mirror: Mirror) -> None:
    for name, generation in driver.accepted.items():
        record = mirror.workloads.get(WorkloadName("default", name))
        if record is None or record.spec is None or record.spec.definition.metadata.generation < generation:
            driver.world.trace.violated(f"generation {generation} of {name} was accepted and is lost")


def _check_containers(driver: Driver, mirror: Mirror) -> None:
    """Check that nothing runs that has no binding to its node, and that nothing ended is kept without its instance."""
    world = driver.world
    bound = {
        instance_key(name, record.bound.workload_id): record
        for name, record in mirror.instances.items()
        if record.bound is not None
    }
    for container in world.containers.containers.values():
        if container.options.node_id in world.removed:
            continue
        record = bound.get(container.options.instance)
        if record is None or record.bound is None:
            world.trace.violated(f"{container.container_id} of {container.options.instance} is left over")
        elif container.live and not _is_active(record):
            world.trace.violated(f"{container.container_id} of {record.name} runs although that is {record.state}")
        elif container.live and record.bound.binding.node_id != container.options.node_id:
            world.trace.violated(f"{container.container_id} of {record.name} runs on {container.options.node_id}")


def _check_mirrors(driver: Driver, mirror: Mirror) -> None:
    """Check that every program has seen every change."""
    truth = _picture(mirror)
    for server in driver.servers:
        if server.orchestrator is not None and _picture(server.orchestrator.world) != truth:
            driver.world.trace.violated(f"{server.name} sees something else than what is stored")
    for agent in driver.agents.values():
        if agent.mirror is not None and _picture(agent.mirror) != truth:
            driver.world.trace.violated(f"{agent.node_id} sees something else than what is stored")


def _picture(mirror: Mirror) -> dict[str, object]:
    picture = dict[str, object]()
    for name, record in mirror.workloads.items():
        picture[f"{name}"] = (
            record.spec_revision,
            record.control_revision,
            record.progress_revision,
            sorted(record.templates),
            sorted(record.instances),
        )
    for instance, held in mirror.instances.items():
        picture[f"{instance}"] = (held.binding_revision, held.status_revision)
    for node_id, names in mirror.nodes.items():
        picture[f"node {node_id}"] = sorted(names)
    picture["leases"] = {node_id: lease.holder for node_id, lease in mirror.leases.items()}
    return picture


def _check_leases(driver: Driver, mirror: Mirror) -> None:
    nodes = {node.id for node in driver.world.cluster.list_nodes()}
    if mirror.leases.keys() != nodes:
        driver.world.trace.violated(f"{sorted(mirror.leases)} have leases of nodes {sorted(nodes)}")
    expected = len(nodes) + len(driver.servers)
    if len(driver.world.state.leases) > expected:
        driver.world.trace.violated(f"{len(driver.world.state.leases)} leases are kept alive, not {expected}")


def _check_volumes(driver: Driver, mirror: Mirror) -> None:
    for node_id, name in driver.world.volumes.own:
        if node_id not in driver.world.removed and name not in mirror.instances:
            driver.world.trace.violated(f"the volume of {name} is left over on {node_id}")
