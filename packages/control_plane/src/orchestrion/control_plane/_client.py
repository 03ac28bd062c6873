"""A Control on the other side of a socket or of a network."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from orchestrion.orchestrator_core import ApplyResult, LogQuery, LogRecord, Plan, SlotPlacement, Update, WorkloadView
from orchestrion.runtime_interface import ExecSession, TerminalSize
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    ConfigInvalid,
    Event,
    Node,
    NodeId,
    Problem,
    WorkloadDefinition,
    WorkloadInstance,
    structure_answer,
    to_json,
)

from ._answers import document_of, foreign, is_json, refusal_of
from ._http import Answer, request
from ._peer import Peer, as_peer
from ._problems import error_of
from ._wire import ExecRequest, ScaleRequest, WorkloadsRequest, record_of_plain

T = TypeVar("T")


class HttpControl:
    """A `Control` that speaks to the one that is served at a socket, or by a server of the network.

    What it raises is what the other side raised, the same class with the same text; beyond that, NetworkFailure where
    nobody answers or a connection is cut off.

    **Concurrency.** Any number of tasks may call any methods at once.
    """

    def __init__(self, where: Path | Peer, /) -> None:
        """Take the path of the socket, or a peer; nothing is connected yet. Each call makes a connection of its own."""
        self._peer = as_peer(where)

    @property
    def peer(self) -> Peer:
        """Whom it speaks to."""
        return self._peer

    async def ping(self) -> None:
        """Make sure that somebody answers.

        Raises:
            NetworkFailure: Nobody does.
        """
        await self._ask("GET", "/v1/ping", dict[str, bool])

    async def apply(
        self,
        workloads: Sequence[WorkloadDefinition],
        /,
        *,
        dry_run: bool = False,
        rerun: bool = False,
        only_new: bool = False,
        manager: str = "control",
        force: bool = False,
        if_index: int | None = None,
    ) -> ApplyResult:
        """See `Control.apply`."""
        body = WorkloadsRequest(workloads=tuple(workloads))
        asked = {"dry_run": dry_run, "rerun": rerun, "only_new": only_new, "manager": manager, "force": force}
        return await self._ask("POST", "/v1/apply", ApplyResult, body, **asked, if_index=if_index)

    async def plan(self, workloads: Sequence[WorkloadDefinition], /, *, rerun: bool = False) -> Plan:
        """See `Control.plan`."""
        return await self._ask("POST", "/v1/plan", Plan, WorkloadsRequest(workloads=tuple(workloads)), rerun=rerun)

    async def list_workloads(self, *, namespace: str | None = None) -> list[WorkloadView]:
        """See `Control.list_workloads`."""
        return await self._ask("GET", "/v1/workloads", list[WorkloadView], namespace=namespace)

    async def get_workload(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        """See `Control.get_workload`."""
        return await self._ask("GET", "/v1/workload", WorkloadView, name=name, namespace=namespace)

    async def list_instances(
        self, *, namespace: str | None = None, workload: str | None = None
    ) -> list[WorkloadInstance]:
        """See `Control.list_instances`."""
        return await self._ask("GET", "/v1/instances", list[WorkloadInstance], namespace=namespace, workload=workload)

    async def list_nodes(self) -> list[Node]:
        """See `Control.list_nodes`."""
        return await self._ask("GET", "/v1/nodes", list[Node])

    def watch(self, *, namespace: str | None = None) -> AbstractAsyncContextManager[AsyncIterator[Update]]:
        """See `Control.watch`."""
        return self._stream("GET", "/v1/watch", _update_of, namespace=namespace)

    def logs(self, query: LogQuery, /) -> AbstractAsyncContextManager[AsyncIterator[LogRecord]]:
        """See `Control.logs`."""
        return self._stream("POST", "/v1/logs", record_of_plain, query)

    def exec(
        self,
        instance: str,
        command: Sequence[str],
        /,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        container: str | None = None,
        terminal: TerminalSize | None = None,
    ) -> AbstractAsyncContextManager[ExecSession]:
        """See `Control.exec`."""
        from ._exec_client import open_exec

        wanted = ExecRequest(
            instance=instance, command=tuple(command), namespace=namespace, container=container, terminal=terminal
        )
        return open_exec(self._peer, wanted)

    async def scale(
        self, name: str, replicas: int | None, /, *, namespace: str = DEFAULT_NAMESPACE, dry_run: bool = False
    ) -> WorkloadView:
        """See `Control.scale`."""
        body = ScaleRequest(replicas=replicas)
        return await self._ask(
            "POST", "/v1/workload/scale", WorkloadView, body, name=name, namespace=namespace, dry_run=dry_run or None
        )

    async def pause(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        """See `Control.pause`."""
        return await self._ask("POST", "/v1/workload/pause", WorkloadView, name=name, namespace=namespace)

    async def resume(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        """See `Control.resume`."""
        return await self._ask("POST", "/v1/workload/resume", WorkloadView, name=name, namespace=namespace)

    async def stop(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, dry_run: bool = False) -> WorkloadView:
        """See `Control.stop`."""
        return await self._ask(
            "POST", "/v1/workload/stop", WorkloadView, name=name, namespace=namespace, dry_run=dry_run or None
        )

    async def remove(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, dry_run: bool = False) -> None:
        """See `Control.remove`."""
        await self._ask(
            "DELETE", "/v1/workload", dict[str, bool], name=name, namespace=namespace, dry_run=dry_run or None
        )

    async def explain(
        self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE, node: NodeId | None = None
    ) -> list[SlotPlacement]:
        """See `Control.explain`."""
        return await self._ask(
            "GET", "/v1/workload/explain", list[SlotPlacement], name=name, namespace=namespace, node=node
        )

    async def events(
        self,
        *,
        namespace: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        limit: int = 1000,
        types: Collection[str] = (),
    ) -> list[Event]:
        """See `Control.events`."""
        moment = None if since is None else since.isoformat()
        return await self._ask(
            "GET",
            "/v1/events",
            list[Event],
            namespace=namespace,
            subject=subject,
            since=moment,
            limit=limit,
            types=",".join(types) or None,
        )

    async def _ask(self, method: str, path: str, kind: type[T], body: object = None, /, **parameters: Any) -> T:
        async with request(self._peer, method, path, parameters, _encoded(body)) as answer:
            document = document_of(self._peer, answer, await answer.read())
        return _structured(self._peer, answer, document, kind)

    @asynccontextmanager
    async def _stream(
        self, method: str, path: str, read: Callable[[Any], T], body: object = None, /, **parameters: Any
    ) -> AsyncIterator[AsyncIterator[T]]:
        async with request(self._peer, method, path, parameters, _encoded(body)) as answer:
            if not answer.succeeded:
                raise refusal_of(self._peer, answer, await answer.read())
            if not is_json(answer):
                raise foreign(self._peer, answer)
            yield _Items(self._peer, answer, read)


class _Items(Generic[T]):
    """The items of a stream of lines. It can be dropped at any place, which a generator can't."""

    def __init__(self, peer: Peer, answer: Answer, read: Callable[[Any], T]) -> None:
        self._peer = peer
        self._answer = answer
        self._read = read
        self._lines = deque[bytes]()
        self._rest = b""
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._over and not self._lines:
            chunk = await anext(self._answer, b"")
            if not chunk:
                raise self._peer.unreachable()
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self._lines.extend(lines)
        message = {} if self._over else self._message(self._lines.popleft())
        if "item" in message:
            try:
                return self._read(message["item"])
            except ConfigInvalid as err:
                raise foreign(self._peer, self._answer, str(err)) from err
        self._over = True
        if "error" in message:
            raise error_of(message["error"])
        raise StopAsyncIteration

    def _message(self, line: bytes) -> Mapping[str, Any]:
        try:
            message = json.loads(line)
        except ValueError as err:
            raise foreign(self._peer, self._answer, "a line is no JSON") from err
        if not isinstance(message, Mapping):
            raise foreign(self._peer, self._answer, "a line is no mapping")
        return message


def _update_of(plain: Any) -> Update:
    return structure_answer(plain, Update)


def _encoded(body: object) -> bytes | None:
    if body is None:
        return None
    try:
        return to_json(body)
    except UnicodeEncodeError as err:
        raise ConfigInvalid((Problem(f"not a text that can be sent: {err.object!r:.80}"),)) from err


def _structured(peer: Peer, answer: Answer, document: Any, kind: type[T]) -> T:
    try:
        return structure_answer(document, kind)
    except ConfigInvalid as err:
        raise foreign(peer, answer, str(err)) from err
