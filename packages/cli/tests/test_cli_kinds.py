"""What rights are about: the command knows all that the roles of a server name."""

from __future__ import annotations

from orchestrion.cli._kinds import KINDS, OTHER_RESOURCES, VERBS, known_kind
from orchestrion.control_plane._identity.roles import STANDARD_ROLES


def test_all_that_standard_roles_allow_can_be_asked_for() -> None:
    rules = [rule for role in STANDARD_ROLES for rule in role.rules]
    resources = {resource.partition("/")[0] for rule in rules for resource in rule.resources}
    assert {verb for rule in rules for verb in rule.verbs} <= set(VERBS)
    assert {one for one in resources if known_kind(one) is None} <= OTHER_RESOURCES


def test_no_text_means_two_kinds() -> None:
    called = [text for kind in KINDS for text in {kind.plural, kind.kind.lower(), *kind.short}]
    assert len(called) == len(set(called))
    assert not OTHER_RESOURCES & set(called)
