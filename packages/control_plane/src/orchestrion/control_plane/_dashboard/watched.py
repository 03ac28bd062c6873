"""What single workloads used lately; it is looked at only while somebody does."""

from __future__ import annotations

from collections import OrderedDict
from functools import reduce
from operator import add
from typing import Any, Final

from attrs import define, field, frozen
from orchestrion.control_plane.usage import together
from orchestrion.orchestrator_core import Orchestrator, WorkloadName
from orchestrion.shared_types import Resources, WorkloadInstance

from .samples import Sample, Samples
from .scene import Scene
from .usage import Meter, Usage
from .workload_page import used_words

MAX_WATCHED: Final = 64
"""Of how many workloads it is kept at most: of those that were looked at last."""

MAX_SAMPLES: Final = 240
"""Twenty minutes, for somebody who looks all the time."""

UNITS: Final = {"CPU": "cores", "Memory": "bytes"}


NOTHING: Final = "Nothing is measured: nothing of it runs, or it runs where that can't be told."


def no_samples() -> Samples:
    """Return those of a workload of which nothing is known."""
    return Samples(MAX_SAMPLES, UNITS, NOTHING)


@frozen
class _Watch:
    meter: Meter
    samples: Samples = field(factory=no_samples)


@define(eq=False)
class Watched:
    """Keeps what workloads used.

    Attributes:
        orchestrator: Whose workloads.
    """

    orchestrator: Orchestrator
    _kept: OrderedDict[WorkloadName, _Watch] = field(factory=OrderedDict)

    async def look(self, scene: Scene, workload: WorkloadName) -> Usage | None:
        """Return what the instances of a workload use, now or a few seconds ago; None where nobody can say.

        What is found is for all who look; the scene is of somebody who sees its instances.
        """
        watch = self._kept.get(workload) or _Watch(Meter(self.orchestrator))
        self._kept[workload] = watch
        self._kept.move_to_end(workload)
        while len(self._kept) > MAX_WATCHED:
            self._kept.popitem(last=False)
        own = [each for each in scene.live() if (each.namespace, each.workload) == (workload.namespace, workload.name)]

        async def instances() -> list[WorkloadInstance]:
            return own

        usage = await watch.meter.latest(instances)
        if usage is not None and usage.by_instance and watch.samples.is_due(scene.now):
            used = together(usage.by_instance.values())
            wanted = reduce(add, map(scene.demand, own), Resources())
            cpu, memory = used_words(used, wanted)
            values: dict[str, float] = {"Memory": used.memory_bytes}
            if used.cpu_millicores is not None:
                values = {"CPU": used.cpu_millicores / 1000, **values}
            words = f"Now: CPU {cpu} cores, memory {memory}; the second number is what is requested."
            watch.samples.take(Sample(scene.now, values, words))
        return usage

    def shown(self, workload: WorkloadName) -> dict[str, Any]:
        """Return what a workload used as a page plots it."""
        watch = self._kept.get(workload)
        return (watch.samples if watch is not None else no_samples()).shown()
