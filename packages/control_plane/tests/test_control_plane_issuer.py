"""A server that believes an issuer, a real one: with sockets, keys, and days on which it is away."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from attrs import define, field
from joserfc import jws
from joserfc.jwk import ECKey
from orchestrion.control_plane._app import make_app
from orchestrion.control_plane._identity.access import Rule
from orchestrion.control_plane._identity.oidc_config import OidcConfig, oidc_config_of
from orchestrion.control_plane._identity.policy import Policy
from orchestrion.control_plane._identity.principals import ADMINS, Principal, PrincipalKind
from orchestrion.control_plane._identity.roles import Role, RoleBinding, Subject, SubjectKind
from orchestrion.control_plane._identity.tokens import Tokens
from orchestrion.control_plane._web.identity_paths import identity_handlers
from orchestrion.control_plane._web.issuer import issuer_of
from orchestrion.control_plane._web.keeper import Doorkeeper
from orchestrion.control_plane._web.pipeline import Pipeline
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.shared_types import ConfigInvalid
from trio.testing import MockClock

from .api_stage import Answer, Client
from .identity_sources import NOW, once_of

SECONDS = int(NOW.timestamp())


def segment(data: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")


@define
class Issuer:
    """An issuer at a socket of this machine."""

    url: str = ""
    keys: dict[str, ECKey] = field(factory=lambda: {"first": ECKey.generate_key("P-256")})
    status: int = 200

    def token(self, kid: str = "first", **change: Any) -> str:
        claims = {"iss": self.url, "aud": "orchestrion", "sub": "ann", "exp": SECONDS + 600, "groups": ["devs"]}
        text = f"{segment({'alg': 'ES256', 'kid': kid})}.{segment({**claims, **change})}"
        signature = jws.JWSRegistry.algorithms["ES256"].sign(text.encode(), self.keys[kid])
        return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

    async def answer(self, stream: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        keys = [{**key.as_dict(private=False), "kid": kid} for kid, key in self.keys.items()]
        about = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        body = json.dumps({"keys": keys} if head.startswith(b"GET /keys ") else about).encode()
        await stream.send_all(b"HTTP/1.1 %d Said\r\ncontent-length: %d\r\n\r\n%b" % (self.status, len(body), body))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen where it did before, or where there is room."""
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_listeners, self.answer, listeners))
            yield
            nursery.cancel_scope.cancel()


@define
class Stage:
    """A server that believes an issuer."""

    client: Client
    issuer: Issuer
    keeper: Doorkeeper

    async def who(self, token: str) -> Answer:
        return await Client(self.client.app, token).ask("GET", "/api/v1/whoami")


@asynccontextmanager
async def believing(issuer: Issuer, *, policy: Policy | None = None, **options: Any) -> AsyncIterator[Stage]:
    store = MemoryStore(MemoryState())
    config = oidc_config_of({"issuer": issuer.url, "client_id": "orchestrion", **options})
    keeper = Doorkeeper(
        Tokens(store, now=lambda: NOW), issuer=await issuer_of(config, lambda: NOW), policy=policy or Policy()
    )
    pipeline = Pipeline(keeper)
    app = pipeline.around(
        make_app(identity_handlers(keeper, b"", config, once=once_of(keeper)), guards=[pipeline.guard])
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(keeper.tokens.follow)
        yield Stage(Client(app, ""), issuer, keeper)
        nursery.cancel_scope.cancel()


async def test_whom_the_issuer_vouches_for_is_known_under_a_prefix() -> None:
    issuer = Issuer()
    async with issuer.listening(), believing(issuer) as stage:
        told = (await stage.who(issuer.token())).json
        assert (told["kind"], told["name"], told["via"]) == ("user", "oidc:ann", "oidc")
        assert "oidc:devs" in told["groups"]


async def test_a_role_is_given_to_a_group_of_the_issuers() -> None:
    bindings = [RoleBinding("devs", "reader", (Subject(SubjectKind.GROUP, "oidc:devs"),))]
    policy = Policy([Role("reader", (Rule(["list"], ["tokens"]),))], bindings)
    issuer = Issuer()
    async with issuer.listening(), believing(issuer, policy=policy) as stage:
        assert (await Client(stage.client.app, issuer.token()).ask("GET", "/api/v1/tokens")).status == 200
        outsider = Client(stage.client.app, issuer.token(groups=["guests", ADMINS]))
        assert (await outsider.ask("GET", "/api/v1/tokens")).status == 403


@pytest.mark.parametrize(
    "change",
    [{"exp": SECONDS - 61}, {"aud": "other"}, {"iss": "https://other.test"}, {"sub": "system:admin"}, {"nbf": 2**60}],
    ids=str,
)
async def test_a_token_that_is_not_right_is_refused(change: dict[str, Any]) -> None:
    issuer = Issuer()
    # Without a prefix, or no name could begin with what only the server gives.
    async with issuer.listening(), believing(issuer, name_prefix="") as stage:
        answer = await stage.who(issuer.token(**change))
        assert (answer.status, answer.json["code"]) == (401, "not-proved")


async def test_a_token_that_nobody_signed_is_refused() -> None:
    issuer = Issuer()
    async with issuer.listening(), believing(issuer) as stage:
        claims = issuer.token().split(".")[1]
        for algorithm in ("none", "HS256"):
            unsigned = f"{segment({'alg': algorithm, 'kid': 'first'})}.{claims}"
            for signature in ("", "AAAA"):
                assert (await stage.who(f"{unsigned}.{signature}")).status == 401


async def test_the_servers_own_tokens_are_good_beside_it_and_while_it_is_away() -> None:
    issuer = Issuer(url="http://127.0.0.1:1")
    async with believing(issuer) as stage:
        issued = await stage.keeper.tokens.issue(Principal("root", PrincipalKind.SERVICE))
        assert (await stage.who(issued.text.reveal())).json["name"] == "root"
        assert (await stage.who("orc_nonsense")).status == 401


async def test_a_new_key_of_the_issuers_is_found_and_one_that_was_withdrawn_is_no_longer_good(
    mock_clock: MockClock,
) -> None:
    issuer = Issuer()
    async with issuer.listening(), believing(issuer) as stage:
        assert (await stage.who(issuer.token())).status == 200
        old = issuer.token()
        issuer.keys = {"second": ECKey.generate_key("P-256")}
        mock_clock.jump(61)
        assert (await stage.who(issuer.token("second"))).status == 200
        assert (await stage.who(old)).status == 401


async def test_while_the_issuer_is_away_its_keys_are_good_for_a_day_and_nobody_is_let_in_unseen(
    mock_clock: MockClock,
) -> None:
    issuer = Issuer()
    async with issuer.listening():
        pass
    async with believing(issuer) as stage:
        refused = await stage.who(issuer.token())
        assert (refused.status, refused.json["code"]) == (503, "unavailable")
        assert issuer.url in refused.json["detail"]
        mock_clock.jump(6)
        async with issuer.listening():
            assert (await stage.who(issuer.token())).status == 200
        mock_clock.jump(86_000)
        assert (await stage.who(issuer.token())).status == 200
        mock_clock.jump(500)
        assert (await stage.who(issuer.token())).status == 503


async def test_an_issuer_that_answers_with_an_error_is_one_that_is_away() -> None:
    issuer = Issuer(status=500)
    async with issuer.listening(), believing(issuer) as stage:
        assert (await stage.who(issuer.token())).status == 503


async def test_everybody_is_told_where_to_log_in() -> None:
    issuer = Issuer(url="https://issuer.test")
    async with believing(issuer, scopes=["openid"]) as stage:
        told = await stage.client.ask("GET", "/issuer.json")
        assert told.json == {"issuer": "https://issuer.test", "client_id": "orchestrion", "scopes": ["openid"]}


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"client_id": "o"}, "issuer"),
        ({"issuer": "https://i.test"}, "client_id"),
        ({"issuer": "http://i.test", "client_id": "o"}, "issuer"),
        ({"issuer": "https://i.test?a", "client_id": "o"}, "issuer"),
        ({"issuer": 7, "client_id": "o"}, "issuer"),
        ({"issuer": "https://i.test", "client_id": ""}, "client_id"),
        ({"issuer": "https://i.test", "client_id": "o", "kind": "node"}, "kind"),
        ({"issuer": "https://i.test", "client_id": "o", "algorithms": ["none"]}, "algorithms"),
        ({"issuer": "https://i.test", "client_id": "o", "required": {"hd": 1}}, "required"),
        ({"issuer": "https://i.test", "client_id": "o", "scopes": "openid"}, "scopes"),
        ({"issuer": "https://i.test", "client_id": "o", "wobble": "x"}, "wobble"),
    ],
)
def test_what_is_wrong_about_an_issuer_is_told_with_its_place(data: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        oidc_config_of(data)
    assert [problem.path for problem in caught.value.problems] == [path]


async def test_the_certificates_of_an_issuer_have_to_be_some(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "good.crt")
    (tmp_path / "bad.crt").write_text("nothing")
    good = OidcConfig(issuer="https://i.test", client_id="o", authority=str(tmp_path / "good.crt"))
    assert await issuer_of(good, lambda: NOW) is not None
    for name in ("bad.crt", "missing.crt"):
        bad = OidcConfig(issuer="https://i.test", client_id="o", authority=str(tmp_path / name))
        with pytest.raises(ConfigInvalid, match=name):
            await issuer_of(bad, lambda: NOW)
