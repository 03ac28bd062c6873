"""Nobody gives others more than they have: a check of roles and bindings as they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from attrs import define
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._history.projection import ObjectName
from orchestrion.control_plane._identity.access import Access, Rule
from orchestrion.control_plane._identity.policy import Policy
from orchestrion.control_plane._identity.roles import STANDARD_ROLES, own_binding, own_role, role_of
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import ROLE, ROLE_BINDING, SECRET
from orchestrion.control_plane._service.intent import TOGETHER, ChangeKind, Intent, Review
from orchestrion.shared_types import ConfigInvalid, Denied, Problem


class HasPolicy(Protocol):
    """Knows what everybody may do."""

    policy: Policy


@define(eq=False)
class Grants:
    """Looks at roles and bindings before they are written.

    A role may hold what its writer holds; one that is bound already is given to its subjects by being changed, so that
    is the same question. A binding may give what its writer holds, where it gives it.

    Attributes:
        keeper: Knows what everybody may do.
        history: Knows the roles that there are.
    """

    keeper: HasPolicy
    history: Callable[[], History]

    async def admit(self, review: Review) -> Document:
        """Let a change pass, unless it gives what who makes it does not have.

        Raises:
            ConfigInvalid: It is no role or binding that could be used.
            Denied: It gives too much.
        """
        document, name = review.document, review.document.metadata.name
        if review.change is ChangeKind.DELETE or review.intent.principal is None:
            return document
        if review.kind is ROLE:
            self._check(review, own_role(name, document.spec).rules, "")
        elif review.kind is ROLE_BINDING:
            binding = own_binding(name, document.spec)
            self._check(review, self._rules_of(binding.role), binding.namespace)
        return document

    def may_read(self, intent: Intent, namespace: str, name: str) -> bool:
        """Whether who means something may read a secret. The server itself may."""
        who = intent.principal
        return who is None or self.keeper.policy.may(who, Access("get", SECRET.plural, namespace, name)).allowed

    def _rules_of(self, role: str) -> Iterable[Rule]:
        for standard in STANDARD_ROLES:
            if standard.name == role:
                return standard.rules
        name = ObjectName(ROLE.plural, "", role)
        beside, item = TOGETHER.get().get(name), self.history().get(name)
        if beside is not None:
            # It was looked at as well, and comes with the binding or not at all.
            return role_of(role, beside.spec).rules
        if item is None:
            problem = Problem(f"there is no role {role!r:.80}", path="spec.role")
            raise ConfigInvalid((problem,), remedy="Make the role first, or together with this.")
        return role_of(role, item.document.spec).rules

    def _check(self, review: Review, rules: Iterable[Rule], namespace: str) -> None:
        principal = review.intent.principal
        assert principal is not None  # noqa: S101 - for the type checker: the caller has looked
        verdict = self.keeper.policy.may_grant(principal, rules, namespace)
        if not verdict.allowed:
            raise Denied(verdict.why, remedy="Ask somebody who may do it to write this.")
