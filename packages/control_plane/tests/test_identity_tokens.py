"""Tokens: who shows one is who it was issued to, until it is revoked or its time is over."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._identity.access import Rule
from orchestrion.control_plane._identity.admin_token import (
    LIFETIME,
    MADE_KEY,
    keep_first_token,
    kept_first_token,
    make_first_token,
    renew_first_token,
)
from orchestrion.control_plane._identity.failures import NotProved, Reason
from orchestrion.control_plane._identity.principals import ADMINS, ANONYMOUS, Principal, PrincipalKind
from orchestrion.control_plane._identity.tokens import Tokens
from orchestrion.mocks import Fault, FaultKind, MemoryState, MemoryStore, ScriptedFaults, script
from orchestrion.shared_types import ConfigInvalid, NotFound
from orchestrion.store_interface import Put
from trio.testing import MockClock, wait_all_tasks_blocked

from .identity_sources import NOW, Chance, Clock

ANN = Principal(
    "ann",
    groups=frozenset({"devs"}),
    namespaces=frozenset({"prod"}),
    scope=(Rule("get", "workloads", names="web"),),
    expires_at=NOW + timedelta(hours=1),
)


@asynccontextmanager
async def following(
    state: MemoryState | None = None, clock: Clock | None = None, chance: Chance | None = None, store: object = None
) -> AsyncIterator[Tokens]:
    opened = store if isinstance(store, MemoryStore) else MemoryStore(state)
    tokens = Tokens(opened, clock or Clock(), chance or Chance())
    async with trio.open_nursery() as nursery:
        await nursery.start(tokens.follow)
        yield tokens
        nursery.cancel_scope.cancel()


def reason(tokens: Tokens, text: str) -> Reason:
    with pytest.raises(NotProved) as caught:
        tokens.verify(text)
    return caught.value.reason


async def test_a_token_is_good_at_once_and_for_whom_it_was_issued() -> None:
    async with following() as tokens:
        issued = await tokens.issue(ANN, note="laptop")
        shown = tokens.verify(issued.text.reveal())
        assert shown == issued.record.principal == ANN.via_channel(f"token:{issued.record.id}")
        assert tokens.all() == (issued.record,)
        assert tokens.get(issued.record.id).note == "laptop"


async def test_a_token_has_the_form_that_scanners_look_for() -> None:
    async with following() as tokens:
        issued = await tokens.issue(ANN)
        prefix, token_id, secret = issued.text.reveal().split("_")
        assert (prefix, token_id, len(secret)) == ("orc", issued.record.id, 52)


async def test_the_store_never_has_the_text_of_a_token() -> None:
    store = MemoryStore()
    async with following(store=store) as tokens:
        issued = await tokens.issue(ANN)
        secret = issued.text.reveal().rpartition("_")[2]
        with pytest.raises(NotProved) as caught:
            tokens.verify(f"{issued.text.reveal()}x")
        assert secret not in str(caught.value)
        listed = await store.list("")
        assert len(listed.entries) == 1
        assert secret.encode() not in listed.entries[0].value
        assert secret not in repr(issued)


async def test_a_token_is_good_after_a_restart() -> None:
    state = MemoryState()
    async with following(state) as tokens:
        issued = await tokens.issue(ANN)
    async with following(state) as tokens:
        assert tokens.verify(issued.text.reveal()) == issued.record.principal
        assert tokens.all() == (issued.record,)


async def test_a_revoked_token_is_refused_at_once_and_revoking_again_succeeds() -> None:
    async with following() as tokens:
        issued = await tokens.issue(ANN)
        await tokens.revoke(issued.record.id)
        assert reason(tokens, issued.text.reveal()) == Reason.INVALID_TOKEN
        await tokens.revoke(issued.record.id)
        await tokens.revoke("../../etc")
        await wait_all_tasks_blocked()
        assert reason(tokens, issued.text.reveal()) == Reason.INVALID_TOKEN
        with pytest.raises(NotFound):
            tokens.get(issued.record.id)


async def test_what_one_server_does_holds_for_the_other() -> None:
    store = MemoryStore()
    async with following(store=store) as one, following(store=store, chance=Chance(100)) as other:
        issued = await one.issue(ANN)
        await wait_all_tasks_blocked()
        assert other.verify(issued.text.reveal()).name == "ann"
        await other.revoke(issued.record.id)
        await wait_all_tasks_blocked()
        assert reason(one, issued.text.reveal()) == Reason.INVALID_TOKEN


async def test_a_token_is_refused_from_the_moment_of_its_end() -> None:
    clock = Clock()
    async with following(clock=clock) as tokens:
        issued = await tokens.issue(ANN)
        clock.now = NOW + timedelta(hours=1) - timedelta(microseconds=1)
        assert tokens.verify(issued.text.reveal()).name == "ann"
        clock.now = NOW + timedelta(hours=1)
        assert reason(tokens, issued.text.reveal()) == Reason.TOKEN_EXPIRED


async def test_a_secret_of_another_token_is_refused() -> None:
    async with following() as tokens:
        one, other = await tokens.issue(ANN), await tokens.issue(Principal("bob"))
        secret = other.text.reveal().rpartition("_")[2]
        assert reason(tokens, f"orc_{one.record.id}_{secret}") == Reason.INVALID_TOKEN


def letters(count: int) -> st.SearchStrategy[str]:
    return st.text("abcxyz234567", min_size=count, max_size=count)


@given(st.text() | st.builds("orc_{}_{}".format, letters(13), letters(52)))
def test_any_other_text_is_refused(text: str) -> None:
    assert reason(Tokens(MemoryStore()), text) == Reason.INVALID_TOKEN


async def test_every_other_spelling_of_a_token_is_refused() -> None:
    async with following() as tokens:
        text = (await tokens.issue(ANN)).text.reveal()
        others = [text[:n] + ("a" if text[n] != "a" else "b") + text[n + 1 :] for n in range(len(text))]
        for other in (*others, text.upper(), f"{text} ", f" {text}", f"{text}\n", f"{text}=", text[:-1]):
            assert reason(tokens, other) == Reason.INVALID_TOKEN


@pytest.mark.parametrize(
    "principal", [ANONYMOUS, Principal(""), Principal("ann", expires_at=NOW)], ids=["anonymous", "nameless", "past"]
)
async def test_a_token_for_nobody_or_for_no_time_is_not_issued(principal: Principal) -> None:
    async with following() as tokens:
        with pytest.raises(ConfigInvalid):
            await tokens.issue(principal)
        assert tokens.all() == ()


async def test_a_damaged_token_is_left_out_and_the_others_are_good(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    for number, value in enumerate((b"{", b"[]", b'{"version": 2}', b'{"version": 1, "name": "ann"}')):
        await store.put(f"/token/default/{number}", value)
    async with following(store=store) as tokens:
        issued = await tokens.issue(ANN)
        assert tokens.all() == (issued.record,)
    assert caplog.text.count("can't be used") == 4


async def test_the_tokens_stay_known_while_the_store_fails(autojump_clock: MockClock) -> None:
    state = MemoryState()
    async with following(state) as before:
        issued = await before.issue(ANN)
    store = MemoryStore(state, faults=script(("next", 1, FaultKind.FAIL), ("list", 2, FaultKind.FAIL)))
    async with following(store=store) as tokens:
        await wait_all_tasks_blocked()
        assert tokens.verify(issued.text.reveal()).name == "ann"
        await trio.sleep(3)
        other = await Tokens(store, Clock(), Chance(50)).issue(Principal("bob"))
        await wait_all_tasks_blocked()
        assert tokens.verify(other.text.reveal()).name == "bob"


async def test_tokens_are_listed_anew_where_the_watch_was_cut_off(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    caplog.set_level("INFO", "orchestrion.control_plane")
    late = ScriptedFaults({("next", 1): Fault(FaultKind.DELAY, 5.0)})
    store = MemoryStore(faults=late)
    async with following(store=store) as tokens:
        other = Tokens(store, Clock(), Chance(9))
        one = await other.issue(ANN)
        await other.revoke(one.record.id)
        two = await other.issue(ANN)
        await store.compact(await store.put("/x", b""))
        await trio.sleep(6)
        assert reason(tokens, one.text.reveal()) == Reason.INVALID_TOKEN
        assert tokens.verify(two.text.reveal()).name == "ann"
    assert "following /token/default/ anew" in caplog.text


async def test_the_first_token_is_an_administrators_in_a_file_of_the_servers_own(tmp_path: Path) -> None:
    async with following() as tokens:
        path = await make_first_token(tokens, tmp_path)
        assert path == tmp_path / "admin.token"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        principal = tokens.verify(path.read_text().strip())
        assert (principal.name, principal.kind, principal.groups) == ("admin", PrincipalKind.USER, frozenset({ADMINS}))
        assert [one.name for one in tmp_path.iterdir()] == ["admin.token"]


async def test_the_first_token_is_made_once_also_when_it_was_revoked_and_its_file_is_gone(tmp_path: Path) -> None:
    async with following() as tokens:
        path = await make_first_token(tokens, tmp_path)
        assert path is not None
        assert await make_first_token(tokens, tmp_path) is None
        await tokens.revoke(tokens.all()[0].id)
        path.unlink()
        assert await make_first_token(tokens, tmp_path) is None
        assert (list(tmp_path.iterdir()), tokens.all()) == ([], ())


async def test_the_first_token_is_found_again_as_long_as_it_is_there_and_good(tmp_path: Path) -> None:
    async with following() as tokens:
        assert kept_first_token(tokens, tmp_path) is None
        path = await make_first_token(tokens, tmp_path)
        assert path is not None
        assert kept_first_token(tokens, tmp_path) == path
        text = path.read_text()
        path.write_text("orc_another")
        assert kept_first_token(tokens, tmp_path) is None
        path.write_text(text)
        await tokens.revoke(tokens.all()[0].id)
        assert kept_first_token(tokens, tmp_path) is None


async def test_a_first_token_that_a_crash_left_as_a_draft_is_put_in_place(tmp_path: Path) -> None:
    async with following() as tokens:
        path = await make_first_token(tokens, tmp_path)
        assert path is not None
        text = path.read_text()
        path.rename(tmp_path / "admin.token.draft")
        assert await make_first_token(tokens, tmp_path) is None
        assert path.read_text() == text
        assert [one.name for one in tmp_path.iterdir()] == ["admin.token"]


async def test_a_draft_of_a_token_that_was_never_made_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "admin.token.draft").write_text("orc_old")
    async with following() as tokens:
        path = await make_first_token(tokens, tmp_path)
        assert path is not None
        assert tokens.verify(path.read_text().strip()).name == "admin"


async def first_token(tokens: Tokens, folder: Path) -> str:
    """Make the first token, and return it."""
    path = await make_first_token(tokens, folder)
    assert path is not None
    return path.read_text().strip()


async def test_the_first_token_ends_and_is_replaced_in_time(tmp_path: Path) -> None:
    clock = Clock()
    async with following(clock=clock) as tokens:
        old = await first_token(tokens, tmp_path)
        clock.now = NOW + LIFETIME * 2 / 3
        assert not await renew_first_token(tokens, tmp_path)
        clock.now += timedelta(seconds=1)
        assert await renew_first_token(tokens, tmp_path)
        assert not await renew_first_token(tokens, tmp_path)
        await wait_all_tasks_blocked()
        new = (tmp_path / "admin.token").read_text().strip()
        assert tokens.verify(new).groups == frozenset({ADMINS})
        with pytest.raises(NotProved, match="revoked"):
            tokens.verify(old)
        assert [record.principal.expires_at for record in tokens.all()] == [clock.now + LIFETIME]
        assert [one.name for one in tmp_path.iterdir()] == ["admin.token"]
        clock.now += LIFETIME
        with pytest.raises(NotProved) as caught:
            tokens.verify(new)
        assert (caught.value.reason, "admin.token" in caught.value.remedy) == (Reason.TOKEN_EXPIRED, True)
        assert await renew_first_token(tokens, tmp_path), "also when nobody has looked in time"


async def test_a_first_token_without_an_end_is_replaced_by_one_that_has_one(tmp_path: Path) -> None:
    async with following() as tokens:
        issued = tokens.make(Principal("admin", groups=frozenset({ADMINS})))
        said = Put(MADE_KEY, b'{"version": 1, "id": "%s"}' % issued.record.id.encode())
        await tokens.write(issued.record, [], [said])
        (tmp_path / "admin.token").write_text(issued.text.reveal())
        (tmp_path / "admin.token").chmod(0o600)
        assert await renew_first_token(tokens, tmp_path)
        await wait_all_tasks_blocked()
        assert [record.principal.expires_at for record in tokens.all()] == [NOW + LIFETIME]


@pytest.mark.parametrize("how", ["revoked", "gone", "another"])
async def test_a_first_token_that_nobody_wants_is_not_replaced(tmp_path: Path, how: str) -> None:
    clock = Clock()
    async with following(clock=clock) as tokens:
        await first_token(tokens, tmp_path)
        path = tmp_path / "admin.token"
        if how == "revoked":
            await tokens.revoke(tokens.all()[0].id)
        elif how == "gone":
            path.unlink()
        else:
            path.write_text((await tokens.issue(ANN)).text.reveal())
        known = {record.id for record in tokens.all()}
        clock.now += LIFETIME
        assert not await renew_first_token(tokens, tmp_path)
        assert {record.id for record in tokens.all()} == known


async def test_a_crash_while_the_first_token_is_replaced_leaves_one_that_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    async with following(clock=clock) as tokens:
        old = await first_token(tokens, tmp_path)
        clock.now += LIFETIME * 3 / 4

        async def killed(*_: object) -> None:
            await trio.lowlevel.checkpoint()
            raise KeyError

        with monkeypatch.context() as patch:
            patch.setattr(Tokens, "write", killed)
            with pytest.raises(KeyError):
                await renew_first_token(tokens, tmp_path)
        assert await make_first_token(tokens, tmp_path) is None
        assert (tmp_path / "admin.token").read_text().strip() == old
        assert tokens.verify(old).name == "admin"
        assert await renew_first_token(tokens, tmp_path)
        (tmp_path / "admin.token").rename(tmp_path / "admin.token.draft")
        (tmp_path / "admin.token").write_text(old)
        await wait_all_tasks_blocked()
        assert await make_first_token(tokens, tmp_path) is None
        assert tokens.verify((tmp_path / "admin.token").read_text().strip()).name == "admin"


async def test_a_server_that_runs_on_replaces_the_first_token_itself(tmp_path: Path, autojump_clock: MockClock) -> None:
    clock = Clock()
    async with following(clock=clock) as tokens, trio.open_nursery() as nursery:
        old = await first_token(tokens, tmp_path)
        nursery.start_soon(keep_first_token, tokens, tmp_path)
        clock.now += LIFETIME * 3 / 4
        # The clock of the test goes on while files are written.
        with trio.fail_after(LIFETIME.total_seconds()):
            while (tmp_path / "admin.token").read_text().strip() == old:
                await trio.sleep(60)
        nursery.cancel_scope.cancel()


async def test_of_two_servers_that_start_at_once_one_makes_the_token(tmp_path: Path) -> None:
    store = MemoryStore()
    made: list[Path | None] = []
    async with following(store=store) as one, following(store=store, chance=Chance(100)) as other:

        async def start(tokens: Tokens, name: str) -> None:
            (tmp_path / name).mkdir()
            made.append(await make_first_token(tokens, tmp_path / name))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start, one, "one")
            nursery.start_soon(start, other, "other")
        assert sum(path is not None for path in made) == 1
        assert len(list(tmp_path.glob("*/*"))) == 1
        assert len((await store.list("/token/")).entries) == 1
        assert (await store.get(MADE_KEY)).entry is not None
