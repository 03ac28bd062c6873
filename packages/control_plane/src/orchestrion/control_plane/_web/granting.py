"""Somebody who is to be known by a token, a key or a certificate, and whether who asks may give that away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from math import prod
from typing import Any, Final

from attrs import evolve, field, frozen
from orchestrion.control_plane._identity.access import ANY, Access, Rule, rules_data, rules_of
from orchestrion.control_plane._identity.policy import Policy, beyond
from orchestrion.control_plane._identity.principals import (
    RESERVED_PREFIX,
    SYSTEM_GROUPS,
    Principal,
    PrincipalKind,
)
from orchestrion.shared_types import ConfigInvalid, Denied, Problem

_MAX_NAME: Final = 253

_MAX_GRANTED: Final = 20_000
"""Into how many single rights what is given away may fall apart; each is looked up."""


@frozen(kw_only=True)
class Grant:
    """Somebody that is to be known by a token or a key. What is left out is as with who asks, but groups of another.

    Attributes:
        name: Who it is.
        kind: What kind of one.
        groups: The groups that it is in, besides what its kind implies. None is those of who asks where that is whom it
            is for, and none where it is for another: nobody becomes an administrator by being made by one.
        namespaces: The only namespaces that it may reach; None is no such restriction.
        scope: The only things that it may do, as the rules of a role; None is all that its roles grant.
        expires_at: From when on (UTC) it is no longer good; None is never.
        note: What it is for.
    """

    name: str = ""
    kind: PrincipalKind | None = None
    groups: tuple[str, ...] | None = None
    namespaces: tuple[str, ...] | None = None
    scope: tuple[Mapping[str, Any], ...] | None = None
    expires_at: datetime | None = None
    note: str = field(default="")


def granted(policy: Policy, who: Principal, grant: Grant) -> Principal:
    """Return whom somebody wants to be known, if they have all that this one will have.

    Raises:
        Denied: They have not, it would be good for longer or reach further than what they have shown themselves, also
            as far as no role grants that yet, or the name is one of the server's own.
        ConfigInvalid: The scope can't be read, or has too many parts.
    """
    for text in (grant.name, *(grant.groups or ())):
        if len(text) > _MAX_NAME or not text.isprintable():
            problem = Problem(f"names have at most {_MAX_NAME} characters, which can be printed: {text!r:.80}")
            raise ConfigInvalid((problem,))
    given = Principal(
        grant.name or who.name,
        grant.kind or who.kind,
        groups=grant.groups or (),
        namespaces=who.namespaces if grant.namespaces is None else grant.namespaces,
        scope=who.scope if grant.scope is None else rules_of(list(grant.scope), "scope"),
        expires_at=grant.expires_at or who.expires_at,
    )
    if grant.groups is None and given.subject == who.subject:
        given = evolve(given, groups=who.groups)
    if who.expires_at is not None and (given.expires_at is None or given.expires_at > who.expires_at):
        msg = f"{who} can't give away what is good for longer than what it has shown itself"
        end = who.expires_at.isoformat()
        raise Denied(msg, remedy=f"let it end by {end}, or ask on the server's machine with --state, which has no end")
    _check_names(policy, who, given)
    _check_reach(who, given)
    rules = [right.rule for right in policy.rights_of(given)]
    if given.subject != who.subject:
        # What is somebody's own is not the other's own.
        rules = [evolve(rule, own=False) for rule in rules]
    if _parts(rules) > _MAX_GRANTED:
        raise ConfigInvalid((Problem("its rules name too many things; use more of *", path="scope"),))
    verdict = policy.may_grant(who, rules)
    if not verdict.allowed:
        raise Denied(verdict.why, remedy="give less: a scope, namespaces, or another name")
    return given


def _check_reach(who: Principal, given: Principal) -> None:
    """Make sure that nobody rids themselves, or others, of what restricts them: a role may come later.

    Raises:
        ConfigInvalid: The scope has too many parts.
        Denied: It would reach further.
    """
    remedy = "leave it out, and it is as that of what you have shown; or give less"
    if who.namespaces is not None and (given.namespaces is None or not given.namespaces <= who.namespaces):
        more = ", ".join(sorted((given.namespaces or frozenset()) - who.namespaces)) or "all"
        msg = f"{who} is restricted itself, and can't give namespaces beyond its own: {more:.200}"
        raise Denied(msg, remedy=remedy)
    if who.scope is None:
        return
    wanted = given.scope if given.scope is not None else (Rule(ANY, ANY),)
    if given.subject != who.subject:
        wanted = tuple(evolve(rule, own=False) for rule in wanted)
    if _parts(wanted) > _MAX_GRANTED:
        raise ConfigInvalid((Problem("its rules name too many things; use more of *", path="scope"),))
    lacking = beyond(wanted, who.scope)
    if lacking:
        raise Denied(f"{who} is restricted itself, and can't give a scope beyond its own: {lacking}", remedy=remedy)


def _check_names(policy: Policy, who: Principal, given: Principal) -> None:
    """Make sure that somebody may speak as others: a name or a group may be given rights later on.

    Raises:
        ConfigInvalid: It would be nobody.
        Denied: They may not.
    """
    if given.kind is PrincipalKind.ANONYMOUS:
        raise ConfigInvalid((Problem("nobody is known by a token or a key", path="kind"),))
    if given.name.startswith(RESERVED_PREFIX):
        msg = f"{given.name!r:.80} is a name of the server's own, as all that begin with {RESERVED_PREFIX!r}"
        raise Denied(msg, remedy="choose another name")
    strange = [group for group in given.groups - who.all_groups if group.startswith(RESERVED_PREFIX)]
    if strange:
        raise Denied(f"{who} is not in {strange[0]!r:.80} itself", remedy="groups of the system are given by bindings")
    if given.subject != who.subject:
        policy.check(who, Access("impersonate", given.kind.resource, name=given.name))
    for group in sorted(given.groups - who.groups):
        _check_near(policy, group)
        policy.check(who, Access("impersonate", "groups", name=group))


def _check_near(policy: Policy, group: str) -> None:
    """Refuse a group that has no role and is called as one of the server's own, but for what those begin with.

    Raises:
        ConfigInvalid: It is one.
    """
    meant = f"{RESERVED_PREFIX}{group}"
    if meant in SYSTEM_GROUPS and not policy.names_group(group):
        problem = Problem(f"no binding gives the group {group!r} a role; {meant!r} is the server's own", path="groups")
        raise ConfigInvalid((problem,), remedy=f"Name {meant}, or make a binding for {group} first.")


def _parts(rules: Iterable[Rule]) -> int:
    return sum(prod(map(len, (rule.verbs, rule.resources, rule.namespaces, rule.names))) for rule in rules)


def principal_data(principal: Principal) -> dict[str, Any]:
    return {
        "name": principal.name,
        "kind": principal.kind.value,
        "groups": sorted(principal.all_groups),
        "namespaces": None if principal.namespaces is None else sorted(principal.namespaces),
        "scope": None if principal.scope is None else rules_data(principal.scope),
        "via": principal.via,
        "expires_at": None if principal.expires_at is None else principal.expires_at.isoformat(),
    }
