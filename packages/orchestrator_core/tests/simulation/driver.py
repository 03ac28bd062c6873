"""What happens to the programs and their world: everything that authors, operators and bad luck do."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import ClassVar, Final

import trio
from attrs import define, evolve, field
from orchestrion.mocks import SimulatedCrash, mock_nodes
from orchestrion.orchestrator_core import ApplyResult, Orchestrator
from orchestrion.orchestrator_core._state.records import WorkloadControl, WorkloadSpec
from orchestrion.shared_types import (
    ExitStatus,
    Node,
    NodeId,
    NodeStatus,
    OrchestrationError,
    Placement,
    Resources,
    WorkloadDefinition,
    WorkloadKind,
    from_json,
)

from .programs import Agent, Program, Server
from .storm import Life
from .workloads import BATCHES, BROKEN, DAEMONS, QUALITY, SERVICES, workload
from .world import World

PATIENCE_SECONDS: Final = 15.0
"""Whoever asks a server gives up after so long."""

FENCING_SECONDS: Final = 20.0
"""So long after it could be reached again a node has surely stopped what it has lost: longer than a lease."""

CAREFUL: Final = 0.25
"""So often, after each thing that happens, an update with a canary is tried out, or promoted."""

NAMES: Final = (*SERVICES, *BATCHES, *DAEMONS)


@define(eq=False)
class Driver:
    """Lets things happen.

    Attributes:
        world: Where.
        nursery: Where programs run.
        servers: Programs with a cluster loop.
        agents: Programs with a node loop, by node; none where they are not separated.
        accepted: The generation of each workload that was accepted last and not removed since.
    """

    world: World
    nursery: trio.Nursery
    servers: list[Server] = field(factory=list)
    agents: dict[NodeId, Agent] = field(factory=dict)
    accepted: dict[str, int] = field(factory=dict)
    _nodes_made: int = 0
    _steps: int = 0

    def begin(self) -> None:
        """Make the nodes and start the programs."""
        options = self.world.options
        for _ in range(options.nodes):
            self.add_node()
        for number in range(options.servers):
            server = Server(f"server {number}", self.world)
            self.servers.append(server)
            self.nursery.start_soon(server.program.supervise)
        self.world.can_fence = self._can_fence

    def _can_fence(self, node_id: NodeId) -> bool:
        """Whether a node's loop has been able to stop what it runs since it lost its lease."""
        world = self.world
        if world.options.rates["runtime"][0] or not world.containers.node(node_id).reachable:
            return False
        if trio.current_time() < world.shaken.get(node_id, 0.0) + FENCING_SECONDS:
            return False
        if any(trio.current_time() < life.born + FENCING_SECONDS for life in self.lives()):
            # Whoever has just come back is about to stop what others have been given.
            return False
        if world.options.separated:
            agent = self.agents.get(node_id)
            return agent is not None and agent.program.up and agent.loop is not None and agent.loop.ready.is_set()
        return any(
            server.serves and server.orchestrator is not None and self._has_loop(server.orchestrator, node_id)
            for server in self.servers
        )

    def _has_loop(self, orchestrator: Orchestrator, node_id: NodeId) -> bool:
        loop = orchestrator.node_loops.get(node_id)
        return loop is not None and loop.ready.is_set()

    # -- nodes ----------------------------------------------------------------------------------------------------

    def add_node(self) -> None:
        """Add a node, and its agent where nodes have one."""
        self._nodes_made += 1
        capacity = Resources(
            cpu_millicores=self.world.options.node_millicores, memory_bytes=16 << 30, disk_bytes=100 << 30
        )
        (blank,) = mock_nodes(1, capacity=capacity)
        name = f"node-{self._nodes_made}"
        labels = {"disk": "fast"} if self.world.random.random() < 0.6 else {}
        node = evolve(blank, id=NodeId(name), name=name, labels=labels)
        self.world.trace.add(f"{name} comes with labels {labels}")
        self.world.cluster.add_node(node)
        if self.world.options.separated:
            agent = self.agents[node.id] = Agent(node.id, self.world)
            self.nursery.start_soon(agent.program.supervise)

    def remove_node(self, node_id: NodeId) -> None:
        """Switch a node off and take it away for good."""
        self.world.removed.add(node_id)
        # Its disk goes with it.
        for holder, name in list(self.world.volumes.own):
            if node_id in (holder, self.world.watchdog.place_of(name)):
                del self.world.volumes.own[holder, name]
        self.world.containers.kill_node(node_id)
        if node_id in self.agents:
            self.agents.pop(node_id).program.end()
        self.world.cluster.remove_node(node_id)

    def any_node(self) -> Node:
        """Return one of the nodes."""
        return self.world.random.choice(self.world.cluster.list_nodes())

    # -- asking servers -------------------------------------------------------------------------------------------

    async def ask(self, what: str, call: Callable[[Orchestrator], Awaitable[object]]) -> bool:
        """Ask a server for something, and return whether it did it."""
        world = self.world
        serving = [server.orchestrator for server in self.servers if server.serves and server.orchestrator is not None]
        if not serving:
            return False
        world.trace.add(f"ask: {what}")
        answer = "no answer"
        with trio.move_on_after(PATIENCE_SECONDS):
            try:
                await call(world.random.choice(serving))
            except OrchestrationError as err:
                answer = f"{type(err).__name__}: {err.message}"
            except SimulatedCrash:
                answer = "it crashed"
            else:
                answer = ""
        if answer:
            world.trace.add(f"refused: {what}: {answer}")
        return not answer

    async def apply(self, name: str, *, good: bool, anywhere: bool = False) -> bool:
        """Apply a workload, and return whether it was accepted; `anywhere` lets it run on every node."""
        definition = workload(name, self.world.random, good=good)
        if anywhere:
            definition = evolve(definition, placement=Placement())
        return await self.want(definition, "good" if good else "bad")

    async def want(self, definition: WorkloadDefinition, how: str) -> bool:
        """Apply a definition, and return whether it was accepted."""
        results = list[ApplyResult]()

        async def call(orchestrator: Orchestrator) -> None:
            results.append(await orchestrator.apply([definition]))

        done = await self.ask(f"apply {definition.metadata.name}, {how}", call)
        for result in results:
            for change in result.changes:
                self.accepted[change.name] = change.generation
        return done

    async def remove(self, name: str) -> None:
        """Remove a workload."""
        self.accepted.pop(name, None)
        await self.ask(f"remove {name}", lambda orchestrator: orchestrator.remove(name))

    async def author(self) -> None:
        """Let an author or operator want something."""
        chance = self.world.random
        name = chance.choice(NAMES)
        match chance.choice(("apply", "apply", "apply", "bad", "scale", "scale", "stop", "remove")):
            case "apply":
                await self.apply(name, good=True)
            case "bad":
                await self.apply(name, good=False)
            case "scale":
                replicas = chance.choice((None, 0, 1, 2, 3, 5))
                await self.ask(f"scale {name} to {replicas}", lambda o: o.scale(name, replicas))
            case "stop":
                await self.ask(f"stop {name}", lambda o: o.stop(name))
            case "remove":
                await self.remove(name)

    async def careful(self) -> None:
        """Let an author try out an update or take it back, or an operator let one go on."""
        self._steps += 1
        # A chance of its own, so that what else a seed does stays as it is.
        own = random.Random(f"careful {self.world.options.seed} {self._steps}")
        names = sorted(self.accepted.keys() & set(SERVICES))
        if names and own.random() < CAREFUL:
            name = own.choice(names)
            if await self._try_out(name, own, good=own.random() < 0.8) and own.random() < 0.5:
                await trio.sleep(own.choice((0.0, 1.0, 5.0)))
                await self._take_back(name, own)
        elif names and own.random() < CAREFUL:
            await self.promote(own.choice(names))
        elif names and own.random() < CAREFUL:
            await self._take_back(own.choice(names), own)

    async def careful_end(self) -> bool:
        """Try out updates once all is well, and let some of them go on; return whether there are any."""
        own = random.Random(f"careful end {self.world.options.seed}")
        names = [name for name in sorted(self.accepted.keys() & set(SERVICES)) if own.random() < CAREFUL]
        for name in names:
            if await self._try_out(name, own, good=True) and own.random() < 0.5:
                await trio.sleep(own.choice((0.0, 5.0, 60.0)))
                await self.promote(name)
        return bool(names)

    async def _try_out(self, name: str, own: random.Random, *, good: bool) -> bool:
        definition = evolve(
            workload(name, own, good=good), replicas=own.randint(1, 3), gang=None, placement=Placement()
        )
        update = evolve(definition.update, canary=own.randint(1, min(2, definition.replicas)))
        return await self.want(evolve(definition, update=update), "careful")

    async def _take_back(self, name: str, own: random.Random) -> None:
        """Let an author want again what a workload ran before, of whatever generation that is still known."""
        prefix = f"/template/default/{name}."
        entries = [entry for key, entry in sorted(self.world.state.entries.items()) if key.startswith(prefix)]
        if len(entries) > 1:
            known = from_json(own.choice(entries[:-1]).value, WorkloadDefinition)
            await self.want(evolve(known, metadata=evolve(known.metadata, annotations={})), "again")

    async def promote(self, name: str) -> bool:
        """Let an update go on beyond its canary, and return whether there was one."""
        return await self.ask(f"promote {name}", lambda orchestrator: orchestrator.promote(name))

    # -- bad luck -------------------------------------------------------------------------------------------------

    async def upheaval(self, kind: str) -> None:
        """Let something happen."""
        self.world.trace.add(f"upheaval: {kind}")
        self.world.storm.counts[kind] += 1
        await self.PLANS[kind](self)

    async def _kill_server(self) -> None:
        self.world.random.choice(self.servers).program.kill(self.world.random.choice((0.0, 2.0, 15.0)))

    async def _kill_agent(self) -> None:
        if self.agents:
            agent = self.agents[self.any_node().id]
            agent.program.kill(self.world.random.choice((0.0, 2.0, 25.0)))

    async def _cut_agent(self) -> None:
        if self.agents:
            life = self.agents[self.any_node().id].program.life
            life.cut = True
            life.reset()

    async def _cut_server(self) -> None:
        life = self.world.random.choice(self.servers).program.life
        life.cut = True
        life.reset()

    async def _mend(self) -> None:
        for life in self.lives():
            life.cut = False

    async def _partition_node(self) -> None:
        self.world.containers.partition(self.any_node().id)

    async def _kill_node(self) -> None:
        node_id = self.any_node().id
        self.world.containers.kill_node(node_id)
        if node_id in self.agents:
            self.agents[node_id].program.kill(self.world.random.choice((2.0, 30.0)))
        else:
            self.world.cluster.set_status(node_id, NodeStatus.DOWN)

    async def _lose_sight(self) -> None:
        self.world.cluster.set_status(self.any_node().id, NodeStatus.UNKNOWN)

    async def _heal_node(self) -> None:
        node_id = self.any_node().id
        self.world.shaken[node_id] = trio.current_time()
        self.world.containers.heal(node_id)
        self.world.cluster.set_status(node_id, NodeStatus.READY)

    async def _drain(self) -> None:
        node_id = self.any_node().id
        self.world.watchdog.emptied.add(node_id)
        deadline = self.world.random.choice((None, self.world.now() + timedelta(seconds=10)))
        await self.ask(f"drain {node_id}", lambda o: o.drain_node(node_id, reason="repair", deadline=deadline))

    async def _cordon(self) -> None:
        node_id = self.any_node().id
        await self.ask(f"cordon {node_id}", lambda o: o.cordon_node(node_id))

    async def _uncordon(self) -> None:
        node_id = self.any_node().id
        await self.ask(f"uncordon {node_id}", lambda o: o.uncordon_node(node_id))

    async def _add_node(self) -> None:
        if len(self.world.cluster.list_nodes()) < 6:
            self.add_node()

    async def _remove_node(self) -> None:
        if len(self.world.cluster.list_nodes()) > 1:
            self.remove_node(self.any_node().id)

    async def _label(self) -> None:
        node = self.any_node()
        labels = {} if node.labels else {"disk": "fast"}
        self.world.cluster.update_node(evolve(node, labels=labels))

    async def _taint(self) -> None:
        node = self.any_node()
        self.world.watchdog.emptied.add(node.id)
        self.world.cluster.update_node(evolve(node, taints=() if node.taints else (BROKEN,)))

    async def _compact(self) -> None:
        await self.world.store.compact(self.world.state.revision)

    async def _wall_clock(self) -> None:
        jump = self.world.random.choice((-3600.0, -5.0, 5.0, 30.0, 3600.0))
        self.world.trace.add(f"the wall clock jumps by {jump} s")
        self.world.wall_offset += timedelta(seconds=jump)

    async def _exit_container(self) -> None:
        living = [container for container in self.world.containers.containers.values() if container.live]
        if living:
            status = self.world.random.choice((ExitStatus(code=0), ExitStatus(code=1), ExitStatus(signal=9)))
            self.world.containers.exit(self.world.random.choice(living).container_id, status)

    async def _vanish_container(self) -> None:
        there = list(self.world.containers.containers.values())
        if there:
            chosen = self.world.random.choice(there)
            self.world.watchdog.vanished.add(chosen.key)
            self.world.containers.vanish(chosen.container_id)

    async def _sicken_container(self) -> None:
        living = [container for container in self.world.containers.containers.values() if container.live]
        if living:
            self.world.sick.add(self.world.random.choice(living).container_id)

    async def _take_ports(self) -> None:
        node_id = self.any_node().id
        for port in range(20_000, 20_000 + self.world.random.choice((1, 4, 40))):
            if port not in self.world.containers.ports_in_use(node_id):
                self.world.containers.occupy_port(node_id, port)
                self.world.taken_ports.append((node_id, port))

    async def _reset_calls(self) -> None:
        for life in self.lives():
            life.reset()

    def lives(self) -> list[Life]:
        """Return the current life of every program."""
        return [program.life for program in self.programs()]

    def programs(self) -> list[Program]:
        """Return every program."""
        return [*(server.program for server in self.servers), *(agent.program for agent in self.agents.values())]

    # -- healing --------------------------------------------------------------------------------------------------

    async def heal(self) -> None:
        """End all faults, and give what does not work something that does."""
        world = self.world
        world.trace.add("all heals")
        world.storm.on = False
        world.sick.clear()
        for node_id, port in world.taken_ports:
            world.containers.release_port(node_id, port)
        world.taken_ports.clear()
        for node in world.cluster.list_nodes():
            world.shaken[node.id] = trio.current_time()
            world.containers.heal(node.id)
            world.cluster.update_node(evolve(node, status=NodeStatus.READY, cordoned=False, drain=None, taints=()))
        for life in self.lives():
            life.cut = False
            life.reset()

    async def repair(self) -> None:
        """Apply a good template where a bad one was applied; all is well, so nobody may refuse it."""
        while not any(server.serves for server in self.servers):
            await trio.sleep(1.0)
            self.world.trace.raise_if_violated()
        for key, entry in sorted(self.world.state.entries.items()):
            if not key.startswith("/workload/") or not key.endswith("/spec"):
                continue
            definition = from_json(entry.value, WorkloadSpec).definition
            control = self.world.state.entries.get(key.removesuffix("spec") + "control")
            if control is not None and from_json(control.value, WorkloadControl).removed:
                continue
            name = definition.metadata.name
            needs = [dependency.workload for dependency in definition.after]
            if any(f"/workload/default/{other}/spec" not in self.world.state.entries for other in needs):
                await self.remove(name)
            elif definition.metadata.labels[QUALITY] == "bad" and not await self.apply(name, good=True, anywhere=True):
                self.world.trace.violated(f"{name} was refused although all is well")
            if definition.kind is WorkloadKind.SERVICE and self._knows_bad(name):
                # What there was before may be what does not work.
                await self.promote(name)

    def _knows_bad(self, name: str) -> bool:
        """Whether a template of a workload is kept that does not work."""
        templates = [
            each for key, each in self.world.state.entries.items() if key.startswith(f"/template/default/{name}.")
        ]
        return any(from_json(each.value, WorkloadDefinition).metadata.labels[QUALITY] == "bad" for each in templates)

    PLANS: ClassVar[Mapping[str, Callable[[Driver], Awaitable[None]]]] = {
        "kill server": _kill_server,
        "kill agent": _kill_agent,
        "cut agent": _cut_agent,
        "cut server": _cut_server,
        "mend": _mend,
        "partition node": _partition_node,
        "kill node": _kill_node,
        "heal node": _heal_node,
        "drain": _drain,
        "cordon": _cordon,
        "uncordon": _uncordon,
        "add node": _add_node,
        "remove node": _remove_node,
        "label": _label,
        "compact": _compact,
        "wall clock": _wall_clock,
        "exit container": _exit_container,
        "vanish container": _vanish_container,
        "sicken container": _sicken_container,
        "take ports": _take_ports,
        "reset calls": _reset_calls,
        "lose sight": _lose_sight,
        "taint": _taint,
    }
