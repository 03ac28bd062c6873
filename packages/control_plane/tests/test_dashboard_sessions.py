"""Sessions of browsers: how they begin, what they are good for, and how they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from orchestrion.control_plane._dashboard.sessions import IDLE, INVITATION, LONGEST, MAX_EACH, Sessions
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.shared_types import Unauthenticated

START = datetime(2026, 1, 1, tzinfo=UTC)


class Stage:
    """Sessions at a time that a test sets, of people whose names are their tokens."""

    def __init__(self) -> None:
        self.time = START
        self.known = {"ann", "bob"}
        self.drawn = 0
        self.sessions = Sessions(self.verify, lambda: self.time, self.draw)

    def verify(self, token: str) -> Principal:
        if token not in self.known:
            raise Unauthenticated("no such token")
        return Principal(token)

    def draw(self, count: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(count, "big")


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_who_has_a_token_gets_a_session(stage: Stage) -> None:
    session = stage.sessions.find(stage.sessions.log_in("ann"))
    assert session is not None
    assert session.principal() == Principal("ann")


def test_who_has_none_gets_none(stage: Stage) -> None:
    with pytest.raises(Unauthenticated):
        stage.sessions.log_in("eve")
    assert stage.sessions.find("") is None
    assert stage.sessions.find("anything") is None


def test_what_a_browser_shows_differs_from_what_its_pages_send(stage: Stage) -> None:
    shown = [stage.sessions.log_in("ann") for _ in range(3)]
    words = {session.csrf for each in shown if (session := stage.sessions.find(each)) is not None}
    assert len({*shown, *words}) == 6


def test_a_session_ends_when_its_token_does(stage: Stage) -> None:
    shown = stage.sessions.log_in("ann")
    stage.known.remove("ann")
    assert stage.sessions.find(shown) is None
    stage.known.add("ann")
    assert stage.sessions.find(shown) is None, "it does not come back"


def test_a_session_ends_when_it_goes_unused(stage: Stage) -> None:
    shown = stage.sessions.log_in("ann")
    stage.time += IDLE - timedelta(seconds=1)
    assert stage.sessions.find(shown) is not None
    stage.time += IDLE - timedelta(seconds=1)
    assert stage.sessions.find(shown) is not None, "it was used in between"
    stage.time += IDLE
    assert stage.sessions.find(shown) is None


def test_a_session_that_is_used_ends_all_the_same(stage: Stage) -> None:
    shown = stage.sessions.log_in("ann")
    while stage.time + IDLE / 2 < START + LONGEST:
        stage.time += IDLE / 2
        assert stage.sessions.find(shown) is not None
    stage.time = START + LONGEST
    assert stage.sessions.find(shown) is None


def test_who_signs_out_is_out_and_nobody_else(stage: Stage) -> None:
    ann, bob = stage.sessions.log_in("ann"), stage.sessions.log_in("bob")
    stage.sessions.log_out(ann)
    stage.sessions.log_out(ann)
    assert stage.sessions.find(ann) is None
    assert stage.sessions.find(bob) is not None


def test_a_link_is_good_once(stage: Stage) -> None:
    code = stage.sessions.invite(Principal("admin"))
    session = stage.sessions.find(stage.sessions.accept(code))
    assert session is not None
    assert session.principal() == Principal("admin")
    with pytest.raises(Unauthenticated, match="used already"):
        stage.sessions.accept(code)


def test_a_link_is_good_for_a_while(stage: Stage) -> None:
    code = stage.sessions.invite(Principal("admin"))
    stage.time += INVITATION
    with pytest.raises(Unauthenticated, match="too old"):
        stage.sessions.accept(code)


def test_one_who_signs_in_again_and_again_pushes_out_nobody_else(stage: Stage) -> None:
    bob = stage.sessions.log_in("bob")
    shown = list[str]()
    for _ in range(MAX_EACH + 1):
        stage.time += timedelta(seconds=1)
        shown.append(stage.sessions.log_in("ann"))
    assert stage.sessions.find(shown[0]) is None, "the longest unused one goes"
    assert stage.sessions.find(shown[1]) is not None
    assert stage.sessions.find(bob) is not None
