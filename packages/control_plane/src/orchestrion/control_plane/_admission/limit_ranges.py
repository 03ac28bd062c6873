"""What each container of a namespace asks for: at least, at most, and where it does not say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve, frozen
from orchestrion.control_plane._objects.specs import LimitRangeSpec
from orchestrion.shared_types import (
    WHOLE_DEVICE,
    ConfigInvalid,
    ContainerConfig,
    GpuRequest,
    Problem,
    Resources,
    WorkloadDefinition,
)

from .amounts import CPU, DISK, GPUS, MEMORY, Amounts, limits_of, requests_of, resources_of, written


@frozen(kw_only=True)
class LimitRange:
    """A limit range, in the units that are counted in.

    Attributes:
        name: Its name.
        default: What a container gets that does not say.
        min: The least it may ask for.
        max: The most it may ask for, or be allowed to use.
    """

    name: str
    default: Amounts
    min: Amounts
    max: Amounts


def limit_range_of(name: str, spec: LimitRangeSpec) -> LimitRange:
    """Return the limit range that a spec stands for.

    Raises:
        ConfigInvalid: What it gives to those that do not say is not between its own bounds, or these are crossed.
    """
    found = LimitRange(name=name, default=limits_of(spec.default), min=limits_of(spec.min), max=limits_of(spec.max))
    problems = list[Problem]()
    for lower, upper, place in ((found.min, found.max, "min"), (found.min, found.default, "min")):
        for key in lower.keys() & upper.keys():
            if lower[key] > upper[key]:
                what = "max" if upper is found.max else "default"
                text = f"{written(key, lower[key])} is more than the {what}, {written(key, upper[key])}"
                problems.append(Problem(text, path=f"spec.{place}.{key}"))
    for key in found.default.keys() & found.max.keys():
        if found.default[key] > found.max[key]:
            text = f"{written(key, found.default[key])} is more than the max, {written(key, found.max[key])}"
            problems.append(Problem(text, path=f"spec.default.{key}"))
    if problems:
        raise ConfigInvalid(tuple(problems))
    return found


def with_defaults(definition: WorkloadDefinition, ranges: Sequence[LimitRange]) -> WorkloadDefinition:
    """Return a definition in which every container says what it asks for; the same one where each does already.

    Of several limit ranges the first, by name, that has a default for something gives it. A container that limits
    itself to less than the default gets no more than that.
    """
    default = dict[str, int]()
    for each in ranges:
        default = {**each.default, **default}
    containers = tuple(_with_default(container, default) for container in definition.containers)
    same = all(after is before for after, before in zip(containers, definition.containers, strict=True))
    return definition if same else evolve(definition, containers=containers)


def _with_default(container: ContainerConfig, default: Mapping[str, int]) -> ContainerConfig:
    asked = requests_of(container)
    limits = resources_of(container.limits) if container.limits is not None else {}
    missing = {
        name: min(amount, limits.get(name, amount))
        for name, amount in default.items()
        if amount and not asked.get(name)
    }
    if not missing:
        return container
    gpus = missing.pop(GPUS, 0)
    if gpus:
        container = evolve(container, gpu=GpuRequest(count=gpus // WHOLE_DEVICE))
    more = Resources(
        cpu_millicores=missing.pop(CPU, 0),
        memory_bytes=missing.pop(MEMORY, 0),
        disk_bytes=missing.pop(DISK, 0),
        extended=missing,
    )
    return evolve(container, resources=container.resources + more)


def check_limits(definition: WorkloadDefinition, ranges: Sequence[LimitRange]) -> None:
    """Make sure that every container keeps within all limit ranges.

    Raises:
        ConfigInvalid: One does not; all that are out of bounds are named.
    """
    problems = tuple(
        Problem(text, path=f"spec.containers[{place}].{part}")
        for place, container in enumerate(definition.containers)
        for each in ranges
        for part, text in _out_of_bounds(container, each)
    )
    if problems:
        raise ConfigInvalid(problems, remedy="Ask for what the namespace allows, or have its limit range changed.")


def _out_of_bounds(container: ContainerConfig, limits: LimitRange) -> Iterator[tuple[str, str]]:
    asked = requests_of(container)
    used = resources_of(container.limits) if container.limits is not None else {}
    by = f"limit range {limits.name!r}"
    for name in sorted(limits.min):
        least, has = limits.min[name], asked.get(name, 0)
        if has < least:
            text = f"{written(name, has)} is less than {written(name, least)}, the least that {by} takes"
            yield _place("resources", name), text
    for name in sorted(limits.max):
        most = limits.max[name]
        for part, has in (("resources", asked.get(name, 0)), ("limits", used.get(name, 0))):
            if has > most:
                text = f"{written(name, has)} is more than {written(name, most)}, the most that {by} takes"
                yield _place(part, name), text


def _place(part: str, name: str) -> str:
    return f"{part}.gpu" if name == GPUS else f"{part}.{name}"
