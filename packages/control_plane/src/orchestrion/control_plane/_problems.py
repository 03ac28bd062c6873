"""Errors on the wire: problem documents (RFC 9457) that the other side can raise again as what they were."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrion.runtime_interface import CommandNotExecutable, CommandNotFound
from orchestrion.shared_types import (
    Closed,
    Compacted,
    ConfigInvalid,
    Conflict,
    Denied,
    InternalError,
    NetworkFailure,
    NotFound,
    OrchestrationError,
    PreconditionFailed,
    QuotaExceeded,
    SchedulingFailure,
    Stale,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    Unsupported,
    structure_answer,
    unstructure,
)
from orchestrion.store_interface import InvalidRequest

from ._at_request import at_request
from ._problem_table import type_of

PROBLEM_MEDIA_TYPE = "application/problem+json"

_STATUSES: tuple[tuple[type[OrchestrationError], int], ...] = (
    (NotFound, 404),
    (ConfigInvalid, 400),
    (InvalidRequest, 400),
    (Unauthenticated, 401),
    (Denied, 403),
    (QuotaExceeded, 403),
    (PreconditionFailed, 412),
    (Conflict, 409),
    (Stale, 409),
    (Compacted, 410),
    (TooManyRequests, 429),
    (SchedulingFailure, 422),
    (CommandNotFound, 422),
    (CommandNotExecutable, 422),
    (Unsupported, 501),
    (Unavailable, 503),
    (Closed, 503),
    (NetworkFailure, 502),
)


def status_of(error: OrchestrationError) -> int:
    """Return the HTTP status that an error is answered with; the first class that fits decides."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def status_of_code(code: str) -> int:
    """Return the HTTP status that errors of a code are answered with; 500 for one that is not known here."""
    kinds = [kind for kind in _kinds(OrchestrationError) if vars(kind).get("code") == code]
    # Of classes of one code that of the library comes first: others stand for it elsewhere.
    return next((status for kind in kinds[:1] for base, status in _STATUSES if issubclass(kind, base)), 500)


def problem_of(error: OrchestrationError) -> dict[str, Any]:
    """Return the problem document of an error: all that `error_of` needs to make it again.

    While a request is answered it also has the `trace_id` of that.
    """
    request = at_request()
    codes = [vars(kind)["code"] for kind in type(error).__mro__ if "code" in vars(kind)]
    fields = {name: getattr(error, name) for name in _field_types(type(error)) if hasattr(error, name)}
    return {
        "type": type_of(codes),
        "title": codes[0].replace("-", " "),
        "status": status_of(error),
        "detail": str(error),
        "code": codes[0],
        "codes": codes,
        "message": error.message,
        "remedy": error.remedy,
        "fields": unstructure(fields),
        **({} if request is None else {"trace_id": request.trace_id}),
    }


def error_of(problem: Mapping[str, Any]) -> OrchestrationError:
    """Return the error that a problem document tells of.

    A class that is not known here, or whose fields do not fit, is replaced by the nearest of its bases that is known.
    """
    message = str(problem.get("message") or problem.get("detail") or "the server gave no reason")
    remedy = str(problem.get("remedy", ""))
    codes = problem.get("codes", ())
    known = dict[str, type[OrchestrationError]]()
    for kind in _kinds(OrchestrationError):
        if "code" in vars(kind):
            # Who asks may have a class of its own that is told like one of ours: what was raised there is ours.
            known.setdefault(vars(kind)["code"], kind)
    for code in codes if isinstance(codes, list) else ():
        if isinstance(code, str) and code in known:
            error = _made(known[code], message, remedy, problem.get("fields", {}))
            if error is not None:
                return error
    return InternalError(message, remedy=remedy)


def _made(kind: type[OrchestrationError], message: str, remedy: str, fields: Any) -> OrchestrationError | None:
    error = kind.__new__(kind)
    # The classes' own constructors word some messages anew; here the words are given.
    OrchestrationError.__init__(error, message, remedy=remedy)
    error.args = (message,)
    for name, annotation in _field_types(kind).items():
        if not isinstance(fields, Mapping) or name not in fields:
            return None
        try:
            setattr(error, name, structure_answer(fields[name], annotation))
        except ConfigInvalid:
            return None
    return error


def _field_types(kind: type[OrchestrationError]) -> dict[str, Any]:
    """Return what the constructor takes besides message and remedy; each is kept as an attribute of that name."""
    parameters = inspect.signature(kind.__init__).parameters
    hints = typing.get_type_hints(kind.__init__)
    return {name: hints[name] for name in parameters if name not in ("self", "message", "remedy")}


def _kinds(kind: type[OrchestrationError]) -> Iterator[type[OrchestrationError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from _kinds(inner)


def sole_error(error: BaseException) -> BaseException:
    """Return the one error that an exception group holds, at any depth, or else `error` itself."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def expected(error: Exception, doing: str) -> OrchestrationError:
    """Return the error of ours that `error` is, or an InternalError that says what was being done."""
    sole = sole_error(error)
    if isinstance(sole, OrchestrationError):
        return sole
    return InternalError(
        f"{doing}: {type(sole).__name__}: {sole}",
        remedy="This is a fault of Orchestrion or of a plug-in; the log of the process that serves has the details.",
    )
