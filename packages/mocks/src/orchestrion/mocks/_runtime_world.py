"""The world that mock runtimes act on: what a test does to it, and what it sees of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field
from orchestrion.runtime_interface import LogStream
from orchestrion.shared_types import ContainerId, ExitStatus, InstanceKey, NodeId, Protocol

from ._runtime_behaviour import SIGKILL, MockBehaviour, Output
from ._runtime_engine import MockEngine
from ._runtime_exec import MockExecSession
from ._runtime_records import MockContainer

_NODE_KILLED: Final = ExitStatus(signal=SIGKILL, reason="node-killed", message="the node went down")

ExecScript = Callable[[MockContainer, tuple[str, ...]], MockBehaviour | None]
"""Chooses what a command in a container does; None leaves it to the command."""


@define(eq=False)
class ContainerWorld(MockEngine):
    """Nodes and their containers. It outlives any `MockRuntime`: open another on it, and the containers are there.

    A world may be used in several trio runs one after another, if its clock goes on. It takes the arguments of
    `MockEngine` and has its attributes.

    Attributes:
        exec_script: Chooses what a command in a container does; None leaves it to `behaviour_of`.
        sessions: Commands that run in containers.
    """

    exec_script: ExecScript | None = field(default=None, kw_only=True)
    sessions: list[MockExecSession] = field(factory=list, init=False)

    # What a test does to the world

    def add_node(self, node_id: NodeId) -> None:
        """Let a node exist."""
        if self.node_ids is not None:
            self.node_ids.add(node_id)

    def exit(self, container_id: ContainerId, status: ExitStatus) -> None:
        """Let a container end now; one that has ended stays as it is.

        Raises:
            ContainerNotFound: No such container.
        """
        self._end(self.container(container_id), self.clock(), status)

    def write(self, container_id: ContainerId, data: bytes, *, stream: LogStream = LogStream.STDOUT) -> None:
        """Let a container write now.

        Raises:
            ContainerNotFound: No such container.
        """
        self._write(self.container(container_id), self.clock(), Output(data=data, stream=stream))

    def vanish(self, container_id: ContainerId) -> None:
        """Let a container be gone without a trace, as if somebody had removed it by hand; no hint is given."""
        container = self.containers.get(container_id)
        if container is not None:
            self.remove(container)

    def kill_node(self, node_id: NodeId) -> None:
        """Let all containers of a node end, and the node not answer until `heal`."""
        node = self.node(node_id)
        self.advance(node)
        for container in node.containers.values():
            self._end(container, self.clock(), _NODE_KILLED)
        self.partition(node_id)

    def partition(self, node_id: NodeId) -> None:
        """Let calls about a node raise `RuntimeUnavailable` until `heal`; its containers go on."""
        node = self.node(node_id)
        node.reachable = False
        node.wake_all()
        for listener in node.listeners:
            listener(None)

    def heal(self, node_id: NodeId) -> None:
        """Let a node answer again."""
        node = self.node(node_id)
        node.reachable = True
        node.wake_all()
        for listener in node.listeners:
            listener(None)

    def occupy_port(self, node_id: NodeId, port: int, *, protocol: Protocol = Protocol.TCP) -> None:
        """Let something else on the node use a host port."""
        self.node(node_id).ports.add((protocol, port))

    def release_port(self, node_id: NodeId, port: int, *, protocol: Protocol = Protocol.TCP) -> None:
        """Let nothing use a host port any more."""
        self.node(node_id).ports.discard((protocol, port))

    # What a test sees of the world

    def live_incarnations(self) -> dict[InstanceKey, tuple[NodeId, ...]]:
        """Return the nodes on which containers of each incarnation run now, each node once."""
        found: dict[InstanceKey, dict[NodeId, None]] = {}
        for node in self.nodes.values():
            self.advance(node)
            for container in node.containers.values():
                if container.live:
                    found.setdefault(container.options.instance, {})[node.node_id] = None
        return {instance: tuple(nodes) for instance, nodes in found.items()}

    def ports_in_use(self, node_id: NodeId) -> frozenset[int]:
        """Return the host ports in use on a node."""
        node = self.node(node_id)
        self.advance(node)
        return frozenset(port for _, port in node.ports)

    def starts_of(self, token: str) -> int:
        """Return how often a container with this token in its command was started."""
        return self._tokens[token]

    def processes_of(self, token: str) -> int:
        """Return how many processes with this token run now, those of commands in containers too."""
        for node in self.nodes.values():
            self.advance(node)
        running = sum(c.behaviour.processes for c in self.containers.values() if c.live and c.behaviour.token == token)
        return running + sum(session.behaviour.token == token for session in self.sessions if not session.ended)
