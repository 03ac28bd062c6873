"""Who asks, and the check that they may: the same for every path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from orchestrion.control_plane._access import ACCESS, Needs
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._identity.principals import Principal

CALLER: Final = "orchestrion.caller"
"""Where in a request's scope its caller is."""

Connection = ASGIConnection[Any, Any, Any, Any]


def access_of(needs: Needs, connection: Connection) -> Access:
    """Return what a request asks for."""
    path, query = connection.path_params, connection.query_params
    resource = needs.resource.replace("{plural}", str(path.get("plural", "namespaces")))
    namespace = path.get("namespace") or query.get("namespace") or ""
    name = path.get("name") or query.get("name") or ""
    verb = "watch" if needs.verb == "list" and query.get("watch") == "true" else needs.verb
    return Access(verb, resource, str(namespace), str(name))


class Gatekeeper(Protocol):
    """Finds out who asks, and says whether they may."""

    async def authenticate(self, connection: Connection, /) -> Principal:
        """Return who asks.

        Raises:
            Unauthenticated: What it brings proves nothing.
        """
        ...

    def check(self, principal: Principal, access: Access, /) -> None:
        """Make sure that somebody may do something.

        Raises:
            Denied: They may not.
        """
        ...


def guard_of(keeper: Gatekeeper) -> Callable[[Connection, BaseRouteHandler], Awaitable[None]]:
    """Return what is asked before every handler."""

    async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
        needs = handler.opt.get(ACCESS)
        if needs is None:
            return
        principal = await keeper.authenticate(connection)
        connection.scope[CALLER] = principal  # type: ignore[typeddict-unknown-key] # what it is for
        keeper.check(principal, access_of(needs, connection))

    return guard


def caller_of(connection: Connection) -> Principal:
    """Return who asks."""
    principal: Principal = connection.scope[CALLER]  # type: ignore[typeddict-item] # the guard has put it there
    return principal
