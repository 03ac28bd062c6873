"""What every request goes through: an id, who asks, limits, whether they may, the record of it, counts, the log."""

from __future__ import annotations

import json
import logging
import math
import random
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import partial
from itertools import count
from typing import Any, Final, Protocol

import trio
from attrs import define, evolve, field
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from orchestrion.control_plane._access import ACCESS, CHECK, Needs
from orchestrion.control_plane._app import ERROR, retry_headers
from orchestrion.control_plane._at_request import AtRequest, answering, trace_id_of
from orchestrion.control_plane._http1.sockets import DENIAL
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._identity.asking import ASKING, WARNINGS, warnings_header
from orchestrion.control_plane._identity.audit_records import AuditRecord
from orchestrion.control_plane._identity.failures import NotProved
from orchestrion.control_plane._identity.principals import ANONYMOUS, OWNERS, Principal
from orchestrion.control_plane._limits import Lane, Limits
from orchestrion.control_plane._objects.kinds import KindRegistry
from orchestrion.control_plane._problems import PROBLEM_MEDIA_TYPE, problem_of, status_of
from orchestrion.control_plane._standing import STANDING, Standing
from orchestrion.control_plane._telemetry.access_log import AccessLog
from orchestrion.control_plane._telemetry.counts import RequestCounts
from orchestrion.control_plane._telemetry.refusals import Refusals
from orchestrion.orchestrator_core import WallClock, system_time
from orchestrion.shared_types import (
    ConfigInvalid,
    Denied,
    OrchestrationError,
    Problem,
    StateFailure,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)

from .caller import CALLER, Connection, Gatekeeper, accesses_of, named_by
from .doc import DOC, Doc
from .parameters import check_headers, check_query
from .passage import PASSAGE, READING, Passage, RevisionOf, lane_of, passage_of, request_id_of
from .sources import Network, source_of_request

_log = logging.getLogger("orchestrion.control_plane")

LATE_SECONDS: Final = 1.0
"""How long who asks too much waits at least for being told so: the next request on a connection comes after the answer,
so that refusing is no work that could be made without end. It is at most twice that, so that they do not all come back
at once."""

HEALTH_PATHS: Final = frozenset({"/livez", "/readyz", "/healthz"})

UNKNOWN_OPERATION: Final = "unknown"
"""What requests for paths that are none are counted as: names that others choose would take memory without end."""

_DRY_RUN: Final = "dry_run"

_CHALLENGE: Final = ((b"www-authenticate", b"Bearer"),)


class Recorder(Protocol):
    """Where it is put down who did what."""

    @property
    def failure(self) -> OrchestrationError | None:
        """Why nothing can be put down any longer; None while it can."""
        ...

    async def write(self, record: AuditRecord, /) -> int:
        """Put a record down; see `AuditLog.write`."""
        ...


class Tracer(Protocol):
    """Follows requests through the server."""

    def request(self, operation: str, request_id: str, traceparent: str, /) -> AbstractContextManager[str]:
        """Be at a request while inside, and give the id of its trace.

        `traceparent` is the header of that name (W3C Trace Context), or empty.
        """
        ...

    def step(self, name: str, subject: str, /) -> AbstractContextManager[object]:
        """Be at a step of the orchestrator while inside; see `StepObserver.step`."""
        ...


@define(eq=False)
class Pipeline:
    """Watches over the requests to a server.

    Attributes:
        keeper: Finds out who asks, and says whether they may.
        limits: How often and how much may be asked.
        recorder: Where changes and refusals are put down; None is nowhere.
        refusals: Sums up the refusals of who is not known.
        revision_of: Says at which revision what a request is about is now, 0 where there is none.
        kinds: The kinds that there are.
        counts: Counts requests.
        access_log: Has a line of each request; None has none.
        tracer: Follows requests; None follows none.
        proxies: Networks of proxies that are believed about whom they speak for.
        now: The wall clock.
        new_id: Makes ids of requests.
    """

    keeper: Gatekeeper
    limits: Limits = field(factory=Limits, kw_only=True)
    recorder: Recorder | None = field(default=None, kw_only=True)
    refusals: Refusals = field(factory=Refusals, kw_only=True)
    revision_of: RevisionOf = field(default=lambda _access: 0, kw_only=True)
    kinds: KindRegistry = field(factory=KindRegistry, kw_only=True)
    counts: RequestCounts = field(factory=RequestCounts, kw_only=True)
    access_log: AccessLog | None = field(default=None, kw_only=True)
    tracer: Tracer | None = field(default=None, kw_only=True)
    proxies: Sequence[Network] = field(default=(), kw_only=True)
    now: WallClock = field(default=system_time, kw_only=True)
    new_id: Callable[[], str] = field(factory=lambda: _numbered(secrets.token_hex(6)), kw_only=True)

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return an application whose requests go through this. Its guards have `guard` among them."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            await self._watch(app, scope, receive, send)

        return watched

    async def guard(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Let a request through to its handler, or raise what it is refused with."""
        try:
            await self._let_through(connection, handler)
        except OrchestrationError as err:
            # The framework closes a socket for it, and does not say why.
            connection.scope[ERROR] = err  # type: ignore[typeddict-unknown-key] # what it is for
            raise

    async def _let_through(self, connection: Connection, handler: BaseRouteHandler) -> None:
        needs: Needs | None = handler.opt.get(ACCESS)
        if needs is None:
            return
        passage = passage_of(connection.scope)
        if passage is None:
            msg = "a request came by another way than the pipeline"
            raise RuntimeError(msg)
        passage.accesses = (named_by(needs, connection),)
        try:
            await self._admit(passage, needs, handler, connection)
        except TooManyRequests:
            if passage.lane is not Lane.NODE:
                await _late()
            raise

    async def _admit(self, passage: Passage, needs: Needs, handler: BaseRouteHandler, connection: Connection) -> None:
        claim = self.keeper.claim(connection)
        with self._counting_wrong(passage, claim):
            principal = passage.principal = await self.keeper.authenticate(connection)
        ASKING.set(principal)
        WARNINGS.set([])
        scope: Any = connection.scope
        scope[CALLER], scope[CHECK] = principal, partial(self.keeper.check, principal)
        passage.lane = lane = lane_of(principal, passage.accesses[0])
        passage.leave = await self.limits.enter(principal, passage.source, lane)
        accesses = await accesses_of(needs, connection, passage.accesses[0])
        checked = list[Access]()
        for access in () if needs.anybody else accesses:
            try:
                self.keeper.check(principal, access)
            except Denied as err:
                if needs.narrowed and self._may_own(principal, access):
                    passage.only_of = principal.subject
                    checked.append(evolve(access, owners=frozenset((principal.subject,))))
                    continue
                # Noted here, because a websocket that is refused has no answer that would say it.
                passage.accesses, passage.denied, passage.reason = (access,), True, err.message
                raise
            checked.append(access)
        if lane is Lane.STREAM:
            check = partial(self._stands, connection, principal, checked)
            stands = Standing(check, self.keeper.changes, partial(self._seconds_left, principal))
            connection.scope[STANDING] = stands  # type: ignore[typeddict-unknown-key] # what it is for
        passage.accesses = accesses
        check_query(connection, handler, self.kinds)
        if passage.changes:
            passage.before = tuple([self.revision_of(access) for access in accesses])
            passage.dry_run = _is_dry_run(connection, needs, handler)
            check_headers(connection, handler, self.kinds)
            self._check_recorder()

    async def take_lane(self, passage: Passage, lane: Lane) -> None:
        """Move a request into the lane of what it turned out to do, which its path does not say; wait there in turn.

        **Cancellation.** *Atomic*: it then has no seat in any lane.

        Raises:
            TooManyRequests: That lane is full, or it came too soon for it.
        """
        leave = passage.leave
        if passage.principal is None or leave is None or passage.lane is lane:
            return
        passage.lane, passage.leave = lane, None
        leave()
        passage.leave = await self.limits.enter(passage.principal, passage.source, lane)

    @contextmanager
    def _counting_wrong(self, passage: Passage, claim: str) -> Iterator[None]:
        """See to it that who shows what proves nothing, again and again, makes no work and fills no disk."""
        try:
            self.limits.check_proofs(passage.source, claim)
            try:
                yield
            except (Unauthenticated, Denied, Unavailable) as err:
                passage.reason = _why(err)
                self.limits.count_wrong_proof(passage.source, claim)
                raise
        except TooManyRequests:
            passage.quota = self.limits.quota_of_proofs(passage.source, claim)
            raise

    @asynccontextmanager
    async def proving(self, connection: Connection, access: Access) -> AsyncIterator[Passage]:
        """Be at finding out who somebody is while inside, by what no guard looks at, as a form of the dashboard.

        It goes on record, whether it succeeds or not; who it was found to be is for the caller to note in the passage.

        Args:
            connection: The request.
            access: What that is called on record.

        Raises:
            TooManyRequests: Too many wrong proofs came from where it comes from.
            OrchestrationError: Nothing can be put on record any longer.
        """
        passage = passage_of(connection.scope)
        if passage is None:
            msg = "a request came by another way than the pipeline"
            raise RuntimeError(msg)
        passage.accesses, passage.before = (access,), (0,)
        try:
            with self._counting_wrong(passage, ""):
                self._check_recorder()
                yield passage
        except TooManyRequests:
            await _late()
            raise

    def permit(self, passage: Passage, access: Access) -> None:
        """Let a handler do something that its path does not say, and see that it goes on record if it is a change.

        Raises:
            Denied: Who asks may not; that goes on record too.
            OrchestrationError: Nothing can be put on record any longer.
        """
        self.refuse(passage, access)
        if access.verb in READING:
            return
        accesses, before = (passage.accesses, passage.before) if passage.changes else ((), ())
        passage.accesses = (*accesses, access)
        passage.before = (*before, self.revision_of(access))
        self._check_recorder()

    def refuse(self, passage: Passage, access: Access) -> None:
        """Refuse a handler what who asks may not do; that goes on record.

        Raises:
            Denied: They may not.
        """
        principal = passage.principal if passage.principal is not None else ANONYMOUS
        try:
            self.keeper.check(principal, access)
        except Denied as err:
            passage.accesses, passage.denied, passage.reason = (access,), True, err.message
            raise

    def _stands(self, connection: Connection, principal: Principal, accesses: Sequence[Access]) -> None:
        self.keeper.prove_again(connection, principal)
        for access in accesses:
            self.keeper.check(principal, access)

    def _seconds_left(self, principal: Principal) -> float:
        return math.inf if principal.expires_at is None else (principal.expires_at - self.now()).total_seconds()

    def _may_own(self, principal: Principal, access: Access) -> bool:
        """Whether somebody may do something with what is their own, where nothing else is named."""
        if access.name or principal.kind not in OWNERS:
            return False
        try:
            self.keeper.check(principal, evolve(access, owners=frozenset((principal.subject,))))
        except Denied:
            return False
        return True

    def _check_recorder(self) -> None:
        if self.recorder is not None and self.recorder.failure is not None:
            raise self.recorder.failure  # what can't go on record is not done

    async def _watch(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        passage = Passage(
            request_id_of(scope, self.new_id), source_of_request(scope, self.proxies), trio.current_time()
        )
        passage.trace_id = trace_id_of(scope["headers"]) or passage.request_id
        scope[PASSAGE] = passage  # type: ignore[typeddict-unknown-key] # what it is for
        self.counts.at_work += 1
        try:
            with answering(AtRequest(passage.request_id, passage.trace_id)) as at:
                if self.tracer is None:
                    await self._answer(app, scope, receive, _Answer(self, scope, passage, send))
                else:
                    with self._inside(self.tracer, scope, passage, at):
                        await self._answer(app, scope, receive, _Answer(self, scope, passage, send))
        finally:
            if passage.leave is not None:
                passage.leave()
            self.counts.at_work -= 1
            self._note(scope, passage)

    async def _answer(self, app: ASGIApp, scope: Scope, receive: Receive, answer: _Answer) -> None:
        passage, health = answer.passage, scope["path"] in HEALTH_PATHS
        wait = self.limits.wait_open(passage.source, health=health)
        if wait and not self.keeper.claim(ASGIConnection(scope)):
            await _late()
            passage.quota = self.limits.quota_of_open(passage.source, health=health)
            await answer.refuse(_flooded(passage.source, wait))
            return
        try:
            await app(scope, receive, answer.send)
        finally:
            await answer.conclude()
        if passage.principal is None:
            self.limits.count_open(passage.source, health=health)

    @contextmanager
    def _inside(self, tracer: Tracer, scope: Scope, passage: Passage, at: AtRequest) -> Iterator[None]:
        given = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
        method = scope.get("method", "GET")
        with tracer.request(f"{method}", passage.request_id, given.decode("latin-1")) as trace_id:
            passage.trace_id = at.trace_id = trace_id
            yield

    async def put_down(
        self, scope: Scope, passage: Passage, headers: Sequence[tuple[bytes, bytes]]
    ) -> OrchestrationError | None:
        """Put a request down that is about to be answered.

        Returns:
            What it is answered instead, if that can't be put down.
        """
        if self.recorder is None or not passage.goes_on_record:
            return None
        error = scope.get(ERROR)
        if isinstance(error, OrchestrationError):
            passage.denied = isinstance(error, Denied)
            passage.reason = passage.reason or (error.message if passage.denied else error.code)
        name = next((value.decode("latin-1").rpartition("/")[2] for key, value in headers if key == b"location"), "")
        records = passage.records(self.now(), name, self.revision_of)
        if passage.principal is None:
            records = [record for record in records if self.refusals.take(record)]
        try:
            await self._write(records, self.recorder)
        except OrchestrationError as err:
            self.counts.not_recorded += 1
            _log.error("a request could not be put on record: %s", err.message)  # the message says it
            return StateFailure(
                "what was done could not be put on record" if passage.status < 400 else "it could not be put on record",
                remedy="Look whether it is as wanted before trying again, and after the audit log of the server.",
            )
        return None

    async def sum_up(self, *, at_the_end: bool = False) -> None:
        """Put down what was refused to who is not known since it was last told of; it tells once a minute at most.

        **Cancellation.** Indeterminate: it may be lost how many there were.

        Args:
            at_the_end: Whether no more is to come, and nothing is waited for.
        """
        due = self.refusals.due(all_of_them=at_the_end)
        if self.recorder is None or not due:
            return
        try:
            await self._write(due, self.recorder)
        except OrchestrationError as err:
            self.counts.not_recorded += 1
            _log.error("refusals could not be put on record: %s", err.message)  # the message says it

    async def _write(self, records: Sequence[AuditRecord], recorder: Recorder) -> None:
        """Write records at the same time: the disk is waited for once for all of them, not once for each."""
        failures = list[OrchestrationError]()

        async def write(record: AuditRecord) -> None:
            try:
                await recorder.write(record)
            except OrchestrationError as err:
                failures.append(err)

        if len(records) == 1:
            await write(records[0])
        else:
            async with trio.open_nursery() as nursery:
                for record in records:
                    nursery.start_soon(write, record)
        if failures:
            raise failures[0]

    def _note(self, scope: Scope, passage: Passage) -> None:
        operation = UNKNOWN_OPERATION
        handler = scope.get("route_handler")
        if handler is not None:
            operation = handler.name or scope.get("path_template") or UNKNOWN_OPERATION
        seconds = trio.current_time() - passage.began
        counts, status = self.counts, passage.status
        counts.answered(operation, status, None if passage.lane is Lane.STREAM else seconds)
        if status in (401, 403):
            counts.refused["unauthenticated" if passage.principal is None else "denied"] += 1
        elif status == 429:
            counts.turned_away[(passage.lane or Lane.READ) if passage.principal is not None else "unknown"] += 1
        if self.access_log is not None:
            self.access_log.note(scope, passage, operation, seconds)


@define(eq=False)
class _Answer:
    """Passes an answer on, once the request is on record where it has to be."""

    _pipeline: Pipeline
    _scope: Scope
    passage: Passage
    _send: Send
    _replaced: bool = False
    _pending: bool = False
    """Whether it was let in over a socket, and it is not known yet whether what it asks for has begun."""

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.body":
            if not self._replaced:
                await self._send(message)
        elif kind == "http.response.start":
            await self._start(message)
        else:
            await self._socket(kind, message)

    async def _start(self, message: Any) -> None:
        passage = self.passage
        passage.status = message["status"]
        headers = [*message["headers"], *self._own_headers(), *warnings_header()]
        error = await self._pipeline.put_down(self._scope, passage, headers)
        if error is None:
            message["headers"] = headers
            await self._send(message)
            return
        self._replaced = True
        await self.refuse(error)

    async def refuse(self, error: OrchestrationError) -> None:
        """Answer with an error what no handler is to answer, or has answered in vain."""
        passage = self.passage
        passage.status = status_of(error)
        if str(self._scope["type"]) == "websocket":
            await self._refuse_socket(error, {"type": "websocket.close", "code": 1013, "reason": ""})
            return
        await self._say("http.response", error)

    async def _refuse_socket(self, error: OrchestrationError, close: Any) -> None:
        if DENIAL in (self._scope.get("extensions") or {}):
            await self._say(DENIAL, error)
        else:
            await self._send(close)

    async def _say(self, kind: str, error: OrchestrationError) -> None:
        body = json.dumps(problem_of(error) | {"status": self.passage.status}).encode()
        headers = [
            (b"content-type", PROBLEM_MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            *self._own_headers(),
            *(_CHALLENGE if isinstance(error, Unauthenticated) else ()),
            *((name.encode(), value.encode()) for name, value in retry_headers(error).items()),
        ]
        start: Any = {"type": f"{kind}.start", "status": self.passage.status, "headers": headers}
        rest: Any = {"type": f"{kind}.body", "body": body, "more_body": False}
        await self._send(start)
        await self._send(rest)

    def _own_headers(self) -> Iterator[tuple[bytes, bytes]]:
        passage = self.passage
        yield b"x-request-id", passage.request_id.encode()
        yield b"x-trace-id", passage.trace_id.encode()
        if passage.quota:
            yield from passage.quota
        elif passage.principal is not None and passage.lane is not None:
            yield from self._pipeline.limits.quota_of(passage.principal, passage.source, passage.lane)

    async def _socket(self, kind: str, message: Any) -> None:
        passage = self.passage
        if passage.status == 0 and kind in ("websocket.accept", "websocket.close"):
            # A handler that closes before it accepts refuses; which error it was, the close code does not say.
            refusal = self._scope.get(ERROR)
            refused = 401 if passage.principal is None else 403
            if isinstance(refusal, OrchestrationError):
                refused = status_of(refusal)
            if kind == "websocket.close":
                passage.reason = passage.reason or "refused before it began"
            passage.status = 101 if kind == "websocket.accept" else refused
            if kind == "websocket.accept" and passage.changes:
                # What it is to do comes only then; what is said first tells whether it was done.
                self._pending = True
                await self._send(message)
                return
            error = await self._pipeline.put_down(self._scope, passage, ())
            if error is not None and kind == "websocket.accept":
                passage.status = status_of(error)
                raise error
            if kind == "websocket.close" and isinstance(refusal, OrchestrationError):
                await self._refuse_socket(refusal, message)
                return
        elif self._pending:
            self._pending = False
            error = await self._pipeline.put_down(self._scope, passage, ())
            if error is not None and self._scope.get(ERROR) is None:
                raise error  # the command is killed before anybody is told that it runs
        await self._send(message)

    async def conclude(self) -> None:
        """Put down what was let in and came to no word; also where it was cancelled."""
        if self._pending:
            self._pending = False
            self.passage.reason = self.passage.reason or "cut off before it began"
            with trio.CancelScope(shield=True):
                await self._pipeline.put_down(self._scope, self.passage, ())


def _is_dry_run(connection: Connection, needs: Needs, handler: BaseRouteHandler) -> bool:
    """Return whether a change is only to be tried.

    Raises:
        ConfigInvalid: It can't be told, or what is asked for can't be tried.
    """
    given = connection.query_params.getall(_DRY_RUN, [])
    if not given:
        return False
    doc: Doc | None = handler.opt.get(DOC)
    if not (needs.dry_run if doc is None else _DRY_RUN in doc.parameters):
        # Who sends it takes it for granted that nothing is done.
        raise ConfigInvalid((Problem("this can't be tried: there is no dry run of it", path=_DRY_RUN),))
    if given not in (["true"], ["false"]):
        raise ConfigInvalid((Problem("true or false is wanted, once", path=_DRY_RUN),))
    return bool(given == ["true"])


async def _late() -> None:
    await trio.sleep(random.uniform(LATE_SECONDS, 2 * LATE_SECONDS))  # noqa: S311 - nobody gains by guessing it


def _flooded(source: str, wait: float) -> TooManyRequests:
    return TooManyRequests(
        f"too much comes from {source or 'there'} of which nobody knows who asks",
        retry_after_seconds=max(wait, LATE_SECONDS),
        remedy="ask for less at once, or say who you are",
    )


def _why(error: Unauthenticated | Denied | Unavailable) -> str:
    if isinstance(error, NotProved):
        return error.reason.value
    return error.message if isinstance(error, Denied) else "nothing was shown that is known"


def _numbered(prefix: str) -> Callable[[], str]:
    """Return what gives a new id each time; the prefix tells the runs of a server apart."""
    numbers = count(1)
    return lambda: f"{prefix}-{next(numbers)}"
