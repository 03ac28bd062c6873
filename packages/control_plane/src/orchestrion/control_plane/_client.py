"""A Control on the other side of a unix socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from orchestrion.orchestrator_core import ApplyResult, LogQuery, LogRecord, Plan, SlotPlacement, Update, WorkloadView
from orchestrion.runtime_interface import ExecSession
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    ConfigInvalid,
    Event,
    Node,
    Problem,
    WorkloadDefinition,
    WorkloadInstance,
    structure,
    to_json,
)

from ._problems import error_of
from ._socket import address_of, unreachable
from ._wire import ExecRequest, ScaleRequest, WorkloadsRequest

T = TypeVar("T")

CONNECT_SECONDS = 10.0
"""How long a connection may take to be accepted."""


class HttpControl:
    """A `Control` that speaks to the one that `serve_control` serves at a socket. Use it as an async context manager.

    What it raises is what the other side raised, the same class with the same text; beyond that, NetworkFailure where
    nobody answers or a connection is cut off.

    **Concurrency.** Any number of tasks may call any methods at once.
    """

    def __init__(self, socket_path: Path, /) -> None:
        """Take the path of the socket; nothing is connected yet."""
        import httpx2  # it takes longer to import than most commands take

        self._socket_path = socket_path
        self._stack = ExitStack()
        self._failures = (httpx2.TransportError, httpx2.StreamError)
        with self._translated():
            address = self._stack.enter_context(address_of(socket_path))
        self._client = httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(uds=address, limits=httpx2.Limits(max_connections=None)),
            base_url="http://orchestrion",
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
        )

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. Closing twice succeeds."""
        try:
            await self._client.aclose()
        finally:
            self._stack.close()

    async def ping(self) -> None:
        """Make sure that somebody answers.

        Raises:
            NetworkFailure: Nobody does.
        """
        await self._ask("GET", "/v1/ping", dict[str, bool])

    async def apply(self, workloads: Sequence[WorkloadDefinition], /, *, dry_run: bool = False) -> ApplyResult:
        """See `Control.apply`."""
        body = WorkloadsRequest(workloads=tuple(workloads))
        return await self._ask("POST", "/v1/apply", ApplyResult, body, dry_run=dry_run)

    async def plan(self, workloads: Sequence[WorkloadDefinition], /) -> Plan:
        """See `Control.plan`."""
        return await self._ask("POST", "/v1/plan", Plan, WorkloadsRequest(workloads=tuple(workloads)))

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
        return self._stream("GET", "/v1/watch", Update, namespace=namespace)

    def logs(self, query: LogQuery, /) -> AbstractAsyncContextManager[AsyncIterator[LogRecord]]:
        """See `Control.logs`."""
        return self._stream("POST", "/v1/logs", LogRecord, query)

    def exec(
        self,
        instance: str,
        command: Sequence[str],
        /,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        container: str | None = None,
    ) -> AbstractAsyncContextManager[ExecSession]:
        """See `Control.exec`."""
        from ._exec_client import open_exec

        request = ExecRequest(instance=instance, command=tuple(command), namespace=namespace, container=container)
        return open_exec(self._socket_path, request)

    async def scale(self, name: str, replicas: int | None, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        """See `Control.scale`."""
        body = ScaleRequest(replicas=replicas)
        return await self._ask("POST", "/v1/workload/scale", WorkloadView, body, name=name, namespace=namespace)

    async def stop(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> WorkloadView:
        """See `Control.stop`."""
        return await self._ask("POST", "/v1/workload/stop", WorkloadView, name=name, namespace=namespace)

    async def remove(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> None:
        """See `Control.remove`."""
        await self._ask("DELETE", "/v1/workload", dict[str, bool], name=name, namespace=namespace)

    async def explain(self, name: str, /, *, namespace: str = DEFAULT_NAMESPACE) -> list[SlotPlacement]:
        """See `Control.explain`."""
        return await self._ask("GET", "/v1/workload/explain", list[SlotPlacement], name=name, namespace=namespace)

    async def events(
        self,
        *,
        namespace: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        limit: int = 1000,
    ) -> list[Event]:
        """See `Control.events`."""
        moment = None if since is None else since.isoformat()
        return await self._ask(
            "GET", "/v1/events", list[Event], namespace=namespace, subject=subject, since=moment, limit=limit
        )

    async def _ask(self, method: str, path: str, kind: type[T], body: object = None, /, **parameters: Any) -> T:
        with self._translated():
            response = await self._client.request(method, path, **_request(body, parameters))
            document = _document(response.content)
        if response.is_success:
            return structure(document, kind)
        raise error_of(document if isinstance(document, Mapping) else {})

    @asynccontextmanager
    async def _stream(
        self, method: str, path: str, kind: type[T], body: object = None, /, **parameters: Any
    ) -> AsyncIterator[AsyncIterator[T]]:
        request = self._client.build_request(method, path, **_request(body, parameters))
        with self._translated():
            response = await self._client.send(request, stream=True)
        try:
            if not response.is_success:
                with self._translated():
                    document = _document(await response.aread())
                raise error_of(document if isinstance(document, Mapping) else {})
            yield self._items(response.aiter_raw(), kind)
        finally:
            await response.aclose()

    async def _items(self, chunks: AsyncIterator[bytes], kind: type[T]) -> AsyncIterator[T]:
        rest = b""
        while True:
            with self._translated():
                chunk = await anext(chunks, b"")
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                message = _document(line)
                if "item" in message:
                    yield structure(message["item"], kind)
                elif "error" in message:
                    raise error_of(message["error"])
                else:
                    return
            if not chunk:
                raise unreachable(self._socket_path)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (*self._failures, OSError) as err:
            raise unreachable(self._socket_path) from err
        except UnicodeEncodeError as err:
            raise ConfigInvalid((Problem(f"not a text that can be sent: {err.object!r:.80}"),)) from err


def _request(body: object, parameters: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: value for name, value in parameters.items() if value is not None}
    if body is None:
        return {"params": given}
    return {"params": given, "content": to_json(body), "headers": {"content-type": "application/json"}}


def _document(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return {"detail": f"the server's answer is not JSON: {data[:200]!r}"}
