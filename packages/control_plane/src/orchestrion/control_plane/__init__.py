"""The Control interface of Orchestrion, in process and over HTTP."""

from ._client import HttpControl
from ._control import Control
from ._problems import error_of, problem_of, status_of
from ._server import serve_control
from ._socket import address_of

__all__ = ["Control", "HttpControl", "address_of", "error_of", "problem_of", "serve_control", "status_of"]
