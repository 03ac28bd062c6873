"""The Control interface of Orchestrion, in process and over HTTP."""

from ._client import HttpControl
from ._control import Control
from ._documents import ApiClient, Reply
from ._identity.secret_text import SecretText
from ._listening import check_port, listening
from ._peer import Peer, ServerPeer, SocketPeer, bearer, signed_with
from ._problems import error_of, problem_of, status_of
from ._rules import has_rules
from ._server import serve_control
from ._socket import address_of
from ._stored_classes import StoredClasses
from ._stored_config import StoredConfig

__all__ = [
    "ApiClient",
    "Control",
    "HttpControl",
    "Peer",
    "Reply",
    "SecretText",
    "ServerPeer",
    "SocketPeer",
    "StoredClasses",
    "StoredConfig",
    "address_of",
    "bearer",
    "check_port",
    "error_of",
    "has_rules",
    "listening",
    "problem_of",
    "serve_control",
    "signed_with",
    "status_of",
]
