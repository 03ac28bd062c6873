"""The profiles that an index backs, each under a name of its own for whoever chooses a scheduler by one."""

from __future__ import annotations

from orchestrion.scheduler_packing._scheduler import PackingScheduler


def spreading() -> PackingScheduler:
    """Return a scheduler with the profile "spread"."""
    return PackingScheduler(profile="spread")


def for_gpus() -> PackingScheduler:
    """Return a scheduler with the profile "gpu"."""
    return PackingScheduler(profile="gpu")


def for_throughput() -> PackingScheduler:
    """Return a scheduler with the profile "throughput"."""
    return PackingScheduler(profile="throughput")
