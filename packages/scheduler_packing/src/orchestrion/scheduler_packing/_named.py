"""Profiles under names of their own, for whoever chooses a scheduler by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from orchestrion.scheduler_packing._gpu_mix import Mix
from orchestrion.scheduler_packing._history import NodeHistory
from orchestrion.scheduler_packing._learned import Learned
from orchestrion.scheduler_packing._profile import Profile
from orchestrion.scheduler_packing._scheduler import PackingScheduler

_WISHES: Final[Mapping[str, int]] = {
    "node-affinity": 2,
    "instance-affinity": 2,
    "topology-spread": 4,
    "prefer-no-schedule": 8,
}
"""What workloads and nodes ask for, in profiles that are sums."""


def spreading() -> PackingScheduler:
    """Return a scheduler with the profile "spread"."""
    return PackingScheduler(profile="spread")


def for_gpus() -> PackingScheduler:
    """Return a scheduler with the profile "gpu" that learns what is asked for from outcomes."""
    return PackingScheduler(profile="gpu", mix=Mix(), observes=True)


def for_throughput() -> PackingScheduler:
    """Return a scheduler with the profile "throughput"."""
    return PackingScheduler(profile="throughput")


def with_history() -> PackingScheduler:
    """Return a scheduler that packs tightly, and sends less to nodes that failed starts lately."""
    profile = Profile(name="history", weights={"binpack": 2, "node-history": 4, **_WISHES})
    return PackingScheduler(profile=profile, history=NodeHistory(), observes=True)


def learning() -> PackingScheduler:
    """Return a scheduler that packs tightly, and where instances are likely to fare well."""
    profile = Profile(name="learning", weights={"binpack": 2, "learned": 4, "node-history": 4, **_WISHES})
    return PackingScheduler(profile=profile, learned=Learned(), history=NodeHistory(), observes=True)
