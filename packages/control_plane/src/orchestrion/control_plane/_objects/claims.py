"""The server's own claims: finalizers that keep an object until what belongs to it is gone."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from orchestrion.shared_types import ConfigInvalid, Finalizer, Problem

from .kinds import CUSTOM_KIND, NAMESPACE, Kind

SERVER_OWNER: Final = "orchestrion"
"""Who the server's own claims are of. Nobody else makes such, or takes them away."""

CONTENTS: Final = Finalizer("contents", SERVER_OWNER)
"""What is in a namespace, or is of a custom kind, goes first."""

DEPENDENTS: Final = Finalizer("dependents", SERVER_OWNER)
"""What the object owns goes first."""

ORPHANS: Final = Finalizer("orphans", SERVER_OWNER)
"""What the object owns has it as its owner no longer."""


class Cascade(StrEnum):
    """What becomes of what an object owns when it is removed."""

    BACKGROUND = "background"
    """It goes once the object is gone."""
    FOREGROUND = "foreground"
    """It goes before the object does."""
    ORPHAN = "orphan"
    """It stays."""


def claims_of(kind: Kind, cascade: Cascade) -> tuple[Finalizer, ...]:
    """Return the claims that the server makes on an object when its removal begins."""
    contents = (CONTENTS,) if kind in (NAMESPACE, CUSTOM_KIND) else ()
    match cascade:
        case Cascade.FOREGROUND:
            return (*contents, DEPENDENTS)
        case Cascade.ORPHAN:
            return (*contents, ORPHANS)
        case Cascade.BACKGROUND:
            return contents


def with_claims(finalizers: tuple[Finalizer, ...], more: tuple[Finalizer, ...]) -> tuple[Finalizer, ...]:
    """Return finalizers with those of `more` that are not among them yet."""
    return (*finalizers, *(claim for claim in more if claim not in finalizers))


def kept_claims(before: tuple[Finalizer, ...], given: tuple[Finalizer, ...], *, going: bool) -> tuple[Finalizer, ...]:
    """Return the finalizers of a changed object: the server's stay as they are.

    Args:
        before: What it had.
        given: What it is to have; a finalizer is known by its name and owner, so that its deadline can be changed.
        going: Whether it is about to go.

    Raises:
        ConfigInvalid: One is there twice, or one is to come to what is about to go.
    """
    had = {_identity(claim): claim for claim in before}
    wanted = dict[tuple[str, str], Finalizer]()
    problems = list[Problem]()
    for index, claim in enumerate(given):
        known, path = _identity(claim), f"metadata.finalizers[{index}]"
        if claim.owner == SERVER_OWNER:
            continue
        if known in wanted:
            problems.append(Problem(f"finalizer {claim.name} of {claim.owner} is there twice", path=path))
        elif going and known not in had:
            problems.append(Problem("nothing new can hold up what is being removed", path=path))
        wanted[known] = claim
    if problems:
        raise ConfigInvalid(tuple(problems))
    merged = (*wanted.values(), *(claim for claim in before if claim.owner == SERVER_OWNER))
    return before if set(merged) == set(before) else merged


def _identity(claim: Finalizer) -> tuple[str, str]:
    return claim.name, claim.owner
