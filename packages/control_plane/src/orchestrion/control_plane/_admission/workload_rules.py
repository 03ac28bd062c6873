"""What a namespace's objects make of its workloads, and what they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import define, evolve, field, frozen
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import LIMIT_RANGE, NAMESPACE, PRIORITY_CLASS
from orchestrion.control_plane._objects.specs import ImagePolicy, LimitRangeSpec, NamespaceSpec, PriorityClassSpec
from orchestrion.control_plane._objects.workload_form import definition_of
from orchestrion.shared_types import (
    DEFAULT_PRIORITY_CLASS,
    PRIORITY_CLASSES,
    ConfigInvalid,
    PriorityClass,
    Problem,
    WorkloadDefinition,
    structure,
)

from .images import check_images
from .limit_ranges import LimitRange, check_limits, limit_range_of, with_defaults
from .looking import Looked

STANDARD_CLASSES: Final = {each.name: each for each in PRIORITY_CLASSES}

_HIGHEST_STANDARD: Final = max(each.value for each in PRIORITY_CLASSES if not each.name.startswith("system-"))

_NO_POLICY: Final = ImagePolicy()

_OF_CONTAINERS: Final = ("name", "driver", "image", "resources", "limits")
_OF_WORKLOADS: Final = ("kind", "priority", "priority_class", "preempts")


@frozen(kw_only=True)
class NamedClass:
    """A priority class that somebody has made.

    Attributes:
        named: The class.
        default: Whether it is for workloads that do not say.
    """

    named: PriorityClass
    default: bool


@frozen(kw_only=True)
class Rules:
    """What holds for the workloads of a namespace.

    Attributes:
        ranges: Its limit ranges, by name.
        images: Its image policy.
        priority: The priority class of those that have the standard priority; None leaves them that.
    """

    ranges: tuple[LimitRange, ...] = ()
    images: ImagePolicy = _NO_POLICY
    priority: PriorityClass | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to be done."""
        return not self.ranges and self.priority is None and self.images == _NO_POLICY

    def completed(self, definition: WorkloadDefinition) -> WorkloadDefinition:
        """Return a definition with what it does not say; the same one where it says all."""
        completed = with_defaults(definition, self.ranges)
        wanted = self.priority
        if wanted is None or (wanted.value, wanted.preempts) == _priority_of(definition):
            return completed
        if _priority_of(definition) != (DEFAULT_PRIORITY_CLASS.value, DEFAULT_PRIORITY_CLASS.preempts):
            return completed
        return evolve(completed, priority=wanted.value, preempts=wanted.preempts)

    def check(self, definition: WorkloadDefinition) -> None:
        """Make sure that a definition is allowed.

        Raises:
            ConfigInvalid: It does not keep within the limit ranges.
            Denied: The image policy refuses an image.
        """
        check_limits(definition, self.ranges)
        check_images(definition, self.images)


def _priority_of(definition: WorkloadDefinition) -> tuple[int, bool]:
    return definition.priority, definition.preempts


def stated_priority(spec: Mapping[str, Any]) -> int:
    """Return the priority that a workload says, or that of the standard class that it names."""
    number, named = spec.get("priority"), spec.get("priority_class")
    if isinstance(number, int):
        return number
    standard = STANDARD_CLASSES.get(named) if isinstance(named, str) else None
    return standard.value if standard is not None else DEFAULT_PRIORITY_CLASS.value


@define(eq=False)
class RuleBook:
    """Knows the rules of all namespaces, as they are now.

    Attributes:
        history: Shows the objects that make them.
    """

    history: History
    _ranges: Looked[LimitRange] = field(init=False)
    _namespaces: Looked[NamespaceSpec] = field(init=False)
    _classes: Looked[NamedClass] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._ranges = Looked(self.history, LIMIT_RANGE, range_of)
        self._namespaces = Looked(self.history, NAMESPACE, _namespace_of)
        self._classes = Looked(self.history, PRIORITY_CLASS, class_of)

    def rules(self, namespace: str) -> Rules:
        """Return the rules of a namespace."""
        spec = self._namespaces.one("", namespace)
        return Rules(
            ranges=tuple(self._ranges.all(namespace)),
            images=spec.images if spec is not None else _NO_POLICY,
            priority=self._standard_class(spec.priority_class if spec is not None else ""),
        )

    def _standard_class(self, named: str) -> PriorityClass | None:
        found = self.priority_class(named) if named else None
        if found is not None:
            return found
        defaults = [each.named for each in self._classes.all() if each.default]
        return max(defaults, key=lambda each: (each.value, each.name), default=None)

    def priority_class(self, name: str) -> PriorityClass | None:
        """Return a priority class, one of the standard ones or one that somebody has made."""
        standard = STANDARD_CLASSES.get(name)
        if standard is not None:
            return standard
        found = self._classes.one("", name)
        return found.named if found is not None else None

    def highest_for_all(self) -> int:
        """Return the highest priority that needs no right of its own: that of any class that is not the system's."""
        return max([_HIGHEST_STANDARD, *(each.named.value for each in self._classes.all())])

    def resolved(self, definition: WorkloadDefinition) -> WorkloadDefinition:
        """Return a workload with the numbers of the priority class whose name was passed on, if there is one.

        Raises:
            ConfigInvalid: There is no such class.
        """
        name = definition.priority_class
        if not name:
            return definition
        found = self.priority_class(name)
        if found is None:
            raise self._no_class(name, f"workloads.{definition.metadata.name}.priority_class")
        return evolve(definition, priority=found.value, preempts=found.preempts, priority_class="")

    def _no_class(self, name: str, path: str) -> ConfigInvalid:
        known = sorted({*STANDARD_CLASSES, *self._classes.names()})
        problem = Problem(f"there is no priority class {name!r:.80}", path=path)
        return ConfigInvalid((problem,), remedy=f"There are: {', '.join(known)}")

    def with_numbers(self, document: Document) -> Document:
        """Return a workload with the numbers of the priority class that it names, if that is none of the standard ones.

        Raises:
            ConfigInvalid: There is no such class, or what stands beside it says something else.
        """
        name = document.spec.get("priority_class")
        if not isinstance(name, str) or name in STANDARD_CLASSES:
            return document
        found = self.priority_class(name)
        if found is None:
            raise self._no_class(name, "spec.priority_class")
        spec = dict(document.spec)
        del spec["priority_class"]
        for key, value in (("priority", found.value), ("preempts", found.preempts)):
            if spec.setdefault(key, value) != value:
                problem = Problem(f"{spec[key]!r:.80} is not {value!r}, as {name!r} has it", path=f"spec.{key}")
                raise ConfigInvalid((problem,), remedy="Leave one of the two out.")
        return evolve(document, spec=spec)


def range_of(document: Document) -> LimitRange:
    """Return the limit range that an object stands for.

    Raises:
        ConfigInvalid: Its bounds are crossed.
    """
    return limit_range_of(document.metadata.name, structure(dict(document.spec), LimitRangeSpec))


def class_of(document: Document) -> NamedClass:
    """Return the priority class that an object stands for."""
    spec = structure(dict(document.spec), PriorityClassSpec)
    named = PriorityClass(
        name=document.metadata.name, value=spec.value, preempts=spec.preempts, description=spec.description
    )
    return NamedClass(named=named, default=spec.default)


def _namespace_of(document: Document) -> NamespaceSpec:
    return structure(dict(document.spec), NamespaceSpec)


def outline_of(document: Document) -> WorkloadDefinition | None:
    """Return as much of a workload as rules are about; None where it has no containers that could be read.

    What it comes after, and the like, is read where it is written: it may be about to be made with it.

    Raises:
        ConfigInvalid: That much of it can't be accepted.
    """
    containers = document.spec.get("containers")
    if not isinstance(containers, (list, tuple)) or not all(isinstance(each, Mapping) for each in containers):
        return None
    spec: dict[str, Any] = {key: document.spec[key] for key in _OF_WORKLOADS if key in document.spec}
    spec["containers"] = [
        {"command": ["-"], **{key: each[key] for key in _OF_CONTAINERS if key in each}} for each in containers
    ]
    return definition_of(evolve(document, spec=spec), (), PRIORITY_CLASSES)


def with_changes(document: Document, before: WorkloadDefinition, after: WorkloadDefinition) -> Document:
    """Return a workload with what rules have made of its outline."""
    spec = dict(document.spec)
    if _priority_of(before) != _priority_of(after):
        spec.pop("priority_class", None)
        spec["priority"], spec["preempts"] = after.priority, after.preempts
    if before.containers != after.containers:
        # Imported here: it brings a parser of YAML, which a start is not to wait for.
        from orchestrion.shared_types.manifest import to_manifest

        form = to_manifest(after)["workloads"][after.metadata.name]["containers"]
        spec["containers"] = [
            {**given, "resources": made["resources"]} if was != is_now else given
            for given, made, was, is_now in zip(
                document.spec["containers"], form, before.containers, after.containers, strict=True
            )
        ]
    return evolve(document, spec=spec)
