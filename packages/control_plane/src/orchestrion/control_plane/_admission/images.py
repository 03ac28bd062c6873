"""Which images the instances of a namespace may be made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from orchestrion.control_plane._objects.specs import ImagePolicy
from orchestrion.shared_types import ConfigInvalid, Denied, Problem, WorkloadDefinition

from .references import Reference, is_host, reference_of, registry_of

MAX_PATTERN_PARTS: Final = 20
"""How many `*` a pattern may have, and one more."""

_NO_POLICY: Final = ImagePolicy()
_SHA_256: Final = "sha256:"


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
        ConfigInvalid: Something is no name of an image, of which a policy could say anything.
        Denied: It does not; the first image that it refuses is named.
    """
    if policy == _NO_POLICY:
        return
    problems = list[Problem]()
    denied = ""
    for place, container in enumerate(definition.containers):
        if container.image is None:
            continue
        reference = reference_of(container.image)
        if reference is None:
            text = f"{container.image!r:.200} is no name of an image, such as 'registry.example/shop/web:1'"
            problems.append(Problem(text, path=f"spec.containers[{place}].image"))
        elif not denied and (refusal := refusal_of(reference, policy, container.image)):
            namespace = definition.metadata.namespace
            denied = f"container {container.name!r}: the image policy of namespace {namespace!r} {refusal}"
    if problems:
        raise ConfigInvalid(tuple(problems))
    if denied:
        raise Denied(denied, remedy="Use an image that it allows, or have the policy changed.")


def refusal_of(image: Reference, policy: ImagePolicy, written: str) -> str:
    """Return why a policy refuses an image that is written so, or "".

    An image fits a pattern in any of the ways in which it can be written: one that is refused passes in none of them.
    """
    ways = tuple(image.ways())
    denied = _fitting(ways, policy.deny)
    if denied is not None:
        return f"denies {denied!r}, which {image.full!r:.200} is"
    if policy.allow and _fitting(ways, policy.allow) is None:
        return f"does not allow {written!r:.200}"
    if policy.require_digest and not image.digest.startswith(_SHA_256):
        return f"wants images by digest (NAME@sha256:...), which {written!r:.200} is not"
    return ""


def _fitting(ways: Iterable[str], patterns: Iterable[str]) -> str | None:
    """Return the first pattern that one of the ways to write an image fits, or None."""
    ways = tuple(ways)
    for pattern in patterns:
        meant = _meant(pattern)
        if any(fits(way, meant) for way in ways):
            return pattern
    return None


def _meant(pattern: str) -> str:
    """Return a pattern with its registry written as that of a reference is."""
    host, slash, rest = pattern.partition("/")
    if not slash or not is_host(host):
        return pattern
    return f"{registry_of(host) or host.lower()}/{rest}"


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
