"""What a kit is given to prove."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from attrs import define
from orchestrion.runtime_interface import ContainerRuntime
from orchestrion.shared_types import ContainerConfig, NodeId, UidFactory, new_uid

from ._behaviour import SAMPLES, Behaviour


@define(kw_only=True, eq=False)
class RuntimeUnderTest:
    """A runtime, and what the kit needs beyond the interface. What is None, the checks that need it skip by name.

    Attributes:
        runtime: A runtime for which `init_node` was not called yet.
        node_ids: One or more nodes that it can run on.
        config_for: Returns a config that behaves so, or None where there is none; `Exits` and `Sleeps` are never None.
            The kit changes the name and adds ports and variables; all the rest it leaves as it is.
        command_for: Returns a command that behaves so inside a container; None takes command and args of the config.
        reopen: Lets go of the runtime as a crash of the program would, and opens another on the same containers.
        starts: How often a container with this token was started, ever.
        processes: How many processes with this token run now.
        free_port: Returns a host port of the first node that nothing uses.
        occupied_port: Has something outside the runtime use a host port of the first node, and says which.
        unknown_node: A node that the runtime has no way to.
        log_budget_bytes: About how many bytes of a stream are kept; the kit prints three times as much to see what is
            given up.
        patience_seconds: The longest that the engine may take to start or to end something.
        settle_seconds: How long after it runs a container without a log may take to be as its behaviour says.
        new_uid: Makes ids that were never used.
    """

    runtime: ContainerRuntime
    node_ids: tuple[NodeId, ...]
    config_for: Callable[[Behaviour], ContainerConfig | None]
    command_for: Callable[[Behaviour], tuple[str, ...] | None] | None = None
    reopen: Callable[[], Awaitable[ContainerRuntime]] | None = None
    starts: Callable[[str], Awaitable[int]] | None = None
    processes: Callable[[str], Awaitable[int]] | None = None
    free_port: Callable[[], int] | None = None
    occupied_port: Callable[[], AbstractAsyncContextManager[int]] | None = None
    unknown_node: NodeId | None = NodeId("no-such-node")
    log_budget_bytes: int | None = None
    patience_seconds: float = 30.0
    settle_seconds: float = 0.5
    new_uid: UidFactory = new_uid

    @property
    def other_node(self) -> NodeId | None:
        """A second node, or None."""
        return self.node_ids[1] if len(self.node_ids) > 1 else None

    def __getattr__(self, name: str) -> Any:
        """Return the config for the kind of behaviour of that name, so that a check can need it by name."""
        if name not in SAMPLES:
            raise AttributeError(name)
        return self.config_for(SAMPLES[name])
