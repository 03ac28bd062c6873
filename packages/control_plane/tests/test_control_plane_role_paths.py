"""What the roles that are there from the start name is there: no verb and no resource without a path."""

from __future__ import annotations

from orchestrion.control_plane._access import ACCESS, Needs
from orchestrion.control_plane._app import make_app
from orchestrion.control_plane._identity.roles import STANDARD_ROLES
from orchestrion.control_plane._objects.kinds import KINDS
from orchestrion.control_plane._web.openapi import operations

from .api_stage import Api

IN_BODIES = {("label", "nodes"), ("taint", "nodes"), ("use", "priorityclasses")} | {
    (verb, kind.plural) for verb in ("apply", "plan") for kind in KINDS if kind.written
}
"""What the body of a request can ask for besides what its path does."""


def pairs_of(api: Api) -> set[tuple[str, str]]:
    """Return the verbs and resources that paths are for, and websockets."""
    found = set(IN_BODIES)
    routes = make_app(api.server.handlers()).routes
    for _, _, kind, needs, _, _ in operations(routes, KINDS):
        if needs is not None:
            found.add((needs.verb, needs.resource.replace("{plural}", kind.plural if kind is not None else "")))
    for route in routes:
        for handler in getattr(route, "route_handlers", None) or [getattr(route, "route_handler", None)]:
            needs = handler.opt.get(ACCESS) if handler is not None else None
            if isinstance(needs, Needs) and "{plural}" not in needs.resource:
                found.add((needs.verb, needs.resource))
    return found


async def test_each_verb_that_a_role_names_with_a_resource_is_one_of_a_path(api: Api) -> None:
    known = pairs_of(api)
    strange = {
        f"{role.name}: {verb} {resource}"
        for role in STANDARD_ROLES
        for rule in role.rules
        for verb in rule.verbs
        for resource in rule.resources
        if (verb, resource) not in known and (verb, resource) != ("*", "*")
    }
    assert not strange
