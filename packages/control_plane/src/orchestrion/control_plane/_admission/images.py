"""Which images the instances of a namespace may be made of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from orchestrion.control_plane._objects.specs import ImagePolicy
from orchestrion.shared_types import ConfigInvalid, Denied, Problem, WorkloadDefinition

MAX_PATTERN_PARTS: Final = 20
"""How many `*` a pattern may have, and one more."""

_DIGEST: Final = re.compile(r"@sha256:[0-9a-f]{64}\Z")
_STANDARD_REGISTRY: Final = ".".join(("docker", "io"))
_STANDARD_FOLDER: Final = "library"


def check_policy(policy: ImagePolicy) -> None:
    """Make sure that a policy can be followed.

    Raises:
        ConfigInvalid: A pattern is empty, or has too many `*`.
    """
    problems = tuple(
        Problem(f"a pattern such as 'registry.example/*' is wanted, not {pattern!r:.80}", path=f"spec.images.{part}")
        for part, patterns in (("allow", policy.allow), ("deny", policy.deny))
        for pattern in patterns
        if not pattern or pattern.count("*") >= MAX_PATTERN_PARTS
    )
    if problems:
        raise ConfigInvalid(problems)


def check_images(definition: WorkloadDefinition, policy: ImagePolicy) -> None:
    """Make sure that a policy allows all images of a definition; containers without an image are not its business.

    Raises:
        Denied: It does not; the first image that it refuses is named.
    """
    for container in definition.containers:
        if container.image is None:
            continue
        refusal = refusal_of(container.image, policy)
        if refusal:
            namespace = definition.metadata.namespace
            raise Denied(
                f"container {container.name!r}: the image policy of namespace {namespace!r} {refusal}",
                remedy="Use an image that it allows, or have the policy changed.",
            )


def refusal_of(image: str, policy: ImagePolicy) -> str:
    """Return why a policy refuses an image, or ""."""
    names = (image, full_name(image))
    denied = _fitting(names, policy.deny)
    if denied is not None:
        return f"denies {denied!r}, which {image!r:.200} is"
    if policy.allow and _fitting(names, policy.allow) is None:
        return f"does not allow {image!r:.200}"
    if policy.require_digest and _DIGEST.search(image) is None:
        return f"wants images by digest (NAME@sha256:...), which {image!r:.200} is not"
    return ""


def full_name(image: str) -> str:
    """Return an image's name with its registry and folder, where it leaves out those that then are meant."""
    first, slash, rest = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, path = first, rest
    else:
        registry, path = _STANDARD_REGISTRY, image
    if registry == f"index.{_STANDARD_REGISTRY}":
        registry = _STANDARD_REGISTRY
    if registry == _STANDARD_REGISTRY and "/" not in path:
        path = f"{_STANDARD_FOLDER}/{path}"
    return f"{registry}/{path}"


def _fitting(names: Iterable[str], patterns: Iterable[str]) -> str | None:
    """Return the first pattern that one of the names fits, or None."""
    names = tuple(names)
    return next((pattern for pattern in patterns if any(fits(name, pattern) for name in names)), None)


def fits(text: str, pattern: str) -> bool:
    """Return whether a text is what a pattern stands for, in which `*` is any text; in linear time."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    last = others.pop()
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    # The leftmost place for each part leaves the most to those that follow.
    place, end = len(first), len(text) - len(last)
    for part in others:
        found = text.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True
