"""Where a command acts: the state directory of this machine, or a server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from attrs import frozen
from orchestrion.shared_types import DEFAULT_NAMESPACE

from ._state_directory import StateDirectory, at
from ._where import Where

if TYPE_CHECKING:
    from orchestrion.control_plane import Peer

    from ._contexts import Context


@frozen(eq=False)
class RemoteServer:
    """A server that a context or the environment names.

    Attributes:
        name: What the user calls it.
        url: Where it is.
        peer: What requests are sent to.
        chosen_namespace: The namespace that the context names, or None.
    """

    name: str
    url: str
    peer: Peer
    chosen_namespace: str | None = None

    def must_exist(self) -> None:
        """Make sure of nothing: whether it is there, a request tells."""


Place = StateDirectory | RemoteServer
"""Where an orchestrator is."""


def place_of(where: Where, /) -> Place:
    """Return what a command is about. It blocks, and may run the command that prints a token.

    What was typed counts most, then the environment, then the current context.

    Raises:
        NotFound: There is no such context.
        ConfigInvalid: A context, or what it names, can't be used.
        StateFailure: Others can read or write what should be the user's alone.
    """
    from . import _contexts

    if where.state is not None and where.context is None:
        return at(where.state)
    environment = os.environ
    named = where.context
    if named is None:
        given = _contexts.from_environment()
        if given is not None:
            return _remote(given)
        named = environment.get("ORCHESTRION_CONTEXT") or None
    if named is None and environment.get("ORCHESTRION_STATE"):
        return at(None)
    contexts = _contexts.load() if named != _contexts.LOCAL else _contexts.Contexts()
    if named is None:
        named = contexts.current or _contexts.LOCAL
    if named == _contexts.LOCAL:
        return at(where.state)
    return _remote(contexts.get(named))


def _remote(context: Context) -> RemoteServer:
    peer = context.peer(os.environ.get("ORCHESTRION_TOKEN", ""))
    return RemoteServer(context.name, context.url, peer, context.namespace or None)


def namespace_of(where: Where, place: Place, /) -> str:
    """Return the one namespace that a command is about."""
    chosen = where.namespace or (place.chosen_namespace if isinstance(place, RemoteServer) else None)
    return chosen or DEFAULT_NAMESPACE


def namespaces_of(where: Where, place: Place, /) -> str | None:
    """Return the namespace that a command looks at, or None for all of them."""
    if where.namespace is not None:
        return None if where.namespace == "*" else where.namespace
    return place.chosen_namespace if isinstance(place, RemoteServer) else None
