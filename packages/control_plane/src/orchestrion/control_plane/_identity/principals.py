"""Who asks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final

from attrs import evolve, field, frozen, validators

from .access import Rule

ADMINS: Final = "system:admins"
AUTHENTICATED: Final = "system:authenticated"
UNAUTHENTICATED: Final = "system:unauthenticated"
NODES: Final = "system:nodes"
WORKLOADS: Final = "system:workloads"
SERVICES: Final = "system:services"
SYSTEM_GROUPS: Final = frozenset({ADMINS, AUTHENTICATED, UNAUTHENTICATED, NODES, WORKLOADS, SERVICES})
RESERVED_PREFIX: Final = "system:"
"""Groups and names with this prefix are given by the server alone: what comes from outside never begins with it."""


class PrincipalKind(StrEnum):
    """What kind of one asks."""

    USER = "user"
    """A person."""
    SERVICE = "service"
    """A program of somebody's."""
    NODE = "node"
    """The agent of a node; the name is the node's."""
    WORKLOAD = "workload"
    """An instance of a workload; the name is `NAMESPACE/NAME`."""
    ANONYMOUS = "anonymous"
    """Nobody that is known."""

    @property
    def resource(self) -> str:
        """What rules call those of this kind, as whom somebody may speak."""
        return f"{self.value}s"


OWNERS: Final = frozenset({PrincipalKind.NODE, PrincipalKind.WORKLOAD})
"""To whom objects belong."""

OWN_RESOURCES: Final = frozenset(
    (
        "certificates",
        "dashboard",
        "groups",
        "keys",
        "mcp",
        "metrics",
        "objects",
        "sealingkeys",
        "self",
        "sessions",
        "tokens",
        *(kind.resource for kind in PrincipalKind if kind is not PrincipalKind.ANONYMOUS),
    )
)
"""What rules and the audit log call what is no kind of object, or not alone. What users define is never called so: a
rule for that would allow more than it says."""

_IMPLIED: Final = {
    PrincipalKind.USER: frozenset({AUTHENTICATED}),
    PrincipalKind.SERVICE: frozenset({AUTHENTICATED, SERVICES}),
    PrincipalKind.NODE: frozenset({AUTHENTICATED, NODES}),
    PrincipalKind.WORKLOAD: frozenset({AUTHENTICATED, WORKLOADS}),
    PrincipalKind.ANONYMOUS: frozenset({UNAUTHENTICATED}),
}


def _as_groups(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


def _as_namespaces(names: Iterable[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _as_scope(rules: Iterable[Rule] | None) -> tuple[Rule, ...] | None:
    return None if rules is None else tuple(rules)


@frozen(cache_hash=True)
class Principal:
    """One who asks, as far as was proved.

    Attributes:
        name: Unique within the kind; empty for nobody.
        kind: What kind of one it is.
        groups: The groups that somebody said it is in. What its kind implies is in `all_groups` besides.
        namespaces: The only namespaces that it may reach, whatever roles say; then nothing that is cluster-wide either.
            None is no such restriction.
        scope: The only things that it may do, as far as roles grant them; None is all that they grant.
        via: How it was authenticated, such as `token:abc`, `mtls`, `unix`; empty where it was not.
        expires_at: From when on the proof is no longer good; None is never.
    """

    name: str
    kind: PrincipalKind = PrincipalKind.USER
    groups: frozenset[str] = field(default=frozenset(), converter=_as_groups)
    namespaces: frozenset[str] | None = field(default=None, converter=_as_namespaces)
    scope: tuple[Rule, ...] | None = field(default=None, converter=_as_scope)
    via: str = field(default="", validator=validators.instance_of(str))
    expires_at: datetime | None = None

    @property
    def subject(self) -> str:
        """The kind and the name in one text, such as `user:ann` or `workload:default/web`."""
        return f"{self.kind.value}:{self.name}"

    @property
    def all_groups(self) -> frozenset[str]:
        """The groups, and those that the kind implies."""
        return self.groups | _IMPLIED[self.kind]

    def is_expired(self, now: datetime) -> bool:
        """Whether the proof is no longer good at `now`."""
        return self.expires_at is not None and now >= self.expires_at

    def via_channel(self, via: str) -> Principal:
        """Return the same one, authenticated by `via`."""
        return evolve(self, via=via)

    def __str__(self) -> str:
        return self.subject if self.name else self.kind.value


ANONYMOUS: Final = Principal("", PrincipalKind.ANONYMOUS)
"""Nobody that is known."""


def outside_groups(groups: Iterable[str]) -> frozenset[str]:
    """Return the groups that somebody outside may give: all but those that the server keeps for itself."""
    return frozenset(group for group in groups if not group.startswith(RESERVED_PREFIX))
