"""The lease of a node: as long as the node keeps it, nobody else starts what is bound to the node."""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import define
from orchestrion.orchestrator_core._state.records import NodeLease, lease_key
from orchestrion.shared_types import NodeId, OrchestrationError, to_json
from orchestrion.store_interface import Compare, LeaseId, LeaseNotFound, StateStore, StoreClosed


@define(eq=False)
class LeaseKeeper:
    """Keeps a node's lease, gets another one when it is lost, and says which of both is the case.

    Attributes:
        node_id: Which node.
        store: Where the lease is recorded.
        holder: A fresh id of this run of the node loop.
        lease_seconds: How long the node is believed alive without a word from it.
        skew_seconds: By how much two clocks may run apart; the lease is given up so long before its end.
        obtained: Called when there is a lease.
        lost: Called when it is lost; everything on the node is to stop.
        guard: What every write of the node loop compares, so that a former run of it can't write; None without a lease.
    """

    node_id: NodeId
    store: StateStore
    holder: str
    lease_seconds: float
    skew_seconds: float
    obtained: Callable[[], None]
    lost: Callable[[], None]
    guard: Compare | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the lease until cancelled; it counts as started once there is one.

        Raises:
            StoreClosed: The store was closed.
        """
        started = False
        while True:
            lease, deadline = await self._obtain()
            if started:
                self.obtained()
            else:
                started = True
                task_status.started()
            await self._hold(lease, deadline)
            self.guard = None
            self.lost()

    async def _obtain(self) -> tuple[LeaseId, float]:
        delay = 0.1
        while True:
            asked = trio.current_time()
            try:
                lease = await self.store.grant_lease(self.lease_seconds)
                key = lease_key(self.node_id)
                # Whoever held it before is this node's own former loop: two never run for one node.
                revision = await self.store.put(
                    key, to_json(NodeLease(node_id=self.node_id, holder=self.holder)), lease=lease
                )
            except StoreClosed:
                raise
            except OrchestrationError:
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
            asked = trio.current_time()
            give_up = deadline - self.skew_seconds
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
