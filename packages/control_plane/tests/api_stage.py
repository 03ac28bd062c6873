"""An API server on an orchestrator of mocks, asked without a network."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import trio
from attrs import define, evolve, field
from litestar.routes import HTTPRoute, WebSocketRoute
from orchestrion.control_plane._app import make_app
from orchestrion.control_plane._dashboard.handlers import Dashboard, dashboard_handlers
from orchestrion.control_plane._dashboard.keeper import SessionKeeper
from orchestrion.control_plane._dashboard.sessions import Sessions
from orchestrion.control_plane._history.event import ObjectEvent
from orchestrion.control_plane._identity.access import Access, owners_of
from orchestrion.control_plane._identity.audit_records import AuditRecord
from orchestrion.control_plane._identity.policy import Policy
from orchestrion.control_plane._identity.principals import ADMINS, Principal
from orchestrion.control_plane._objects.kinds import ROLE, ROLE_BINDING
from orchestrion.control_plane._open_streams import OpenStreams
from orchestrion.control_plane._service.managing import Management, managed
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._service.owning import Owning
from orchestrion.control_plane._service.workloads import WorkloadWriter
from orchestrion.control_plane._service.writing import Writer
from orchestrion.control_plane._standing import Changes
from orchestrion.control_plane._web.grants import Grants
from orchestrion.control_plane._web.keeper import policy_of
from orchestrion.control_plane._web.oversight import Oversight
from orchestrion.control_plane._web.sections import DASHBOARD, Section
from orchestrion.control_plane._web.server import ApiServer
from orchestrion.mocks import (
    ClusterWorld,
    ContainerWorld,
    CursorScheduler,
    MemoryState,
    MemoryStore,
    MockClusterManager,
    MockRuntime,
    mock_nodes,
)
from orchestrion.orchestrator_core import Orchestrator, trio_time
from orchestrion.shared_types import OrchestrationError, Unauthenticated

ADMIN = Principal("admin", groups=[ADMINS])


@define(eq=False)
class Keeper:
    """Takes a bearer token for the name of its principal."""

    principals: dict[str, Principal] = field(factory=lambda: {"admin": ADMIN})
    policy: Policy = field(factory=Policy)
    owners: Callable[[str, str, str], frozenset[str]] = owners_of
    changes: Changes = field(factory=Changes)

    def claim(self, connection: Any, /) -> str:
        """Return whom a request names."""
        name = connection.headers.get("authorization", "").removeprefix("Bearer ")
        return f"token:{name}" if name in self.principals else ""

    async def authenticate(self, connection: Any, /) -> Principal:
        """Return who asks."""
        return self.verify(connection.headers.get("authorization", "").removeprefix("Bearer "))

    def verify(self, token: str) -> Principal:
        """Return whom a token is for."""
        if token not in self.principals:
            raise Unauthenticated("nobody that is known")
        return self.principals[token]

    def prove_again(self, _connection: Any, principal: Principal, /) -> None:
        """Make sure that somebody is still known."""
        if principal not in self.principals.values() or principal.is_expired(trio_time()):
            raise Unauthenticated("nobody that is known any longer")

    async def admit(self, token: str) -> Principal:
        """Return whom a token is for."""
        return self.verify(token)

    def still(self, principal: Principal) -> Principal:
        """Return somebody as they were, unless they are gone."""
        if principal.name not in {each.name for each in self.principals.values()}:
            raise Unauthenticated("nobody any longer")
        return principal

    def check(self, principal: Principal, access: Access, /) -> None:
        """Make sure that somebody may do something."""
        if access.name and not access.owners:
            access = evolve(access, owners=self.owners(access.resource, access.namespace, access.name))
        self.policy.check(principal, access)


@define
class Answer:
    """What a request was answered with."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@define(eq=False)
class Client:
    """Asks an ASGI application."""

    app: Any
    token: str = "admin"

    async def ask(self, method: str, target: str, data: Any = None, **headers: str) -> Answer:
        """Send a request, and return the whole answer."""
        async with self.stream(method, target, data, **headers) as (status, given, chunks):
            return Answer(status, given, b"".join([chunk async for chunk in chunks]))

    @asynccontextmanager
    async def stream(
        self, method: str, target: str, data: Any = None, **headers: str
    ) -> AsyncIterator[tuple[int, Mapping[str, str], AsyncIterator[bytes]]]:
        """Send a request, and give the answer as it comes; leaving goes away."""
        parts = urlsplit(target)
        body = data if isinstance(data, bytes) else b"" if data is None else json.dumps(data).encode()
        given = {"host": "test", "content-length": str(len(body)), **headers}
        if given.get("transfer_encoding") == "chunked":
            del given["content-length"]
        if self.token:
            given.setdefault("authorization", f"Bearer {self.token}")
        if data is not None:
            given.setdefault("content_type", "application/json")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("test", 80),
            "state": {},
        }
        sends, receives = trio.open_memory_channel[dict[str, Any]](1000)
        asked = False

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": body, "more_body": False}
            await trio.sleep_forever()
            raise AssertionError

        async def run() -> None:
            async with sends:
                await self.app(scope, receive, sends.send)

        async def chunks() -> AsyncGenerator[bytes, None]:
            async for message in receives:
                yield message.get("body", b"")
                if not message.get("more_body", False):
                    return

        async with trio.open_nursery() as nursery, receives:
            nursery.start_soon(run)
            start = await receives.receive()
            named = {name.decode().lower(): value.decode() for name, value in start["headers"]}
            async with aclosing(chunks()) as parts_of_body:
                yield start["status"], named, parts_of_body
            nursery.cancel_scope.cancel()


@define
class Records:
    """Keeps records, or fails to."""

    kept: list[AuditRecord] = field(factory=list)
    error: OrchestrationError | None = None
    failure: OrchestrationError | None = None

    async def write(self, record: AuditRecord, /) -> int:
        """Keep a record."""
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        self.kept.append(record)
        return len(self.kept)


@define(eq=False, repr=False)  # all hangs together with all: what fails shall say so, and not spell that out
class Api:
    """A server and what it is made of."""

    objects: Objects
    orchestrator: Orchestrator
    keeper: Keeper
    client: Client
    server: ApiServer
    sessions: Sessions
    management: Management
    containers: ContainerWorld

    def as_(self, token: str) -> Client:
        """Return a client of somebody else."""
        return Client(self.client.app, token)


@asynccontextmanager
async def api_served(
    state: MemoryState | None = None, *, store: MemoryStore | None = None, **options: Any
) -> AsyncIterator[Api]:
    """Give a server at work, on two nodes; options are the orchestrator's."""
    store = store or MemoryStore(state if state is not None else MemoryState())
    cluster = MockClusterManager(ClusterWorld(nodes=mock_nodes(2)))
    containers = ContainerWorld(now=trio_time)
    orchestrator = Orchestrator(MockRuntime(containers), cluster, CursorScheduler(), store, now=trio_time, **options)
    keeper, sealings = Keeper(), count()
    grants = Grants(keeper, lambda: objects.history)
    objects = Objects(
        orchestrator,
        store,
        Writer(
            store,
            admit=grants.admit,
            # As with a key, the same text sealed twice is not the same.
            seal=lambda name, text: f"sealed:{name}:{next(sealings)}:{text.encode().hex()}",
            now=trio_time,
            unseal=lambda _name, sealed: bytes.fromhex(sealed.rpartition(":")[2]).decode(),
            may_read=grants.may_read,
        ),
        WorkloadWriter(orchestrator),
    )
    keeper.owners = Owning(objects).of
    management = managed(objects, may=lambda who, access: keeper.policy.may(who, access).allowed)
    sessions, streams = Sessions(keeper.admit, keeper.still, trio_time), OpenStreams(trio.Event())
    by_session = SessionKeeper(keeper, sessions)
    oversight = Oversight.over(objects, by_session)
    dashboard = Dashboard(management.control, objects, by_session, streams, oversight.pipeline)
    server = ApiServer(
        management.control,
        objects,
        by_session,
        oversight=oversight,
        streams=streams,
        more=[Section(DASHBOARD, lambda: [dashboard_handlers(dashboard)])],
    )

    def follow(event: ObjectEvent) -> None:
        # As a server does it: tests give policies of their own, which nothing else is to replace.
        if event.kind in (ROLE.plural, ROLE_BINDING.plural):
            keeper.policy = policy_of(objects.history)

    async with trio.open_nursery() as nursery:
        await nursery.start(orchestrator.run)
        await nursery.start(objects.run)
        objects.history.listen(follow)
        nursery.start_soon(management.run)
        yield Api(objects, orchestrator, keeper, Client(server.app()), server, sessions, management, containers)
        nursery.cancel_scope.cancel()


def paths_of(api: Api) -> set[tuple[str, str]]:
    """Return the methods and paths that a server has; that of sockets is WEBSOCKET."""
    found = set[tuple[str, str]]()
    for route in make_app(api.server.handlers()).routes:
        if isinstance(route, HTTPRoute):
            found |= {(str(method), route.path) for method in route.methods - {"OPTIONS"}}
        elif isinstance(route, WebSocketRoute):
            found.add(("WEBSOCKET", route.path))
    return found
