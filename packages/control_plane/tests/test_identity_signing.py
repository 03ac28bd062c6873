"""Signed requests: taken once, for a while, and as they were signed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
import trio
from attrs import define
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._identity.curve import is_good_key
from orchestrion.control_plane._identity.failures import NotProved, Reason
from orchestrion.control_plane._identity.keys import MAX_AGE, MAX_AHEAD, TrustedKeys
from orchestrion.control_plane._identity.principals import ANONYMOUS, Principal, PrincipalKind
from orchestrion.control_plane._identity.records import StoredPrincipal
from orchestrion.control_plane._identity.replays import ReplayCache
from orchestrion.control_plane._identity.signing import HEADERS, RequestSigner, fingerprint_of_key
from orchestrion.mocks import MemoryState, MemoryStore
from orchestrion.shared_types import ConfigInvalid, NotFound, TooManyRequests
from orchestrion.store_interface import RevisionConflict
from trio.testing import MockClock, wait_all_tasks_blocked

from .identity_sources import NOW, Chance, Clock

CI = Principal("ci", PrincipalKind.SERVICE, groups=frozenset({"builders"}))
SECOND = timedelta(seconds=1)
OTHERS = {"content-type": "application/json", "if-match": '"12"', "accept": "*/*"}


@define
class Server:
    keys: TrustedKeys
    clock: Clock
    signer: RequestSigner

    def verify(self, headers: dict[str, str], **change: Any) -> Principal:
        request = {"method": "POST", "path": "/api/v1/apply", "query": "dry=1", "body": b"{}", **change}
        return self.keys.verify(
            request["method"], request["path"], query=request["query"], headers=headers, body=request["body"]
        )

    def signed(self) -> dict[str, str]:
        return {**OTHERS, **self.signer.headers("POST", "/api/v1/apply", query="dry=1", body=b"{}", headers=OTHERS)}

    def reason(self, headers: dict[str, str], **change: Any) -> Reason:
        with pytest.raises(NotProved) as caught:
            self.verify(headers, **change)
        return caught.value.reason


@asynccontextmanager
async def serving(state: MemoryState | None = None) -> AsyncIterator[Server]:
    clock = Clock(NOW - timedelta(hours=1))
    keys = TrustedKeys(MemoryStore(state), clock)
    clock.now = NOW
    server = Server(keys, clock, RequestSigner.from_seed(bytes(32), now=clock, random_bytes=Chance()))
    async with trio.open_nursery() as nursery:
        await nursery.start(keys.follow)
        if not keys.all():
            await keys.trust(server.signer.public_key, CI)
        yield server
        nursery.cancel_scope.cancel()


async def test_a_signed_request_is_whose_key_signed_it() -> None:
    async with serving() as server:
        principal = server.verify(server.signed())
        fingerprint = fingerprint_of_key(server.signer.public_key)
        assert principal == CI.via_channel(f"key:{fingerprint}")


def test_what_is_signed_is_method_target_meaning_time_nonce_and_hash_of_the_body() -> None:
    signer = RequestSigner.from_seed(bytes(32), now=Clock(), random_bytes=Chance())
    headers = signer.headers("post", "/a", query="b=c", body=b"x", headers={**OTHERS, "idempotency-key": " k1\t"})
    digest = hashlib.sha256(b"x").hexdigest()
    others = 'application/json\n"12"\nk1'
    moment = "2026-11-22T10:30:00.000000Z"
    text = f"orchestrion-request-2\nPOST\n/a?b=c\n{others}\n{moment}\n{headers['x-auth-nonce']}\n{digest}"
    signature = base64.b64decode(headers["x-auth-signature"])
    Ed25519PublicKey.from_public_bytes(signer.public_key).verify(signature, text.encode())


async def test_a_request_is_taken_once() -> None:
    async with serving() as server:
        headers = server.signed()
        server.verify(headers)
        assert server.reason(headers) == Reason.REPLAYED
        assert server.verify(server.signed()).name == "ci"


@pytest.mark.parametrize(
    "change",
    [
        {"method": "DELETE"},
        {"path": "/api/v1/plan"},
        {"path": "/api/v1/apply?", "query": "dry=1"},
        {"query": ""},
        {"query": "dry=0"},
        {"body": b""},
        {"body": b"{} "},
    ],
)
async def test_a_signature_is_good_for_no_other_request(change: dict[str, Any]) -> None:
    async with serving() as server:
        assert server.reason(server.signed(), **change) == Reason.INVALID_SIGNATURE


@pytest.mark.parametrize(
    "change",
    [
        {"content-type": "application/yaml"},
        {"content-type": ""},
        {"if-match": '"13"'},
        {"if-match": ""},
        {"idempotency-key": "k1"},
    ],
)
async def test_a_signature_is_good_for_no_other_meaning(change: dict[str, str]) -> None:
    async with serving() as server:
        assert server.reason({**server.signed(), **change}) == Reason.INVALID_SIGNATURE
        server.verify({**server.signed(), "accept": "text/plain"})


async def test_what_was_signed_in_the_form_of_before_is_refused() -> None:
    async with serving() as server:
        shown = server.signer.headers("POST", "/api/v1/apply", query="dry=1", body=b"{}")
        lines = ("POST", "/api/v1/apply?dry=1", shown["x-auth-timestamp"], shown["x-auth-nonce"])
        text = "\n".join([*lines, hashlib.sha256(b"{}").hexdigest()])
        key = Ed25519PrivateKey.from_private_bytes(bytes(32))
        shown["x-auth-signature"] = base64.b64encode(key.sign(text.encode())).decode()
        assert server.reason(shown) == Reason.INVALID_SIGNATURE


async def test_a_line_break_moves_nothing_from_one_line_to_another() -> None:
    async with serving() as server:
        assert server.reason(server.signed(), path="/api\n/v1") == Reason.INVALID_HEADER


async def test_what_a_head_says_is_enough_to_refuse_most(autojump_clock: MockClock) -> None:
    async with serving() as server:
        taken = server.signed()
        assert server.keys.check_head(taken).principal.name == "ci"
        server.verify(taken)
        stranger = RequestSigner.from_seed(bytes(31) + b"a", now=server.clock, random_bytes=Chance())
        unknown = stranger.headers("POST", "/api/v1/apply", body=b"{}")
        server.clock.now = NOW - MAX_AGE - SECOND
        old = server.signed()
        server.clock.now = NOW
        for headers, reason in (
            (taken, Reason.REPLAYED),
            (unknown, Reason.UNKNOWN_KEY),
            (old, Reason.TIMESTAMP_EXPIRED),
            ({}, Reason.MISSING_HEADER),
        ):
            with pytest.raises(NotProved) as caught:
                server.keys.check_head(headers)
            assert caught.value.reason == reason


async def test_a_head_names_a_key_that_is_trusted_or_nobody() -> None:
    async with serving() as server:
        shown = server.signed()
        assert server.keys.claim(shown) == f"key:{fingerprint_of_key(server.signer.public_key)}"
        for text in ("", "AAAA", "?", "ö", shown["x-auth-publickey"] + "A" * 10_000, "A" * 43 + "="):
            assert server.keys.claim({"x-auth-publickey": text}) == ""


@pytest.mark.parametrize("name", HEADERS)
async def test_every_header_is_needed(name: str) -> None:
    async with serving() as server:
        headers = server.signed()
        del headers[name]
        assert server.reason(headers) == Reason.MISSING_HEADER
        assert server.reason({**headers, name: ""}) == Reason.MISSING_HEADER


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x-auth-publickey", "AAAA"),
        ("x-auth-publickey", "?" * 44),
        ("x-auth-publickey", base64.b64encode(bytes(32)).decode().rstrip("=")),
        ("x-auth-signature", base64.b64encode(bytes(63)).decode()),
        ("x-auth-signature", base64.urlsafe_b64encode(b"\xff" * 64).decode()),
        ("x-auth-timestamp", "2026-11-22T10:30:00"),
        ("x-auth-timestamp", "2026-11-22"),
        ("x-auth-timestamp", "1795343400"),
        ("x-auth-timestamp", "2026-13-22T10:30:00Z"),
        ("x-auth-timestamp", "0001-01-01T00:00:00+14:00"),
        ("x-auth-timestamp", "2026-11-22T10:30:00Z\n"),
        ("x-auth-nonce", "short"),
        ("x-auth-nonce", "n" * 65),
        ("x-auth-nonce", "n" * 16 + "\n"),
        ("x-auth-nonce", "n" * 16 + " "),
    ],
)
async def test_a_header_that_is_not_what_it_has_to_be_is_refused(name: str, text: str) -> None:
    async with serving() as server:
        assert server.reason({**server.signed(), name: text}) == Reason.INVALID_HEADER


async def test_one_signature_has_one_spelling() -> None:
    async with serving() as server:
        headers = server.signed()
        signature = headers["x-auth-signature"]
        other = f"{signature[:-3]}{chr(ord(signature[-3]) + 1)}=="
        assert base64.b64decode(other) == base64.b64decode(signature)
        assert server.reason({**headers, "x-auth-signature": other}) == Reason.INVALID_HEADER
        server.verify(headers)
        assert server.reason({**headers, "x-auth-signature": f" {signature}"}) == Reason.INVALID_HEADER


@pytest.mark.parametrize(
    ("away", "taken"),
    [
        (MAX_AGE, True),
        (MAX_AGE + SECOND, False),
        (-MAX_AHEAD, True),
        (-MAX_AHEAD - SECOND, False),
    ],
)
async def test_a_request_is_good_for_a_while(away: timedelta, taken: bool) -> None:
    async with serving() as server:
        headers = server.signed()
        server.clock.now += away
        if taken:
            assert server.verify(headers).name == "ci"
        else:
            assert server.reason(headers) == Reason.TIMESTAMP_EXPIRED


async def test_a_key_that_nobody_trusts_signs_nothing() -> None:
    async with serving() as server:
        server.signer = RequestSigner.from_seed(b"\1" * 32, now=server.clock)
        assert server.reason(server.signed()) == Reason.UNKNOWN_KEY


async def test_the_key_of_one_and_the_signature_of_another_prove_nothing() -> None:
    async with serving() as server:
        stranger = RequestSigner.from_seed(b"\1" * 32, now=server.clock)
        headers = stranger.headers("POST", "/api/v1/apply", query="dry=1", body=b"{}")
        key = base64.b64encode(server.signer.public_key).decode()
        assert server.reason({**headers, "x-auth-publickey": key}) == Reason.INVALID_SIGNATURE


async def test_a_key_of_low_order_can_not_be_used_without_being_trusted() -> None:
    async with serving() as server:
        low = base64.b64encode(b"\1" + bytes(31)).decode()
        headers = {**server.signed(), "x-auth-publickey": low, "x-auth-signature": base64.b64encode(bytes(64)).decode()}
        assert server.reason(headers) == Reason.UNKNOWN_KEY


async def test_a_forgotten_key_is_refused_at_once() -> None:
    async with serving() as server:
        fingerprint = server.keys.all()[0].fingerprint
        await server.keys.forget(fingerprint)
        assert server.reason(server.signed()) == Reason.UNKNOWN_KEY
        await server.keys.forget(fingerprint)
        await server.keys.forget("nonsense")
        await wait_all_tasks_blocked()
        assert server.keys.all() == ()
        with pytest.raises(NotFound):
            server.keys.get(fingerprint)


async def test_a_key_is_trusted_until_its_end() -> None:
    async with serving() as server:
        await server.keys.forget(server.keys.all()[0].fingerprint)
        await server.keys.trust(server.signer.public_key, Principal("ann", expires_at=NOW + SECOND))
        assert server.verify(server.signed()).name == "ann"
        server.clock.now += SECOND
        assert server.reason(server.signed()) == Reason.UNKNOWN_KEY


async def test_trusting_again_is_the_same_and_for_somebody_else_is_a_conflict() -> None:
    async with serving() as server:
        before = await server.keys.store.get("/x")
        assert await server.keys.trust(server.signer.public_key, CI) == server.keys.all()[0]
        assert (await server.keys.store.get("/x")).revision == before.revision
        with pytest.raises(RevisionConflict):
            await server.keys.trust(server.signer.public_key, Principal("eve"))
        assert server.verify(server.signed()).name == "ci"


@pytest.mark.parametrize(
    ("key", "principal"),
    [(bytes(31), CI), (bytes(32), ANONYMOUS), (bytes(32), Principal("ann", expires_at=NOW))],
)
async def test_what_is_no_key_of_anybody_is_not_trusted(key: bytes, principal: Principal) -> None:
    async with serving() as server:
        with pytest.raises(ConfigInvalid):
            await server.keys.trust(key, principal)


_PRIME = 2**255 - 19
_ORDER_8 = (
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
)
_SMALL = [(number + top * 2**255).to_bytes(32, "little") for top in (0, 1) for number in (0, 1, _PRIME - 1)]
_SMALL += [bytes.fromhex(text) for text in _ORDER_8]
_SMALL += [bytes([*key[:31], key[31] | 128]) for key in map(bytes.fromhex, _ORDER_8)]
_OTHER_WORDS = [(number + top * 2**255).to_bytes(32, "little") for top in (0, 1) for number in range(_PRIME, 2**255)]
NO_KEYS = [*_SMALL, *_OTHER_WORDS, b"k" * 32]
"""Points of small order, numbers that are written otherwise than they should be, and what is no point of the curve."""


def test_anybody_signs_any_text_for_a_point_of_small_order() -> None:
    neutral = (1).to_bytes(32, "little")
    for text in (b"one", b"another"):
        Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), text)


async def test_a_key_for_which_anybody_can_sign_is_not_trusted() -> None:
    async with serving() as server:
        for key in NO_KEYS:
            with pytest.raises(ConfigInvalid):
                await server.keys.trust(key, CI)
        assert len(server.keys.all()) == 1


async def test_a_key_for_which_anybody_can_sign_is_left_out_where_it_is_stored() -> None:
    async with serving() as server:
        for key in (NO_KEYS[1], server.signer.public_key):
            value = StoredPrincipal.of(CI, base64.b64encode(key).decode(), NOW, "").encode()
            await server.keys.store.put(f"/key/default/{fingerprint_of_key(key)}", value)
        await wait_all_tasks_blocked()
        assert [key.public_key for key in server.keys.all()] == [server.signer.public_key]


@given(st.binary(min_size=32, max_size=32))
def test_whatever_private_key_somebody_has_its_public_key_is_good(seed: bytes) -> None:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    assert is_good_key(public)
    assert is_good_key(bytes([*public[:31], public[31] ^ 128])), "the point beside it has the same order"


async def test_keys_are_trusted_after_a_restart_and_earlier_requests_are_not_taken() -> None:
    state = MemoryState()
    async with serving(state) as server:
        early = server.signed()
        assert server.verify(early).name == "ci"
    clock = Clock(NOW + SECOND)
    keys = TrustedKeys(MemoryStore(state), clock)
    async with trio.open_nursery() as nursery:
        await nursery.start(keys.follow)
        again = Server(keys, clock, RequestSigner.from_seed(bytes(32), now=clock))
        assert again.reason(early) == Reason.TIMESTAMP_EXPIRED
        clock.now += MAX_AHEAD + SECOND
        assert again.verify(again.signed()).name == "ci"
        nursery.cancel_scope.cancel()


async def test_a_key_that_is_stored_under_a_wrong_name_is_left_out() -> None:
    store = MemoryStore()
    async with serving() as server:
        entry = (await server.keys.store.list("/key/")).entries[0]
    await store.put(f"/key/default/{'0' * 32}", entry.value)
    keys = TrustedKeys(store, Clock())
    async with trio.open_nursery() as nursery:
        await nursery.start(keys.follow)
        assert keys.all() == ()
        nursery.cancel_scope.cancel()


@given(st.lists(st.tuples(st.integers(-70, 310), st.integers(0, 3), st.integers(-400, 400)), max_size=60))
def test_nothing_is_ever_taken_twice_whatever_the_clock_does(steps: list[tuple[int, int, int]]) -> None:
    window = timedelta(seconds=300)
    cache = ReplayCache(window, NOW - timedelta(days=1))
    taken: set[tuple[str, datetime]] = set()
    now = NOW
    for age, nonce, passed in steps:
        at = now - timedelta(seconds=age)
        if cache.take("key", f"{nonce} at {at}", at, now):
            assert (f"{nonce}", at) not in taken
            taken.add((f"{nonce}", at))
        now += timedelta(seconds=passed)


def test_a_full_cache_refuses_rather_than_forgets() -> None:
    cache = ReplayCache(timedelta(seconds=300), NOW - timedelta(days=1), limit=3, limit_per_key=2)
    assert cache.take("a", "1", NOW, NOW)
    assert cache.take("a", "2", NOW + SECOND, NOW)
    with pytest.raises(TooManyRequests) as of_key:
        cache.take("a", "3", NOW, NOW + SECOND)
    assert cache.take("b", "1", NOW, NOW)
    with pytest.raises(TooManyRequests):
        cache.take("b", "2", NOW, NOW)
    assert of_key.value.retry_after_seconds == 299
    assert not cache.take("a", "1", NOW, NOW + SECOND)
    later = NOW + timedelta(seconds=300, microseconds=1)
    assert cache.take("a", "3", later, later)
    assert len(cache) == 2
    assert not cache.take("a", "1", NOW, later)


def test_what_is_forgotten_is_no_memory() -> None:
    cache = ReplayCache(timedelta(seconds=300), NOW - timedelta(days=1))
    for number in range(5000):
        now = NOW + SECOND * number
        assert cache.take(f"key {number % 7}", str(number), now, now)
    assert len(cache) == 301
    assert len(cache._by_time) == 301
    assert len(cache._counts) == 7


async def test_what_a_clock_ahead_has_signed_is_not_taken_again_after_a_restart() -> None:
    state = MemoryState()
    async with serving(state) as server:
        server.clock.now = NOW + MAX_AHEAD
        ahead = server.signed()
        server.clock.now = NOW
        assert server.verify(ahead).name == "ci"
    again = Clock(NOW + SECOND)
    keys = TrustedKeys(MemoryStore(state), again)
    async with trio.open_nursery() as nursery:
        await nursery.start(keys.follow)
        server = Server(keys, again, server.signer)
        again.now = NOW + MAX_AHEAD
        assert server.reason(ahead) == Reason.TIMESTAMP_EXPIRED
        server.signer.now = again
        again.now = NOW + MAX_AHEAD + 2 * SECOND
        assert server.verify(server.signed()).name == "ci"
        nursery.cancel_scope.cancel()
