"""What is shown to prove who asks, as far as it costs the server something: bodies, hashing, room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define, field
from litestar import get, post
from orchestrion.control_plane._access import ACCESS, Needs
from orchestrion.control_plane._app import make_app
from orchestrion.control_plane._identity.keys import TrustedKeys
from orchestrion.control_plane._identity.principals import ADMINS, Principal
from orchestrion.control_plane._identity.signing import RequestSigner
from orchestrion.control_plane._identity.tokens import Tokens
from orchestrion.control_plane._limits import Limits
from orchestrion.control_plane._objects.kinds import KindRegistry
from orchestrion.control_plane._web.keeper import SMALL_BODY_BYTES, Doorkeeper
from orchestrion.control_plane._web.methods import Methods
from orchestrion.control_plane._web.pipeline import Pipeline
from orchestrion.mocks import MemoryState, MemoryStore

from .identity_sources import NOW, Chance, Clock

PATH = "/things"
THING = b'{"name": "thing"}'


@post(PATH, opt={ACCESS: Needs("create", "things")})
async def things() -> dict[str, bool]:
    """Take a thing."""
    return {"ok": True}


@get(PATH, opt={ACCESS: Needs("list", "things")})
async def shown() -> dict[str, bool]:
    """Show things."""
    return {"ok": True}


@define(eq=False)
class Asked:
    """A request whose body comes when the test says so."""

    headers: dict[str, str]
    come: trio.Event = field(factory=trio.Event)
    body: bytes = THING
    reads: int = 0
    status: int = 0
    told: dict[str, str] = field(factory=dict)
    besides: dict[str, str] = field(factory=dict)
    method: str = "POST"

    async def receive(self) -> dict[str, Any]:
        self.reads += 1
        await self.come.wait()
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: Any) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.told = {name.decode(): value.decode() for name, value in message["headers"]}

    async def run(self, app: Any) -> None:
        fields = [
            (name.encode(), value.encode()) for each in (self.headers, self.besides) for name, value in each.items()
        ]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": fields,
            "client": ("127.0.0.1", 1),
            "server": ("test", 80),
            "state": {},
        }
        await app(scope, self.receive, self.send)


@define(eq=False)
class Stage:
    """A server that trusts one key, and who signs with it."""

    app: Any
    keeper: Doorkeeper
    signer: RequestSigner
    stranger: RequestSigner

    def signed(self, by: RequestSigner | None = None, *, length: int = len(THING)) -> Asked:
        """Return a request that somebody has signed."""
        others = {"content-type": "application/json", "content-length": str(length)}
        return Asked({**others, **(by or self.signer).headers("POST", PATH, body=THING, headers=others)})


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as made:
        yield made


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """Give the stage."""
    store, clock, chance = MemoryStore(MemoryState()), Clock(NOW), Chance()
    keeper = Doorkeeper(Tokens(store, clock), TrustedKeys(store, Clock(NOW.replace(hour=1))))
    assert keeper.keys is not None
    keeper.keys.now = clock
    signers = [RequestSigner.from_seed(bytes([number] * 32), now=clock, random_bytes=chance) for number in (1, 2)]
    async with trio.open_nursery() as nursery:
        await nursery.start(keeper.tokens.follow)
        await nursery.start(keeper.keys.follow)
        await keeper.keys.trust(signers[0].public_key, Principal("ci", groups=[ADMINS]))
        pipeline = Pipeline(keeper, limits=Limits(clock=lambda: 0.0))
        app = pipeline.around(make_app([things], guards=[pipeline.guard]))
        yield Stage(app, keeper, *signers)
        nursery.cancel_scope.cancel()


async def test_a_signed_request_is_answered_once_its_body_is_there(stage: Stage) -> None:
    asked = stage.signed()
    asked.come.set()
    await asked.run(stage.app)
    assert asked.status == 201


@pytest.mark.parametrize(("signed_as", "status"), [("HEAD", 200), ("GET", 401)])
async def test_a_head_is_proved_by_what_was_signed_for_a_head(stage: Stage, signed_as: str, status: int) -> None:
    pipeline = Pipeline(stage.keeper, limits=Limits(clock=lambda: 0.0))
    app: Any = make_app([shown], guards=[pipeline.guard])
    asked = Asked(dict(stage.signer.headers(signed_as, PATH, body=b"", headers={})), method="HEAD", body=b"")
    asked.come.set()
    await asked.run(pipeline.around(Methods(app, KindRegistry(), app.routes)))
    assert asked.status == status


async def test_the_body_of_an_unknown_key_is_not_read(stage: Stage) -> None:
    asked = stage.signed(stage.stranger)
    await asked.run(stage.app)
    assert (asked.status, asked.reads) == (401, 0)


async def test_the_body_of_a_request_that_was_taken_already_is_not_read(stage: Stage) -> None:
    first = stage.signed()
    first.come.set()
    await first.run(stage.app)
    again = Asked(first.headers)
    await again.run(stage.app)
    assert (again.status, again.reads) == (401, 0)


async def test_after_too_many_wrong_proofs_not_even_a_trusted_keys_body_is_read(stage: Stage) -> None:
    statuses = list[int]()
    for _ in range(101):
        asked = stage.signed()
        asked.body = b"{}"  # not what was signed
        asked.come.set()
        await asked.run(stage.app)
        statuses.append(asked.status)
    assert statuses == [401] * 100 + [429]
    assert (asked.reads, asked.told["retry-after"]) == (0, "1")
    other = stage.signed(stage.stranger)
    await other.run(stage.app)
    assert other.status == 401, "another key from the same address is counted on its own"


async def test_few_large_bodies_are_read_at_once_before_it_is_known_whose_they_are(
    stage: Stage, autojump_clock: object
) -> None:
    large = [stage.signed(length=SMALL_BODY_BYTES + 1) for _ in range(12)]
    endless = stage.signed()
    del endless.headers["content-length"]
    endless.headers["transfer-encoding"] = "chunked"
    async with trio.open_nursery() as nursery:
        for asked in [*large, endless]:
            nursery.start_soon(asked.run, stage.app)
        await trio.sleep(3)  # who is refused learns that late
        assert sum(asked.reads for asked in [*large, endless]) == 1
        assert [asked.status for asked in [*large, endless]].count(429) == 4, "no more wait than may"
        small = stage.signed()
        small.come.set()
        await small.run(stage.app)
        assert small.status == 201, "small ones need not wait for large ones"
        for asked in [*large, endless]:
            asked.come.set()


async def test_what_can_be_no_token_is_refused_without_hashing_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = list[str]()

    def noting(text: str) -> str:
        hashed.append(text)
        return ""

    monkeypatch.setattr("orchestrion.control_plane._identity.tokens._hash", noting)
    for shown in ("a" * 30_000, "orc_x", ""):
        asked = Asked({"authorization": f"Bearer {shown}"})
        await asked.run(stage.app)
        assert asked.status == 401
    assert hashed == []


async def test_a_header_that_was_signed_and_is_there_twice_is_refused_before_the_body_is_read(stage: Stage) -> None:
    asked = stage.signed()
    asked.besides = {"content-type": "application/yaml"}
    await asked.run(stage.app)
    assert (asked.status, asked.reads) == (401, 0)
