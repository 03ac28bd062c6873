"""The scheduler."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from orchestrion.scheduler_interface import (
    ClusterView,
    InstanceOutcome,
    ScheduleDecision,
    SchedulerCapability,
    SchedulingRequest,
    check_batch,
    check_request,
    less_victims,
)
from orchestrion.scheduler_packing._ahead import Ahead
from orchestrion.scheduler_packing._deciding import Deciding, decide_alone
from orchestrion.scheduler_packing._gpu_mix import Mix
from orchestrion.scheduler_packing._gpu_nodes import GpuNodes
from orchestrion.scheduler_packing._history import NodeHistory
from orchestrion.scheduler_packing._index import Index
from orchestrion.scheduler_packing._learned import Learned
from orchestrion.scheduler_packing._lessons import Lessons
from orchestrion.scheduler_packing._profile import Profile, ProfileName, check_profile, sign_of
from orchestrion.scheduler_packing._score_nodes import ScoreNodes
from orchestrion.scheduler_packing._wanted import Wanted, wanted_of
from orchestrion.shared_types import WorkloadDefinition
from trio.lowlevel import checkpoint

CAPABILITIES: Final = frozenset(
    {
        SchedulerCapability.AFFINITY,
        SchedulerCapability.BATCH,
        SchedulerCapability.DEVICES,
        SchedulerCapability.GANG,
        SchedulerCapability.PREEMPTION,
        SchedulerCapability.SPREAD,
    }
)
MAX_HISTORIES: Final = 2
"""A view as it might be, which has no history, leaves the index of the real ones as it is."""
MAX_REMEMBERED: Final = 8192
"""What so many workloads want is remembered; the one that was met first goes first."""


class PackingScheduler:
    """Puts each slot on the node that its profile prefers, of those that can take it.

    With the profile "binpack", nodes that dislike a slot less come first, then those that are not idle, then the
    fullest over cpu, memory and devices, each as a share of the largest node's, so that other nodes stay free for
    larger slots; of equals the lowest id. With "spread" it is those that dislike it less, then idle nodes, then the
    emptiest. With "throughput" it is those that dislike it less, then the lowest id: the cheapest decision.

    With the profile "gpu", on a cluster that has GPUs, nodes that dislike a slot less come first, then those whose free
    GPUs lose least of what they are expected to take yet by taking the slot; of equals the lowest id. What to expect is
    learned from a mix of what is asked for, or, without one, from what the view shows as placed.

    With a `Profile` of one's own, a slot goes to the node with the highest weighted sum of the profile's plug-ins. That
    takes a look at the score of every node, where those profiles take one at few nodes.
    """

    def __init__(
        self,
        *,
        profile: ProfileName | Profile = "binpack",
        mix: Mix | None = None,
        learned: Learned | None = None,
        history: NodeHistory | None = None,
        observes: bool = False,
    ) -> None:
        """Make a scheduler for one cluster.

        Decisions depend on the latest lesson of each of `mix`, `learned` and `history`, too.

        Args:
            profile: What to prefer.
            mix: For the profile "gpu" and the plug-in "fragmentation", what is asked for; None takes what is placed for
                a sample of it.
            learned: For the plug-in "learned", which needs it.
            history: For the plug-in "node-history", which needs it.
            observes: Whether it feeds `mix`, `learned` and `history` by itself, those that are given, from outcomes
                that it is told of. Nobody else is to feed them then, and it has the capability OUTCOMES. As long as a
                mix has had no lesson, what is placed is taken for a sample.

        Raises:
            ValueError: There is no such profile, it has no use for what is given, or lacks what it needs; or it is to
                observe and nothing is given that it could feed.
        """
        check_profile(profile, {"mix": mix, "learned": learned, "history": history})
        if observes and mix is None and learned is None and history is None:
            msg = "a scheduler that observes outcomes needs what they are for: give mix=, learned= or history=, too"
            raise ValueError(msg)
        self._profile = profile
        # Whether an order says which nodes are preferred, on any cluster.
        self._is_ordered = isinstance(profile, str) and profile != "gpu"
        self._observes = observes
        self._lessons = Lessons(mix, learned, history)
        self._scores: dict[Index, ScoreNodes] = {}
        self._gpus: dict[Index, GpuNodes] = {}
        self._indexes: list[Index] = []
        self._wanted: OrderedDict[int, Wanted] = OrderedDict()

    @property
    def capabilities(self) -> frozenset[SchedulerCapability]:
        """The optional abilities that this scheduler has."""
        return CAPABILITIES | {SchedulerCapability.OUTCOMES} if self._observes else CAPABILITIES

    async def schedule(self, request: SchedulingRequest, view: ClusterView, /) -> list[ScheduleDecision]:
        """Decide for each slot of the request; see `Scheduler.schedule`."""
        await checkpoint()
        check_request(request)
        return self._decide(request, view, self._index_of(view))

    async def schedule_batch(
        self, requests: Sequence[SchedulingRequest], view: ClusterView, /
    ) -> list[list[ScheduleDecision]]:
        """Decide several requests, each in the view as those before it leave it; see `SupportsBatches`.

        What is decided costs what its changes would cost in a later view, and as much again to take them back.
        """
        await checkpoint()
        check_batch(requests)
        index = self._index_of(view)
        ahead = Ahead(view, index)
        seen = view
        made: list[list[ScheduleDecision]] = []
        for request in requests:
            if made:
                ahead.carry_out(requests[len(made) - 1].workload, made[-1])
                seen = ahead
            made.append(self._decide(less_victims(request, made), seen, index))
        ahead.back()
        return made

    def _decide(self, request: SchedulingRequest, view: ClusterView, index: Index) -> list[ScheduleDecision]:
        """Decide a request that is as it should be, in a view that the index shows."""
        wanted = self._wanted_of(request.workload)
        gpus = scores = None
        if not self._is_ordered:
            gpus, scores = self._gpus_of(index), self._scores_of(index)
        if gpus is None and scores is None:
            alone = decide_alone(request, wanted, index)
            if alone is not None:
                return [alone]
        return Deciding(request, wanted, view, index, CAPABILITIES, gpus, scores).decide()

    def observe(self, outcomes: Iterable[InstanceOutcome], /, *, now_seconds: float) -> None:
        """Take in what has become of instances; see `SupportsOutcomes`. Does nothing without `observes`."""
        if self._observes:
            self._lessons.observe(outcomes, now_seconds)

    @property
    def lessons(self) -> int:
        """How often what it learned from outcomes has changed."""
        return self._lessons.changes

    def remembered(self) -> bytes:
        """Return what it learned from outcomes, as JSON: the latest 2,048 events, and what is counted and weighed."""
        return self._lessons.to_json()

    def recall(self, data: bytes, /) -> None:
        """Go on from what another one with the same profile remembered; see `SupportsOutcomes`.

        The objects that it was made with are fed no more: others take their places.

        Raises:
            ValueError: The data is none that `remembered` returns; nothing has changed.
        """
        self._lessons = self._lessons.recalled(data)
        self._scores.clear()
        self._gpus.clear()

    def prepare(self, view: ClusterView | None = None, /) -> None:
        """Look at a view before there is a request, which makes the next decisions faster and changes none of them.

        Without a view, it looks at those that were shown last. With the profile "gpu" that includes working out tables
        for the mix's latest lesson, which takes up to tenths of a second.

        Raises:
            InvalidSchedulingRequest: The view has more nodes than can be told apart.
        """
        for index in list(self._indexes) if view is None else [self._index_of(view)]:
            self._gpus_of(index)
            scores = self._scores_of(index)
            if scores is not None:
                scores.show()

    def _gpus_of(self, index: Index) -> GpuNodes | None:
        """Return what there is to know of an index's GPUs, up to date; None where nothing depends on it."""
        if self._profile != "gpu":
            return None
        gpus = self._gpus.get(index)
        if gpus is None:
            self._gpus = {each: known for each, known in self._gpus.items() if each in self._indexes}
            gpus = self._gpus[index] = GpuNodes(index, self._lessons.mix, samples=self._observes)
        return gpus if gpus.show() else None

    def _scores_of(self, index: Index) -> ScoreNodes | None:
        """Return what plug-ins know of an index's nodes; None where the profile has none."""
        if not isinstance(self._profile, Profile):
            return None
        scores = self._scores.get(index)
        if scores is None:
            self._scores = {each: known for each, known in self._scores.items() if each in self._indexes}
            known = self._lessons
            scores = self._scores[index] = ScoreNodes(
                index, self._profile, mix=known.mix, learned=known.learned, history=known.history
            )
        return scores

    def _index_of(self, view: ClusterView) -> Index:
        """Return an index that shows a view, of a cluster's history the same one again."""
        for known in self._indexes:
            if known.go_on_to(view):
                return known
        if len(self._indexes) == MAX_HISTORIES:
            # The one that was gone on with least is of a view as it might be, or of a cluster that is left.
            self._indexes.remove(min(self._indexes, key=lambda each: each.continued))
            for other in self._indexes:
                other.continued //= 2
        index = Index(sign_of(self._profile))
        self._indexes.insert(0, index)
        index.show(view)
        return index

    def _wanted_of(self, workload: WorkloadDefinition) -> Wanted:
        """Return what a workload wants; the object is remembered with it, so that its identity stays its own."""
        known = self._wanted.get(id(workload))
        if known is not None:
            return known
        wanted = self._wanted[id(workload)] = wanted_of(workload)
        if len(self._wanted) > MAX_REMEMBERED:
            self._wanted.popitem(last=False)
        return wanted
