"""What an answer has to be, so that it is one of an orchestrator; anything may listen where one is looked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrion.shared_types import NetworkFailure, OrchestrationError

from ._http import Answer
from ._peer import Peer, ServerPeer, SocketPeer
from ._problems import error_of


def is_json(answer: Answer, /) -> bool:
    """Whether an answer says that it is JSON, or lines of it."""
    return "json" in answer.headers.get("content-type", "")


def document_of(peer: Peer, answer: Answer, text: bytes, /) -> Any:
    """Return the plain data of an answer.

    Raises:
        NetworkFailure: It has none, so no orchestrator has given it.
        OrchestrationError: It is a refusal.
    """
    if not answer.succeeded:
        raise refusal_of(peer, answer, text)
    if not is_json(answer):
        raise foreign(peer, answer)
    try:
        return json.loads(text)
    except ValueError as err:
        raise foreign(peer, answer, "what should be JSON is none") from err


def refusal_of(peer: Peer, answer: Answer, text: bytes, /) -> OrchestrationError:
    """Return the error that a refusal tells of; what tells of none in our words is by somebody else."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, Mapping) and ("code" in document or "message" in document):
        return error_of(document)
    return foreign(peer, answer)


def check_shape(peer: Peer, answer: Answer, data: Any, expects: Mapping[str, type], /) -> None:
    """Make sure that data has the keys that are to be read from it, each with a value of its type.

    Raises:
        NetworkFailure: It has not, so it is something else.
    """
    if not expects:
        return
    if not isinstance(data, Mapping):
        raise foreign(peer, answer, "a mapping is wanted")
    for key, kind in expects.items():
        if not isinstance(data.get(key), kind):
            raise foreign(peer, answer, f"there is no {key!r} as it should be")


def foreign(peer: Peer, answer: Answer, why: str = "", /) -> NetworkFailure:
    """Return what to say where something else answers than an orchestrator.

    Args:
        peer: Where.
        answer: With what.
        why: What is wrong with it, if not its status or its type.
    """
    where = peer.url if isinstance(peer, ServerPeer) else peer.path if isinstance(peer, SocketPeer) else peer.host
    media_type = "".join(letter for letter in answer.headers.get("content-type", "")[:80] if letter.isprintable())
    told = f"HTTP {answer.status}{f' {media_type}' if media_type else ''}{f': {why}' if why else ''}"
    return NetworkFailure(
        f"what answers at {where} is no server of Orchestrion ({told})",
        remedy="Look at the address, at proxies between, and whether client and server are of one version.",
    )
