"""The HTTP API: every question of a Control as a path."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, TypeVar

from litestar import Litestar, Request, Response, Router, WebSocket, delete, get, post, websocket
from litestar.connection import ASGIConnection
from litestar.dto import AbstractDTO, DTOFieldDefinition
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import FromQuery, JSONBody
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, ControllerRouterHandler, Guard
from litestar.typing import FieldDefinition
from orchestrion.orchestrator_core import ApplyResult, LogQuery, Plan, SlotPlacement, Update, UpdateKind, WorkloadView
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    ConfigInvalid,
    Denied,
    Node,
    NodeId,
    NotFound,
    OrchestrationError,
    Problem,
    TooManyRequests,
    Unauthenticated,
    Unsupported,
    WorkloadInstance,
    from_json,
    structure,
    to_json,
    unstructure,
)

from ._access import ACCESS, CHECK, METHODS, READ, Check, Needs
from ._cloud_events import CLOUD_EVENTS, batch, is_wanted
from ._control import Control
from ._identity.access import Access
from ._known_parameters import check_known
from ._open_streams import OpenStreams
from ._problems import PROBLEM_MEDIA_TYPE, expected, problem_of, status_of
from ._standing import standing_of
from ._streams import HAPPENED, RECORD_LINES, LineStream, serve_exec
from ._wire import (
    MAX_BODY_BYTES,
    MAX_QUESTION_BYTES,
    MAX_REQUEST_BYTES,
    EventsQuery,
    ScaleRequest,
    WorkloadsRequest,
)

T = TypeVar("T")

ERROR: Final = "orchestrion.error"
"""Where in a request's scope the error is that it was answered with."""


def noting_failure(scope: Any, /) -> Callable[[OrchestrationError], None]:
    """Return what notes why what was asked for failed, for who watches over requests."""

    def note(error: OrchestrationError) -> None:
        scope[ERROR] = error

    return note


_BODY = "data"
"""What handlers, and so the framework's errors, call a request's body."""

_log = logging.getLogger("orchestrion.control_plane")


class ConverterDTO(AbstractDTO[T], Generic[T]):
    """Lets Litestar read and write our values by our own converter: they are on the wire what they are in the store.

    It overrides hooks that Litestar 2 describes only for its own data transfer objects.
    """

    def decode_bytes(self, value: bytes) -> Any:
        """Return the body's value; who has let the request in may have read it already."""
        scope: Any = self.asgi_connection.scope
        read, kind = scope.get(READ), self._kind()
        return read if read is not None and type(read) is kind else from_json(value, kind)

    def decode_builtins(self, value: Any) -> Any:
        """Return the value that plain data stands for."""
        return structure(value, self._kind())

    def data_to_encodable_type(self, data: Any) -> Any:
        """Return a handler's result as plain data."""
        return unstructure(data)

    def _kind(self) -> Any:
        field = self.asgi_connection.route_handler.parsed_data_field
        if field is None:
            msg = "a handler with a body needs a parameter `data`"
            raise TypeError(msg)
        return field.annotation

    @classmethod
    def create_for_field_definition(
        cls, field_definition: FieldDefinition, handler_id: str, backend_cls: Any = None
    ) -> None:
        """Make nothing: the converter needs no code of its own for a handler."""

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[DTOFieldDefinition, None, None]:
        """Name no fields: the converter knows them."""
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:
        """Leave nested values to the converter."""
        return False

    @classmethod
    def is_supported_model_type_field(cls, field_definition: FieldDefinition) -> bool:
        """Take any type."""
        return True

    @classmethod
    def resolve_model_type(cls, field_definition: FieldDefinition) -> FieldDefinition:
        """Take the type as it is."""
        return field_definition


def control_handlers(control: Control, streams: OpenStreams, /) -> list[ControllerRouterHandler]:
    """Return the handlers of every question of a Control.

    Args:
        control: Who answers.
        streams: Counts streams, and says when they are to come to their end.
    """

    @get("/v1/ping", opt={ACCESS: None})
    async def ping() -> dict[str, bool]:
        return {"ok": True}

    @post(
        "/v1/apply",
        status_code=200,
        opt={ACCESS: Needs("apply", "workloads", body="workloads", dry_run=True)},
        request_max_body_size=MAX_BODY_BYTES,
    )
    async def apply(
        data: JSONBody[WorkloadsRequest],
        dry_run: FromQuery[bool] = False,
        rerun: FromQuery[bool] = False,
        only_new: FromQuery[bool] = False,
        manager: FromQuery[str] = "control",
        force: FromQuery[bool] = False,
        if_index: FromQuery[int | None] = None,
    ) -> ApplyResult:
        return await control.apply(
            data.workloads,
            dry_run=dry_run,
            rerun=rerun,
            only_new=only_new,
            manager=manager,
            force=force,
            if_index=if_index,
        )

    @post(
        "/v1/plan",
        status_code=200,
        opt={ACCESS: Needs("plan", "workloads", body="workloads")},
        request_max_body_size=MAX_BODY_BYTES,
    )
    async def plan(data: JSONBody[WorkloadsRequest], rerun: FromQuery[bool] = False) -> Plan:
        return await control.plan(data.workloads, rerun=rerun)

    @get("/v1/workloads", opt={ACCESS: Needs("list", "workloads", query=("namespace",))})
    async def list_workloads(namespace: FromQuery[str | None] = None) -> list[WorkloadView]:
        return await control.list_workloads(namespace=namespace)

    @get("/v1/workload", opt={ACCESS: Needs("get", "workloads", query=("namespace", "name"))})
    async def get_workload(name: FromQuery[str], namespace: FromQuery[str] = DEFAULT_NAMESPACE) -> WorkloadView:
        return await control.get_workload(name, namespace=namespace)

    def one(verb: str) -> dict[str, Any]:
        return {ACCESS: Needs(verb, "workloads", query=("namespace", "name"), dry_run=True)}

    @delete("/v1/workload", status_code=200, opt=one("delete"))
    async def remove(
        name: FromQuery[str], namespace: FromQuery[str] = DEFAULT_NAMESPACE, dry_run: FromQuery[bool] = False
    ) -> dict[str, bool]:
        await control.remove(name, namespace=namespace, dry_run=dry_run)
        return {"ok": True}

    @post("/v1/workload/scale", status_code=200, opt=one("scale"))
    async def scale(
        data: JSONBody[ScaleRequest],
        name: FromQuery[str],
        namespace: FromQuery[str] = DEFAULT_NAMESPACE,
        dry_run: FromQuery[bool] = False,
    ) -> WorkloadView:
        return await control.scale(name, data.replicas, namespace=namespace, dry_run=dry_run)

    updates = {ACCESS: Needs("rollout", "workloads", query=("namespace", "name"))}

    @post("/v1/workload/pause", status_code=200, opt=updates)
    async def pause(name: FromQuery[str], namespace: FromQuery[str] = DEFAULT_NAMESPACE) -> WorkloadView:
        return await control.pause(name, namespace=namespace)

    @post("/v1/workload/resume", status_code=200, opt=updates)
    async def resume(name: FromQuery[str], namespace: FromQuery[str] = DEFAULT_NAMESPACE) -> WorkloadView:
        return await control.resume(name, namespace=namespace)

    @post("/v1/workload/stop", status_code=200, opt=one("stop"))
    async def stop(
        name: FromQuery[str], namespace: FromQuery[str] = DEFAULT_NAMESPACE, dry_run: FromQuery[bool] = False
    ) -> WorkloadView:
        return await control.stop(name, namespace=namespace, dry_run=dry_run)

    @get("/v1/workload/explain", opt={ACCESS: Needs("explain", "workloads", query=("namespace", "name"))})
    async def explain(
        name: FromQuery[str], namespace: FromQuery[str] = DEFAULT_NAMESPACE, node: FromQuery[str | None] = None
    ) -> list[SlotPlacement]:
        return await control.explain(name, namespace=namespace, node=None if node is None else NodeId(node))

    @get("/v1/instances", opt={ACCESS: Needs("list", "instances", query=("namespace",))})
    async def list_instances(
        namespace: FromQuery[str | None] = None, workload: FromQuery[str | None] = None
    ) -> list[WorkloadInstance]:
        return await control.list_instances(namespace=namespace, workload=workload)

    @get("/v1/nodes", opt={ACCESS: Needs("list", "nodes")})
    async def list_nodes() -> list[Node]:
        return await control.list_nodes()

    @get("/v1/events", opt={ACCESS: Needs("list", "events", query=("namespace",))})
    async def events(
        request: Request[Any, Any, Any],
        namespace: FromQuery[str | None] = None,
        subject: FromQuery[str | None] = None,
        since: FromQuery[str | None] = None,
        limit: FromQuery[int] = 1000,
        types: FromQuery[str] = "",
    ) -> Response[Any]:
        given = {"namespace": namespace, "subject": subject, "since": since, "limit": limit, "types": types}
        query = structure(given, EventsQuery)
        found = await control.events(
            namespace=query.namespace, subject=query.subject, since=query.since, limit=query.limit, types=query.words
        )
        if is_wanted(request.headers.get("accept", "")):
            return Response(batch(found), media_type=CLOUD_EVENTS)
        return Response(to_json(found), media_type="application/json")

    @get("/v1/watch", opt={ACCESS: Needs("watch", "workloads", query=("namespace",))})
    async def watch(request: Request[Any, Any, Any], namespace: FromQuery[str | None] = None) -> ASGIApp:
        scope: Any = request.scope
        form = HAPPENED if is_wanted(request.headers.get("accept", "")) else None
        return LineStream(lambda: _watched(control, namespace, scope.get(CHECK)), streams, form=form)

    @post(
        "/v1/logs",
        status_code=200,
        opt={ACCESS: Needs("logs", "workloads", body="logs")},
        request_max_body_size=MAX_QUESTION_BYTES,
    )
    async def logs(data: JSONBody[LogQuery]) -> ASGIApp:
        return LineStream(lambda: control.logs(data), streams, to_its_end=True, form=RECORD_LINES)

    @websocket("/v1/exec", opt={ACCESS: Needs("exec", "instances", query=("namespace", "name"))})
    async def exec_(
        socket: WebSocket[Any, Any, Any], name: FromQuery[str], namespace: FromQuery[str] = DEFAULT_NAMESPACE
    ) -> None:
        given = {"namespace": namespace, "instance": name}
        standing, failed = standing_of(socket.scope), noting_failure(socket.scope)
        await serve_exec(control, socket.receive, socket.send, given, standing=standing, failed=failed)

    handlers = [
        ping,
        apply,
        plan,
        list_workloads,
        get_workload,
        remove,
        scale,
        pause,
        resume,
        stop,
        explain,
        list_instances,
        list_nodes,
        events,
        watch,
        logs,
        exec_,
    ]
    return [Router("/", route_handlers=handlers, guards=[_check_query])]


async def _check_query(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse a query with what the handler does not take: a trial that is misspelt would be done.

    Raises:
        ConfigInvalid: It has such a parameter.
    """
    given = connection.query_params
    if not given:
        return
    try:
        check_known(given.keys(), handler.parsed_fn_signature.parameters.keys() - _NO_QUERY)
    except ConfigInvalid as err:
        # The framework closes a socket for it, and does not say why.
        noting_failure(connection.scope)(err)
        raise


_NO_QUERY: Final = frozenset((_BODY, "request", "socket"))
"""What handlers are given that is nothing of a query."""


@asynccontextmanager
async def _watched(
    control: Control, namespace: str | None, check: Check | None
) -> AsyncIterator[AsyncIterator[Update]]:
    """Follow what who asks may follow: whom workloads are shown need not be shown what is beside them."""
    async with control.watch(namespace=namespace) as updates:
        yield updates if check is None else _in_sight(updates, namespace or "", check)


async def _in_sight(updates: AsyncIterator[Update], namespace: str, check: Check) -> AsyncGenerator[Update, None]:
    async for update in updates:
        resource = _RESOURCES.get(update.kind)
        try:
            if resource is not None:
                check(Access("watch", resource, "" if resource == "nodes" else namespace))
        except Denied:
            continue
        yield update


_RESOURCES: Final[Mapping[UpdateKind, str]] = {
    UpdateKind.WORKLOAD: "workloads",
    UpdateKind.WORKLOAD_REMOVED: "workloads",
    UpdateKind.INSTANCE: "instances",
    UpdateKind.INSTANCE_REMOVED: "instances",
    UpdateKind.NODE: "nodes",
    UpdateKind.NODE_REMOVED: "nodes",
    UpdateKind.EVENT: "events",
}


Lost = Callable[[Request[Any, Any, Any]], "Response[Any] | None"]
"""Answers a request for a path that is none in its own way; None leaves it to what everybody is told."""


def make_app(
    handlers: Sequence[ControllerRouterHandler], /, *, guards: Sequence[Guard] = (), lost: Lost | None = None
) -> Litestar:
    """Return handlers as an ASGI application that speaks our values and answers with our errors.

    Args:
        handlers: Of the paths.
        guards: What is asked before each of them.
        lost: Answers who asks for a path that is none; None tells all the same.
    """

    def answer_refusal(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
        answer = lost(request) if lost is not None and error.status_code == 404 else None
        return answer if answer is not None else _answer_refusal(request, error)

    app = Litestar(
        handlers,
        guards=guards,
        dto=ConverterDTO,
        return_dto=ConverterDTO,
        exception_handlers={
            OrchestrationError: _answer_error,
            HTTPException: answer_refusal,
            Exception: _answer_fault,
        },
        openapi_config=None,
        logging_config=None,
        request_max_body_size=MAX_REQUEST_BYTES,
    )
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                _ask_without_copies(handler)
    return app


def _ask_without_copies(handler: HTTPRouteHandler) -> None:
    """Let guards see a handler itself: the framework gives each a copy, which takes as long as what our guard does.

    This is only an optimisation.
    """

    async def authorize(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
        for guard in handler.resolve_guards():
            await guard(connection, handler)  # type: ignore[misc] # it has made all of them asynchronous

    if hasattr(handler, "__dict__"):  # those that the framework has added have nowhere to put it
        handler.authorize_connection = authorize  # type: ignore[method-assign] # of this one alone


def _answer_error(request: Request[Any, Any, Any], error: OrchestrationError) -> Response[bytes]:
    request.scope[ERROR] = error  # type: ignore[typeddict-unknown-key] # for who watches over requests
    return _problem_response(error, status_of(error))


def _answer_refusal(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer what the framework refused before any handler saw it."""
    headers = error.headers
    if error.status_code == 404:
        answer: OrchestrationError = NotFound(
            f"this server has no such path: {error.detail}",
            remedy="Client and server may be of different versions: use the same one.",
        )
    elif error.status_code == 405:
        scope: Any = request.scope
        allowed = next((text for name, text in (error.headers or {}).items() if name.lower() == "allow"), "")
        if METHODS in scope:
            allowed = ", ".join(scope[METHODS](scope["path"])) or allowed
        headers = {"allow": allowed}
        answer = Unsupported(
            f"{request.method} is not for {request.url.path}",
            remedy=f"What can be done there: {allowed}." if allowed else "",
        )
    else:
        extra = error.extra if isinstance(error.extra, list) else []
        texts = [(str(item.get("key", "")), str(item.get("message", ""))) for item in extra if isinstance(item, dict)]
        if any(key == _BODY for key, _ in texts):
            texts = [("", "the request has no body, where a JSON text is wanted")]
        answer = ConfigInvalid(
            tuple(Problem(text, path=key) for key, text in texts) or (Problem(error.detail),),
        )
    return _problem_response(answer, error.status_code, headers)


def _answer_fault(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    answer = expected(error, f"answering {request.method} {request.url.path}")
    if answer.code == "internal":
        _log.error("%s", answer.message, exc_info=error)
    return _problem_response(answer, status_of(answer))


def _problem_response(
    error: OrchestrationError, status: int, headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    document = problem_of(error) | {"status": status}
    headers = {**(headers or {}), **retry_headers(error)}
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    return Response(json.dumps(document).encode(), status_code=status, media_type=PROBLEM_MEDIA_TYPE, headers=headers)


def retry_headers(error: OrchestrationError, /) -> Mapping[str, str]:
    """Return the headers that say when to come again, where an error says it (RFC 9110, section 10.2.3)."""
    if not isinstance(error, TooManyRequests):
        return {}
    return {"retry-after": str(math.ceil(error.retry_after_seconds))}
