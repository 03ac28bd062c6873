"""The lease of a node: as long as the node keeps it, nobody else starts what is bound to the node."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio
from attrs import define, field
from orchestrion.orchestrator_core._state.records import NodeLease, lease_key
from orchestrion.shared_types import NodeId, OrchestrationError, to_json
from orchestrion.store_interface import Compare, LeaseId, LeaseNotFound, StateStore, StoreClosed


@define(eq=False)
class LeaseKeeper:
    """Keeps a node's lease while it is claimed, gets another one when it is lost, and says which of both is the case.

    Attributes:
        node_id: Which node.
        store: Where the lease is recorded.
        holder: A fresh id of this run of the node loop.
        lease_seconds: How long the node is believed alive without a word from it.
        skew_seconds: By how much two clocks may run apart; the lease is given up so long before its end.
        obtained: Called when there is a lease.
        lost: Called when it has lapsed; everything on the node is to stop.
        guard: What every write of the node loop compares, so that a former run of it can't write; None without a lease.
        lapsed: Whether others may be told by now that the node is lost.
    """

    node_id: NodeId
    store: StateStore
    holder: str
    lease_seconds: float
    skew_seconds: float
    obtained: Callable[[], None]
    lost: Callable[[], None]
    guard: Compare | None = None
    lapsed: bool = False
    _claimed: trio.Event = field(factory=trio.Event)

    def claim(self) -> None:
        """Get a lease, and keep it from now on."""
        self._claimed.set()

    def let_go(self) -> None:
        """Keep the lease no longer: it lapses, unless it is claimed again before."""
        if self._claimed.is_set():
            self._claimed = trio.Event()

    async def run(self, until: float) -> None:
        """Keep the lease while it is claimed, until cancelled.

        Args:
            until: On trio's clock: until then a former run's lease is still good for what runs.

        Raises:
            StoreClosed: The store was closed.
        """
        while True:
            held: tuple[LeaseId, float] | None = None
            with trio.move_on_at(until):
                held = await self._obtain()
            if held is not None:
                self.lapsed = False
                self.obtained()
                await self._hold(*held)
                self.guard = None
            self.lapsed = True
            self.lost()
            until = math.inf

    async def _obtain(self) -> tuple[LeaseId, float]:
        delay = 0.1
        while True:
            await self._claimed.wait()
            asked = trio.current_time()
            try:
                with trio.fail_after(self.lease_seconds):
                    lease = await self.store.grant_lease(self.lease_seconds)
                    key = lease_key(self.node_id)
                    # Whoever held it before is this node's own former loop: two never run for one node.
                    revision = await self.store.put(
                        key, to_json(NodeLease(node_id=self.node_id, holder=self.holder)), lease=lease
                    )
            except StoreClosed:
                raise
            except (OrchestrationError, trio.TooSlowError):
                await trio.sleep(delay)
                delay = min(5.0, delay * 2)
                continue
            self.guard = Compare(key, revision)
            return lease, asked + self.lease_seconds

    async def _hold(self, lease: LeaseId, deadline: float) -> None:
        """Return when the lease is lost or can no longer be trusted."""
        pause = self.lease_seconds / 4
        while True:
            await trio.sleep(pause)
            give_up = deadline - self.skew_seconds
            with trio.move_on_at(give_up):
                await self._claimed.wait()
            if not self._claimed.is_set():
                return
            asked = trio.current_time()
            try:
                with trio.fail_after(max(0.0, give_up - asked)):
                    await self.store.keep_alive(lease)
            except (LeaseNotFound, trio.TooSlowError):
                return
            except StoreClosed:
                raise
            except OrchestrationError:
                if trio.current_time() + pause >= give_up:
                    return
                continue
            deadline = asked + self.lease_seconds
