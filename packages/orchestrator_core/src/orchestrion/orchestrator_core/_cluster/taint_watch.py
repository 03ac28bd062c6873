"""Since when nodes have taints that end what runs: on record, so that no restart begins to count anew."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define
from orchestrion.orchestrator_core._clock import WallClock
from orchestrion.orchestrator_core._cluster.leadership import Leadership, LeadershipLost
from orchestrion.orchestrator_core._queue import KeyedQueue
from orchestrion.orchestrator_core._state.records import LEADER_KEY, NodeTaints, taints_key
from orchestrion.orchestrator_core._state.taints import evicting_taints, taint_text
from orchestrion.orchestrator_core._state.world import World
from orchestrion.shared_types import Node, NodeId, OrchestrationError
from orchestrion.store_interface import ABSENT, Compare, Delete, Operation, RevisionConflict, StateStore, StoreClosed


@define(eq=False)
class TaintWatch:
    """Records when each taint that ends what runs was first seen, and forgets it once the taint is gone.

    Attributes:
        store: Where that is recorded.
        world: The mirror of the store.
        nodes: Every node of the cluster, by id.
        now: The wall clock.
        queue: Nodes to look at.
    """

    store: StateStore
    world: World
    nodes: Mapping[NodeId, Node]
    now: WallClock
    queue: KeyedQueue[NodeId]

    def __attrs_post_init__(self) -> None:
        # While a record was being written the taint may have gone.
        self.world.on_taints(self.look_at)

    def look_at(self, node_id: NodeId) -> None:
        """Look at a node that has come, changed or gone; a node without such taints costs nothing."""
        if node_id in self.world.taints or evicting_taints(self.nodes.get(node_id)):
            self.queue.add(node_id)

    async def run(self, leadership: Leadership) -> None:
        """Keep the records up to date, while this one leads.

        Raises:
            LeadershipLost: Another one leads, or the store does not answer in time.
            StoreClosed: The store was closed.
        """
        for node_id in [*self.nodes, *self.world.taints]:
            self.look_at(node_id)
        while True:
            node_id = await self.queue.take()
            try:
                await self._note(node_id, leadership)
            except RevisionConflict as err:
                if err.key == LEADER_KEY:
                    msg = "another cluster loop leads"
                    raise LeadershipLost(msg) from err
                self.queue.failed(node_id)
            except (StoreClosed, LeadershipLost):
                raise
            except OrchestrationError:
                self.queue.failed(node_id)
            else:
                self.queue.done(node_id)
            finally:
                # The lead may end in the middle, and the queue outlives it.
                self.queue.release(node_id)

    async def _note(self, node_id: NodeId, leadership: Leadership) -> None:
        known, revision = self.world.taints.get(node_id), self.world.taint_revisions.get(node_id)
        before = known.seen if known is not None else {}
        now = self.now()
        seen = {text: before.get(text, now) for text in map(taint_text, evicting_taints(self.nodes.get(node_id)))}
        if seen == dict(before):
            return
        key = taints_key(node_id)
        write: Operation = self.world.put(key, NodeTaints(seen=seen)) if seen else Delete(key)
        compare = Compare(key, ABSENT if revision is None else revision)
        with leadership.in_time("to note when taints were seen"):
            written = await self.store.transaction((leadership.fence, compare), (write,))
            await self.world.wait_for(written)
