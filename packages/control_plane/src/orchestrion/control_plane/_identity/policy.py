"""What everybody may do, compiled so that asking is a few look-ups. What no rule allows is denied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import define, evolve, field, frozen
from orchestrion.shared_types import Denied

from .access import ANY, Access, Rule, Verdict
from .principals import Principal, PrincipalKind
from .roles import STANDARD_BINDINGS, STANDARD_ROLES, Role, RoleBinding, Subject, SubjectKind

_MAX_KNOWN: Final = 4096
"""For how many principals rights are kept at once. It is an optimisation: others are compiled again."""


@frozen
class Right:
    """Something that somebody may do, and why.

    Attributes:
        rule: What, already narrowed to where the binding holds, and to the restrictions of who asks.
        role: The role that allows it.
        binding: The binding that gives the role.
    """

    rule: Rule
    role: str
    binding: str


_ByResource = Mapping[str, tuple[Right, ...]]


@frozen
class _Rights:
    rows: tuple[Right, ...]
    by_verb: Mapping[str, _ByResource]
    """Verb and resource, each a word or `*`, to the rows that have both."""


@define(eq=False)
class Policy:
    """What everybody may do, at one moment. It is not changed: other roles and bindings are another policy.

    Attributes:
        roles: Besides the standard ones. One with the name of a standard role is passed over.
        bindings: Besides the standard ones.
    """

    roles: Sequence[Role] = ()
    bindings: Sequence[RoleBinding] = ()
    _granted: Mapping[str, tuple[Right, ...]] = field(init=False)
    _known: dict[Principal, _Rights] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        rules = {role.name: role.rules for role in (*self.roles, *STANDARD_ROLES)}
        granted: dict[str, list[Right]] = {}
        for binding in (*STANDARD_BINDINGS, *self.bindings):
            place = Rule(ANY, ANY, binding.namespace or ANY)
            title = f"{binding.namespace}/{binding.name}" if binding.namespace else binding.name
            rows = [Right(rule.narrowed(place), binding.role, title) for rule in rules.get(binding.role, ())]
            for subject in binding.subjects:
                granted.setdefault(str(subject), []).extend(row for row in rows if not row.rule.is_empty)
        self._granted = {subject: tuple(rows) for subject, rows in granted.items()}

    def may(self, principal: Principal, access: Access, /) -> Verdict:
        """Say whether somebody may do something, and why.

        That a proof has expired is for who authenticates to see; here it changes nothing.
        """
        rights = self._known.get(principal)
        if rights is None:
            rights = self._compile(principal)
        for verb in (access.verb, ANY):
            by_resource = rights.by_verb.get(verb)
            if by_resource is not None:
                for resource in (access.resource, ANY):
                    for right in by_resource.get(resource, ()):
                        rule = right.rule
                        if (
                            (access.namespace in rule.namespaces or ANY in rule.namespaces)
                            and (access.name in rule.names or ANY in rule.names)
                            and (not rule.own or principal.subject in access.owners)
                        ):
                            return Verdict(True, f"role {right.role!r} by binding {right.binding!r}")
        return Verdict(False, self._why_not(principal, access))

    def check(self, principal: Principal, access: Access, /) -> None:
        """Raise `Denied`, with the reason, unless somebody may do something."""
        verdict = self.may(principal, access)
        if not verdict.allowed:
            raise Denied(
                f"{principal} may not {access}: {verdict.why}",
                remedy="ask an administrator for a role that allows it; `orchestrion auth can-i --list` shows yours",
            )

    def rights_of(self, principal: Principal, /) -> tuple[Right, ...]:
        """Return all that somebody may do: `may` allows what one of these allows, and nothing else."""
        return (self._known.get(principal) or self._compile(principal)).rows

    def names_group(self, group: str, /) -> bool:
        """Whether a binding gives a role to a group."""
        return any(Subject(SubjectKind.GROUP, group) in one.subjects for one in (*STANDARD_BINDINGS, *self.bindings))

    def may_grant(self, principal: Principal, rules: Iterable[Rule], namespace: str = "", /) -> Verdict:
        """Say whether somebody has all that some rules allow: nobody gives others more than they have.

        Args:
            principal: Who gives.
            rules: What is given, as the rules of a role.
            namespace: Where it is given; empty is everywhere.
        """
        place = Rule(ANY, ANY, namespace or ANY)
        mine = [right.rule for right in self.rights_of(principal)]
        lacking = beyond((rule.narrowed(place) for rule in rules), mine)
        if lacking:
            return Verdict(False, f"{principal} can't give what it may not do itself: {lacking}")
        return Verdict(True, "all of it is held by who gives it")

    def _compile(self, principal: Principal) -> _Rights:
        rows = self._unrestricted(principal)
        if principal.scope is not None:
            rows = tuple(evolve(row, rule=row.rule.narrowed(by)) for row in rows for by in principal.scope)
        if principal.namespaces is not None:
            place = Rule(ANY, ANY, principal.namespaces - {ANY, ""})
            rows = tuple(evolve(row, rule=row.rule.narrowed(place)) for row in rows)
        rows = tuple(dict.fromkeys(row for row in rows if not row.rule.is_empty))
        by_verb: dict[str, dict[str, list[Right]]] = {}
        for row in rows:
            for verb in row.rule.verbs:
                for resource in row.rule.resources:
                    by_verb.setdefault(verb, {}).setdefault(resource, []).append(row)
        rights = _Rights(
            rows,
            {
                verb: {resource: tuple(found) for resource, found in by_resource.items()}
                for verb, by_resource in by_verb.items()
            },
        )
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[principal] = rights
        return rights

    def _unrestricted(self, principal: Principal) -> tuple[Right, ...]:
        subjects = [f"group:{group}" for group in sorted(principal.all_groups)]
        if principal.kind in (PrincipalKind.USER, PrincipalKind.SERVICE):
            subjects.insert(0, principal.subject)
        return tuple(row for subject in subjects for row in self._granted.get(subject, ()))

    def _why_not(self, principal: Principal, access: Access) -> str:
        subject = principal.subject
        if not any(row.rule.allows(access, subject) for row in self._unrestricted(principal)):
            return "no role allows it"
        if principal.namespaces is not None and access.namespace not in principal.namespaces:
            return f"it is restricted to the namespaces {', '.join(sorted(principal.namespaces)) or '(none)'}"
        return "its roles allow it, but the scope of what it was authenticated with does not"


def beyond(rules: Iterable[Rule], held: Sequence[Rule], /) -> str:
    """Return, for people, the first thing that some rules allow and none of those that are held does; empty is nothing.

    The time that it takes grows with the number of single things that the rules fall apart into.
    """
    for given in rules:
        for verb in sorted(given.verbs):
            for resource in sorted(given.resources):
                for where in sorted(given.namespaces):
                    for name in sorted(given.names):
                        one = Rule(verb, resource, where, name, given.own)
                        if not any(_covers(rule, one) for rule in held):
                            return f"{verb} {resource}" + (f" in namespace {where!r}" if where != ANY else "")
    return ""


def _covers(rule: Rule, one: Rule) -> bool:
    """Whether `rule` allows all that `one` does, which has one word or `*` in each set."""
    return all(
        ANY in mine or (ANY not in given and given <= mine)
        for mine, given in (
            (rule.verbs, one.verbs),
            (rule.resources, one.resources),
            (rule.namespaces, one.namespaces),
            (rule.names, one.names),
        )
    ) and (one.own or not rule.own)
