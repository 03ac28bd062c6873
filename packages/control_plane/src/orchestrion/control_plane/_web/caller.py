"""Who asks, and the check that they may: the same for every path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from attrs import evolve
from litestar.connection import ASGIConnection, Request
from orchestrion.control_plane._access import CHECK, READ, Check, Needs
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._standing import Changes
from orchestrion.control_plane._wire import WorkloadsRequest
from orchestrion.orchestrator_core import LogQuery
from orchestrion.shared_types import DEFAULT_NAMESPACE, ConfigInvalid, Problem

from .off_loop import read_json, value_of

CALLER: Final = "orchestrion.caller"
"""Where in a request's scope its caller is."""

APPLY_JSON: Final = "application/apply-patch+json"
APPLY_YAML: Final = "application/apply-patch+yaml"

Connection = ASGIConnection[Any, Any, Any, Any]


def named_by(needs: Needs, connection: Connection) -> Access:
    """Return what a request asks for as far as its path says: enough to tell what kind of request it is."""
    path = connection.path_params
    resource = needs.resource.replace("{plural}", str(path.get("plural", "namespaces")))
    watches = needs.verb == "list" and connection.query_params.get("watch") == "true"
    applies = needs.applied and media_type_of(connection) in (APPLY_JSON, APPLY_YAML)
    namespace, name = str(path.get("namespace", "")), str(path.get("name", ""))
    return Access("watch" if watches else "apply" if applies else needs.verb, resource, namespace, name)


def media_type_of(connection: Connection) -> str:
    """Return what a request's body is said to be, without parameters."""
    return str(connection.headers.get("content-type", "")).partition(";")[0].strip().lower()


async def accesses_of(needs: Needs, connection: Connection, named: Access) -> tuple[Access, ...]:
    """Return what a request asks for, all of which has to be allowed.

    It is read from where the handler reads it, and from nowhere else: a query that a handler passes over would
    otherwise let its caller name a namespace that is allowed, and reach another.

    Args:
        needs: Of the path.
        connection: The request.
        named: What its path says; see `named_by`.

    Raises:
        ConfigInvalid: A parameter is there twice, or the body is not what it has to be.
    """
    if needs.body and isinstance(connection, Request):
        kind, named_in = _BODIES[needs.body]
        scope: Any = connection.scope
        value = await read_json(
            await connection.body(), lambda body: value_of(body, kind), caller_of(connection).subject
        )
        scope[READ] = value
        return tuple(Access(needs.verb, needs.resource, namespace, name) for namespace, name in named_in(value))
    if "name" in needs.query:
        namespace = _parameter(connection, "namespace") or DEFAULT_NAMESPACE
        return (evolve(named, name=_parameter(connection, "name"), namespace=namespace),)
    if "namespace" in needs.query:
        return (evolve(named, namespace=_parameter(connection, "namespace")),)
    return (named,)


def _parameter(connection: Connection, name: str) -> str:
    given = connection.query_params.getall(name, [])
    if len(given) > 1:
        raise ConfigInvalid((Problem("is there twice; which one is meant nobody knows", path=name),))
    return str(given[0]) if given else ""


def _of_workloads(request: WorkloadsRequest) -> list[tuple[str, str]]:
    return [(workload.metadata.namespace, workload.metadata.name) for workload in request.workloads]


def _of_logs(query: LogQuery) -> list[tuple[str, str]]:
    return [(query.namespace, query.subject.partition(".")[0])]


_BODIES: Final[Mapping[str, tuple[type[Any], Callable[[Any], list[tuple[str, str]]]]]] = {
    "workloads": (WorkloadsRequest, _of_workloads),
    "logs": (LogQuery, _of_logs),
}
"""What a body is, and what it names."""


class Gatekeeper(Protocol):
    """Finds out who asks, and says whether they may."""

    @property
    def changes(self) -> Changes:
        """Tells when what somebody was let in by, or what they may do, may have ended."""
        ...

    def claim(self, connection: Connection, /) -> str:
        """Return whom a request names, of those who are known here; empty for nobody.

        That proves nothing, and costs next to nothing: nothing of the body is read, and nothing is verified.
        """
        ...

    async def authenticate(self, connection: Connection, /) -> Principal:
        """Return who asks.

        Raises:
            Unauthenticated: What it brings proves nothing.
        """
        ...

    def prove_again(self, connection: Connection, principal: Principal, /) -> None:
        """Make sure that what somebody was let in by is still good. It asks nobody.

        Raises:
            Unauthenticated: It has expired, or was revoked.
        """
        ...

    def check(self, principal: Principal, access: Access, /) -> None:
        """Make sure that somebody may do something.

        Raises:
            Denied: They may not.
        """
        ...


def caller_of(connection: Connection) -> Principal:
    """Return who asks."""
    principal: Principal = connection.scope[CALLER]  # type: ignore[typeddict-item] # the guard has put it there
    return principal


def check_of(connection: Connection) -> Check:
    """Return what makes sure that who asks may do something else, which the path does not say."""
    check: Check = connection.scope[CHECK]  # type: ignore[typeddict-item] # the guard has put it there
    return check
