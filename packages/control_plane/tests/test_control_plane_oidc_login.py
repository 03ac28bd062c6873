"""A login in a browser that is somewhere else, as a command goes through it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs

import pytest
import trio
from orchestrion.control_plane._outgoing import HttpAnswer, Outgoing
from orchestrion.control_plane.oidc import DeviceCode, IssuerAbout, OidcLogin, log_in, renewed
from orchestrion.shared_types import ConfigInvalid, Denied, NetworkFailure, OrchestrationError, Unauthenticated
from trio.testing import MockClock

ISSUER = "https://issuer.test"
ABOUT = IssuerAbout(issuer=ISSUER, client_id="orchestrion", scopes=("openid", "groups"))
OFFERED = {
    "issuer": ISSUER,
    "device_authorization_endpoint": f"{ISSUER}/device",
    "token_endpoint": f"{ISSUER}/token",
}
BEGUN = {"device_code": "d", "user_code": "ABCD", "verification_uri": f"{ISSUER}/enter", "expires_in": 600}
PENDING = (400, {"error": "authorization_pending"})
GOOD = (200, {"id_token": "h.c.s", "refresh_token": "r"})


class Issuer(Outgoing):
    """Answers as an issuer does; what is asked of it is kept, with the time."""

    def __init__(self, *answers: Any, offered: Any = OFFERED, begun: Any = BEGUN) -> None:
        super().__init__()
        self.answers = list(answers)
        self.offered, self.begun = offered, begun
        self.asked: list[tuple[float, str, dict[str, list[str]]]] = []

    async def get(self, url: str, /) -> HttpAnswer:
        assert url == f"{ISSUER}/.well-known/openid-configuration"
        return HttpAnswer(200, json.dumps(self.offered).encode())

    async def post_form(self, url: str, body: bytes, /) -> HttpAnswer:
        self.asked.append((trio.current_time(), url, parse_qs(body.decode())))
        if url == f"{ISSUER}/device":
            return HttpAnswer(200, json.dumps(self.begun).encode())
        answer = self.answers.pop(0) if self.answers else PENDING
        if isinstance(answer, OrchestrationError):
            raise answer
        return HttpAnswer(answer[0], json.dumps(answer[1]).encode())

    @property
    def pauses(self) -> list[float]:
        times = [time for time, *_ in self.asked]
        return [round(after - before, 3) for before, after in pairwise(times)]


async def logged_in(issuer: Issuer) -> tuple[OidcLogin, list[DeviceCode]]:
    told: list[DeviceCode] = []
    return await log_in(ABOUT, told.append, issuer), told


async def test_a_person_is_told_where_to_enter_what_and_the_token_comes_when_that_was_done(
    autojump_clock: MockClock,
) -> None:
    issuer = Issuer(PENDING, PENDING, GOOD, begun={**BEGUN, "verification_uri_complete": f"{ISSUER}/enter?ABCD"})
    login, told = await logged_in(issuer)
    assert told == [DeviceCode(url=f"{ISSUER}/enter", code="ABCD", complete_url=f"{ISSUER}/enter?ABCD", seconds=600)]
    assert (login.id_token, login.refresh_token, login.issuer) == ("h.c.s", "r", ISSUER)
    assert issuer.asked[0][2] == {"client_id": ["orchestrion"], "scope": ["openid groups"]}
    assert issuer.asked[1][2]["device_code"] == ["d"]
    assert "h.c.s" not in repr(login)


async def test_an_issuer_is_asked_as_often_as_it_wants_to_be(autojump_clock: MockClock) -> None:
    issuer = Issuer(PENDING, (400, {"error": "slow_down"}), PENDING, GOOD)
    await logged_in(issuer)
    assert issuer.pauses == [5, 5, 10, 10]
    issuer = Issuer(PENDING, NetworkFailure("no answer"), GOOD, begun={**BEGUN, "interval": 2})
    await logged_in(issuer)
    assert issuer.pauses == [2, 2, 4]


@pytest.mark.parametrize("interval", [0, -1, True, "5", None, float("nan")])
async def test_a_pause_that_is_none_is_the_usual_one(interval: Any, autojump_clock: MockClock) -> None:
    issuer = Issuer(GOOD, begun={**BEGUN, "interval": interval})
    await logged_in(issuer)
    assert issuer.pauses == [5]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((400, {"error": "access_denied"}), Denied),
        ((400, {"error": "expired_token"}), Unauthenticated),
        ((400, {"error": "invalid_client"}), NetworkFailure),
        ((500, {}), NetworkFailure),
        ((200, {}), NetworkFailure),
        ((200, {"id_token": "two\nlines.a.b"}), NetworkFailure),
        ((200, {"id_token": 7}), NetworkFailure),
    ],
)
async def test_a_login_that_comes_to_nothing_says_why(
    answer: Any, error: type[Exception], autojump_clock: MockClock
) -> None:
    with pytest.raises(error):
        await logged_in(Issuer(PENDING, answer))


async def test_a_code_that_nobody_enters_is_given_up(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    with pytest.raises(Unauthenticated, match="in time"):
        await logged_in(Issuer())
    assert trio.current_time() - began == 600


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"offered": {**OFFERED, "issuer": "https://other.test"}}, NetworkFailure),
        ({"offered": {"issuer": ISSUER, "token_endpoint": f"{ISSUER}/token"}}, ConfigInvalid),
        ({"offered": {**OFFERED, "token_endpoint": "http://issuer.test/token"}}, NetworkFailure),
        ({"offered": {**OFFERED, "device_authorization_endpoint": "http://issuer.test/"}}, NetworkFailure),
        ({"offered": []}, NetworkFailure),
        ({"begun": {**BEGUN, "verification_uri": "javascript:alert(1)"}}, NetworkFailure),
        ({"begun": {**BEGUN, "user_code": "\x1b[2J"}}, NetworkFailure),
        ({"begun": {**BEGUN, "device_code": ""}}, NetworkFailure),
    ],
)
async def test_nothing_is_sent_to_or_shown_of_what_is_not_right(given: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        await logged_in(Issuer(**given))


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"issuer": ISSUER, "client_id": "o", "scopes": None},
        {"issuer": "http://i.test", "client_id": "o", "scopes": []},
        {"issuer": ISSUER, "client_id": "\x1b", "scopes": []},
        {"issuer": 7, "client_id": "o", "scopes": []},
    ],
)
def test_what_a_server_tells_of_its_issuer_is_looked_at_first(data: Any) -> None:
    with pytest.raises(ConfigInvalid):
        IssuerAbout.of(data)


def login(ends: Any = None, **change: str) -> OidcLogin:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": ends}).encode()).decode().rstrip("=")
    given = {"id_token": f"h.{claims}.s", "refresh_token": "r", "token_endpoint": f"{ISSUER}/token", **change}
    return OidcLogin(issuer=ISSUER, client_id="orchestrion", **given)


@pytest.mark.parametrize(("ends", "due"), [(1060, True), (1061, False), (0, True), (None, False), ("soon", False)])
def test_a_token_is_due_a_minute_before_its_end(ends: Any, *, due: bool) -> None:
    assert login(ends).is_due(datetime.fromtimestamp(1000, UTC)) is due


def test_a_token_that_can_not_be_read_is_for_the_server_to_judge() -> None:
    now = datetime.fromtimestamp(1000, UTC)
    assert not any(login(id_token=text).is_due(now) for text in ("", "x", "a.b.c", "a.!.c", "a.W10.c"))


async def test_a_new_token_comes_with_what_the_next_one_is_got_by() -> None:
    issuer = Issuer(GOOD, (200, {"id_token": "i.c.s", "refresh_token": "r2"}), (200, {"id_token": "j.c.s"}))
    found = login()
    for token, refresh in (("h.c.s", "r"), ("i.c.s", "r2"), ("j.c.s", "r2")):
        found = await renewed(found, issuer)
        assert (found.id_token, found.refresh_token) == (token, refresh)
    assert [fields["refresh_token"] for _, _, fields in issuer.asked] == [["r"], ["r"], ["r2"]]


async def test_a_login_that_is_over_says_so() -> None:
    with pytest.raises(Unauthenticated, match="invalid_grant"):
        await renewed(login(), Issuer((400, {"error": "invalid_grant"})))
    for change in ({"refresh_token": ""}, {"token_endpoint": "http://issuer.test/token"}):
        issuer = Issuer(GOOD)
        with pytest.raises(Unauthenticated):
            await renewed(login(**change), issuer)
        assert issuer.asked == []
