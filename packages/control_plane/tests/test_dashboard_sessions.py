"""Sessions of browsers: how they begin, what they are good for, and how they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
from orchestrion.control_plane._dashboard.kept_sessions import KEY_PREFIX, KeptInStore
from orchestrion.control_plane._dashboard.sessions import (
    GRAIN,
    IDLE,
    INVITATION,
    LONGEST,
    MAX_EACH,
    WRITE_SECONDS,
    Sessions,
)
from orchestrion.control_plane._identity.access import Rule
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.shared_types import Unauthenticated
from trio.testing import MockClock

ADMIN = Principal("admin", via="link")
START = datetime(2026, 1, 1, tzinfo=UTC)


class Stage:
    """Sessions at a time that a test sets, of people whose names are their tokens."""

    def __init__(self) -> None:
        self.time = START
        self.known = {"ann", "bob"}
        self.drawn = 0
        self.kept = KeptInStore(MemoryStore(MemoryState()))
        self.sessions = self.restarted()

    def restarted(self) -> Sessions:
        """Return the sessions of another server of the same store."""
        return Sessions(self.verify, self.still, lambda: self.time, self.draw, self.kept)

    async def verify(self, token: str) -> Principal:
        if token not in self.known:
            raise Unauthenticated("no such token")
        return Principal(token)

    def still(self, principal: Principal) -> Principal:
        if principal.via != "link" and principal.name not in self.known:
            raise Unauthenticated("the token is no longer good")
        return principal

    def draw(self, count: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(count, "big")


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_who_has_a_token_gets_a_session(stage: Stage) -> None:
    session = stage.sessions.find((await stage.sessions.log_in("ann")).shown)
    assert session is not None
    assert session.principal() == Principal("ann")


async def test_who_has_none_gets_none(stage: Stage) -> None:
    with pytest.raises(Unauthenticated):
        await stage.sessions.log_in("eve")
    assert stage.sessions.find("") is None
    assert stage.sessions.find("anything") is None


async def test_what_a_browser_shows_is_no_proof_and_a_proof_is_good_for_its_own_session_alone(stage: Stage) -> None:
    begun = [await stage.sessions.log_in("ann") for _ in range(3)]
    for each in begun:
        session = stage.sessions.find(each.shown)
        assert session is not None
        assert [session.is_proved_by(other.proof) for other in begun] == [other is each for other in begun]
        kept = [one.proof for one in await stage.kept.load()]
        assert not any(session.is_proved_by(text) for text in ("", "a" * 10_000, *(one.shown for one in begun), *kept))
    stored = "".join(str(entry) for entry in (await stage.kept.store.list(KEY_PREFIX)).entries)
    assert not any(text in stored for one in begun for text in (one.shown, one.proof))


async def test_a_session_ends_when_its_token_does(stage: Stage) -> None:
    shown = (await stage.sessions.log_in("ann")).shown
    stage.known.remove("ann")
    assert stage.sessions.find(shown) is None
    stage.known.add("ann")
    assert stage.sessions.find(shown) is None, "it does not come back"


async def test_a_session_ends_when_it_goes_unused(stage: Stage) -> None:
    shown = (await stage.sessions.log_in("ann")).shown
    stage.time += IDLE - timedelta(seconds=1)
    assert stage.sessions.find(shown) is not None
    stage.time += IDLE - timedelta(seconds=1)
    assert stage.sessions.find(shown) is not None, "it was used in between"
    stage.time += IDLE
    assert stage.sessions.find(shown) is None


async def test_a_session_that_is_used_ends_all_the_same(stage: Stage) -> None:
    shown = (await stage.sessions.log_in("ann")).shown
    while stage.time + IDLE / 2 < START + LONGEST:
        stage.time += IDLE / 2
        assert stage.sessions.find(shown) is not None
    stage.time = START + LONGEST
    assert stage.sessions.find(shown) is None


async def test_who_signs_out_is_out_and_nobody_else(stage: Stage) -> None:
    ann, bob = (await stage.sessions.log_in("ann")).shown, (await stage.sessions.log_in("bob")).shown
    await stage.sessions.log_out(ann)
    await stage.sessions.log_out(ann)
    assert stage.sessions.find(ann) is None
    assert stage.sessions.find(bob) is not None


async def test_a_link_is_good_once(stage: Stage) -> None:
    code = stage.sessions.invite(ADMIN)
    session = stage.sessions.find((await stage.sessions.accept(code)).shown)
    assert session is not None
    assert session.principal() == ADMIN
    with pytest.raises(Unauthenticated, match="used already"):
        await stage.sessions.accept(code)


async def test_a_link_is_good_for_a_while(stage: Stage) -> None:
    code = stage.sessions.invite(ADMIN)
    stage.time += INVITATION
    with pytest.raises(Unauthenticated, match="too old"):
        await stage.sessions.accept(code)


async def test_one_who_signs_in_again_and_again_pushes_out_nobody_else(stage: Stage) -> None:
    bob = (await stage.sessions.log_in("bob")).shown
    shown = list[str]()
    for _ in range(MAX_EACH + 1):
        stage.time += timedelta(seconds=1)
        shown.append((await stage.sessions.log_in("ann")).shown)
    assert stage.sessions.find(shown[0]) is None, "the longest unused one goes"
    assert stage.sessions.find(shown[1]) is not None
    assert stage.sessions.find(bob) is not None


async def keys_of(stage: Stage) -> list[str]:
    return [entry.key for entry in (await stage.kept.store.list(KEY_PREFIX)).entries]


async def test_a_session_outlives_the_server(stage: Stage) -> None:
    begun = await stage.sessions.log_in("ann")
    after = stage.restarted()
    await after.load()
    session = after.find(begun.shown)
    assert session is not None
    assert session.principal() == Principal("ann")
    assert session.is_proved_by(begun.proof)
    assert begun.shown not in "".join(await keys_of(stage))


async def test_a_session_that_began_before_there_were_proofs_is_over(stage: Stage) -> None:
    shown = (await stage.sessions.log_in("ann")).shown
    (entry,) = (await stage.kept.store.list(KEY_PREFIX)).entries
    (kept,) = await stage.kept.load()
    await stage.kept.store.put(entry.key, entry.value.replace(f" {kept.proof} ".encode(), b" "))
    after = stage.restarted()
    await after.load()
    assert after.find(shown) is None
    assert await keys_of(stage) == []


async def test_who_is_limited_stays_limited_after_a_restart(stage: Stage) -> None:
    limited = Principal(
        "ann",
        groups=["devs"],
        namespaces=["shop"],
        scope=[Rule(["get"], ["workloads"])],
        via="token:abc",
        expires_at=START + timedelta(hours=1),
    )
    shown = (await stage.sessions.accept(stage.sessions.invite(limited))).shown
    after = stage.restarted()
    await after.load()
    session = after.find(shown)
    assert session is not None
    assert session.principal() == limited


async def test_who_has_signed_out_is_not_brought_back_by_a_restart(stage: Stage) -> None:
    shown = (await stage.sessions.log_in("ann")).shown
    await stage.sessions.log_out(shown)
    after = stage.restarted()
    await after.load()
    assert after.find(shown) is None
    assert await keys_of(stage) == []


async def test_a_token_that_was_revoked_meanwhile_opens_nothing_after_a_restart(stage: Stage) -> None:
    shown = (await stage.sessions.log_in("ann")).shown
    stage.known.remove("ann")
    after = stage.restarted()
    await after.load()
    assert after.find(shown) is None


@pytest.mark.parametrize(("used", "away"), [(LONGEST - IDLE / 2, IDLE / 2), (timedelta(0), IDLE + GRAIN * 2)])
async def test_a_restart_makes_no_session_last_longer(used: timedelta, away: timedelta, stage: Stage) -> None:
    shown = (await stage.sessions.log_in("ann")).shown
    while stage.time < START + used:
        stage.time += IDLE / 4
        assert stage.sessions.find(shown) is not None
        await stage.sessions.write()
    stage.time += away
    after = stage.restarted()
    await after.load()
    assert after.find(shown) is None
    assert await keys_of(stage) == [], "what is over is kept no longer"


async def test_a_session_that_was_used_until_the_restart_goes_on(stage: Stage) -> None:
    shown = (await stage.sessions.log_in("ann")).shown
    for _ in range(4):
        stage.time += IDLE * 0.75
        assert stage.sessions.find(shown) is not None
        await stage.sessions.write()
    after = stage.restarted()
    await after.load()
    assert after.find(shown) is not None


async def test_where_nobody_does_anything_nothing_is_written(stage: Stage) -> None:
    await stage.sessions.log_in("ann")
    before = (await stage.kept.store.list("/")).revision
    stage.time += IDLE / 2
    await stage.sessions.write()
    assert (await stage.kept.store.list("/")).revision == before


async def test_what_was_used_is_written_down_from_time_to_time(stage: Stage, autojump_clock: MockClock) -> None:
    shown = (await stage.sessions.log_in("ann")).shown
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.sessions.run)
        stage.time += GRAIN
        assert stage.sessions.find(shown) is not None
        await trio.sleep(WRITE_SECONDS + 1)
        nursery.cancel_scope.cancel()
    (kept,) = await stage.kept.load()
    assert kept.used_at == START + GRAIN


async def test_what_is_damaged_is_left_out(stage: Stage) -> None:
    shown = (await stage.sessions.log_in("ann")).shown
    for number, value in enumerate([b"", b"{}", b"[]", b"\xff"]):
        await stage.kept.store.put(f"{KEY_PREFIX}{number}", value)
    after = stage.restarted()
    await after.load()
    assert after.find(shown) is not None
