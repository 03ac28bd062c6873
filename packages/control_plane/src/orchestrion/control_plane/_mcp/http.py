"""Sessions over HTTP, by the protocol's own rules for it ("streamable HTTP"), without streams of the server's."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import define, field, frozen
from litestar import Request, Router, delete, post
from litestar.types import ASGIApp
from orchestrion.control_plane._access import Needs
from orchestrion.control_plane._control import Control
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._identity.principals import ANONYMOUS, Principal
from orchestrion.control_plane._limits import Lane
from orchestrion.control_plane._web.answers import JSON, Raw
from orchestrion.control_plane._web.caller import caller_of
from orchestrion.control_plane._web.doc import Answered, Doc, described
from orchestrion.control_plane._web.passage import Passage, passage_of
from orchestrion.control_plane._web.pipeline import Pipeline
from orchestrion.orchestrator_core import WallClock, system_time
from orchestrion.shared_types import Denied, InternalError, NotFound, OrchestrationError

from .desk import Desk
from .messages import INVALID_REQUEST, MAX_MESSAGE_BYTES, RpcError, decode, encode, failure, id_of
from .session import VERSIONS, Session
from .tools import changes_something

PATH: Final = "/mcp"
MAX_SESSIONS: Final = 1024
MAX_SESSIONS_EACH: Final = 32
"""So many sessions one principal has; of more, the one that was used longest ago ends."""

_SESSION_HEADER: Final = "mcp-session-id"
_VERSION_HEADER: Final = "mcp-protocol-version"

_SOMEBODY: Final = Needs("get", "mcp", anybody=True)

_ANSWER: Final = {JSON: "McpAnswer"}
_ASKING: Final = Doc(
    summary="Ask by the Model Context Protocol",
    parameters=("Mcp-Session-Id", "MCP-Protocol-Version"),
    body={JSON: "McpMessage"},
    answers={
        200: Answered(description="The answer.", forms=_ANSWER),
        202: Answered(description="It was a notification.", forms={}),
        **{
            status: Answered(description=HTTPStatus(status).phrase, forms=_ANSWER)
            for status in (400, 403, 404, 406, 415)
        },
    },
)
_ENDING: Final = Doc(
    summary="End a session of the Model Context Protocol",
    parameters=("Mcp-Session-Id",),
    answers={204: Answered(description="It is over.", forms={})},
    errors=(404,),
)

AnyRequest = Request[Any, Any, Any]


def _new_id() -> str:
    return secrets.token_urlsafe(24)


@frozen
class _Held:
    owner: str
    session: Session


@define(eq=False)
class Sessions:
    """The sessions that there are, each of one principal. A client whose session has ended begins another.

    Attributes:
        new_id: Makes ids that nobody guesses.
    """

    new_id: Callable[[], str] = _new_id
    _held: dict[str, _Held] = field(factory=dict)
    """The one that was used last is last."""

    def add(self, owner: str, session: Session) -> str:
        """Keep a session, and return its id."""
        own = [each for each, held in self._held.items() if held.owner == owner]
        if len(own) >= MAX_SESSIONS_EACH:
            self.end(owner, own[0])
        elif len(self._held) >= MAX_SESSIONS:
            oldest = next(iter(self._held))
            self.end(self._held[oldest].owner, oldest)
        session_id = self.new_id()
        self._held[session_id] = _Held(owner, session)
        return session_id

    def get(self, owner: str, session_id: str) -> Session | None:
        """Return a session of somebody's; None where they have none of that id."""
        held = self._held.get(session_id)
        if held is None or held.owner != owner:
            return None
        self._held[session_id] = self._held.pop(session_id)
        return held.session

    def end(self, owner: str, session_id: str) -> bool:
        """End a session, with what is under way, and return whether somebody had one of that id."""
        session = self.get(owner, session_id)
        if session is None:
            return False
        session.cancel_all()
        del self._held[session_id]
        return True


def mcp_handlers(
    control: Control, pipeline: Pipeline, sessions: Sessions | None = None, *, clock: WallClock = system_time
) -> Router:
    """Return the handlers of the path.

    Args:
        control: Does what tools ask for.
        pipeline: Is asked before each thing that a tool does.
        sessions: Keeps the sessions.
        clock: The wall clock.
    """
    kept = sessions if sessions is not None else Sessions()

    # Here everybody is let in who is known; what they may do is asked for each thing that a tool does.
    @post(PATH, opt=described(_SOMEBODY, _ASKING), name="mcp", request_max_body_size=MAX_MESSAGE_BYTES)
    async def ask(request: AnyRequest) -> ASGIApp:
        refusal = _refusal(request)
        if refusal is not None:
            return refusal
        principal = caller_of(request)
        passage = passage_of(request.scope)
        if passage is None:
            msg = "a request came by another way than the pipeline"
            raise InternalError(msg)
        desk = Desk(control, _Watcher(pipeline, passage), clock)
        try:
            message = decode(await request.body())
        except RpcError as err:
            return _failed(400, err)
        if isinstance(message, dict) and message.get("method") == "initialize":
            return await begun(message, desk, principal)
        if changes_something(message):
            await pipeline.take_lane(passage, Lane.WRITE)
        session_id = request.headers.get(_SESSION_HEADER)
        if session_id is None:
            return _failed(400, RpcError(INVALID_REQUEST, "initialize first, then say Mcp-Session-Id"), message)
        session = kept.get(principal.subject, session_id)
        if session is None:
            return _failed(404, RpcError(INVALID_REQUEST, "there is no such session; initialize again"), message)
        answer = await session.answer(message, desk)
        return Raw(202, b"") if answer is None else Raw(200, encode(answer))

    async def begun(message: Any, desk: Desk, principal: Principal) -> ASGIApp:
        session = Session()
        answer = await session.answer(message, desk)
        if not session.version:
            return Raw(400, encode(answer))
        session_id = kept.add(principal.subject, session)
        return Raw(200, encode(answer), ((_SESSION_HEADER.encode(), session_id.encode()),))

    @delete(PATH, status_code=200, opt=described(_SOMEBODY, _ENDING), name="mcp-end")
    async def end(request: AnyRequest) -> ASGIApp:
        principal = caller_of(request)
        if not kept.end(principal.subject, request.headers.get(_SESSION_HEADER, "")):
            msg = "there is no such session"
            raise NotFound(msg)
        return Raw(204, b"")

    # There is nothing that a server would say without being asked: a GET is answered 405, as the protocol has it.
    return Router("/", route_handlers=[ask, end], dto=None, return_dto=None)


@frozen
class _Watcher:
    """Lets tools do what who asks may, and sees that it goes on record."""

    _pipeline: Pipeline
    _passage: Passage

    def permit(self, access: Access, /) -> None:
        self._pipeline.permit(self._passage, access)

    def may(self, access: Access, /) -> bool:
        principal = self._passage.principal
        try:
            self._pipeline.keeper.check(principal if principal is not None else ANONYMOUS, access)
        except Denied:
            return False
        return True

    def tries(self) -> None:
        self._passage.dry_run = True

    def failed(self, error: OrchestrationError, /) -> None:
        if self._passage.changes and not self._passage.reason:
            self._passage.reason = error.code


def _refusal(request: AnyRequest) -> Raw | None:
    """Return the answer to what is no message from a client of the protocol, or None."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        # A page of another site, whose browser may know a way in here (DNS rebinding).
        return _failed(403, RpcError(INVALID_REQUEST, "pages of other origins are not answered"))
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        return _failed(415, RpcError(INVALID_REQUEST, "a message is application/json"))
    accepted = {each.partition(";")[0].strip().lower() for each in request.headers.get("accept", "*/*").split(",")}
    if not accepted & {"application/json", "application/*", "*/*"}:
        return _failed(406, RpcError(INVALID_REQUEST, "answers are application/json"))
    version = request.headers.get(_VERSION_HEADER)
    if version is not None and version not in VERSIONS:
        text = f"MCP-Protocol-Version {version!r:.80} is not spoken here; {', '.join(VERSIONS)} are"
        return _failed(400, RpcError(INVALID_REQUEST, text))
    return None


def _failed(status: int, error: RpcError, message: Any = None) -> Raw:
    return Raw(status, encode(failure(id_of(message), error)))
