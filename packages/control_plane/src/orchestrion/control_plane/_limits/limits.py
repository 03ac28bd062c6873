"""Who may ask how often and how much, lane by lane: what one lane is busy with delays nobody in another."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field, frozen
from orchestrion.shared_types import TooManyRequests

from .rate import Rate, RateLimiter
from .seats import LaneSize, Seats

if TYPE_CHECKING:
    from orchestrion.control_plane._identity.principals import Principal


class Lane(StrEnum):
    """What kind of request it is; each kind has room of its own."""

    NODE = "node"
    """What nodes tell of themselves, as heartbeats and the status of instances; for nodes alone."""
    READ = "read"
    WRITE = "write"
    STREAM = "stream"
    """What stays open: watches, logs, exec."""


@frozen
class LaneLimits:
    """The limits of one lane.

    Attributes:
        rate: How often one may ask.
        size: How many requests may be at work at once.
    """

    rate: Rate
    size: LaneSize


DEFAULT_LANES: Final[Mapping[Lane, LaneLimits]] = {
    Lane.NODE: LaneLimits(Rate(200, 1000), LaneSize(each=64, all=100_000, queue=256)),
    Lane.READ: LaneLimits(Rate(5000, 10_000), LaneSize(each=32, all=128, queue=1024)),
    Lane.WRITE: LaneLimits(Rate(5000, 10_000), LaneSize(each=64, all=256, queue=1024)),
    Lane.STREAM: LaneLimits(Rate(100, 2000), LaneSize(each=2000, all=10_000, queue=0)),
}
"""Far above what people and programs in good order ask for, and far below what would take all memory.

What is at work at once takes turns, so that all of it comes to its end late: there is no more of it than is done within
a fraction of the time that a heartbeat may take. Writes wait for the disk together, so that more of them are worth it.
"""

UNKNOWN_LIMITS: Final = LaneLimits(Rate(50, 100), LaneSize(each=16, all=128, queue=32))
"""For those who are not known, by address and for all lanes together."""


OPEN_RATE: Final = Rate(500, 1000)
"""For what is answered without anybody being known, by address: assets of pages, paths that there are not."""

HEALTH_RATE: Final = Rate(100, 200)
"""The same for how the server is, which is counted on its own: who looks after it is not kept out by others."""


_MAX_SOURCES: Final = 4096
"""For how many addresses it is remembered what they count as. It is an optimisation."""


Fields = tuple[tuple[bytes, bytes], ...]
"""Header fields of an answer."""


@define(eq=False)
class _Rated:
    """A rate that has a name, and says of itself how much of it is left (draft-ietf-httpapi-ratelimit-headers-10)."""

    name: str
    rates: RateLimiter
    _policy: tuple[bytes, bytes] = field(init=False)
    _name: bytes = field(init=False)
    _untouched: Fields = field(init=False)
    """What is said of a bucket that has all its tokens."""

    def __attrs_post_init__(self) -> None:
        rate = self.rates.rate
        # In the time that the policy has as its window, a bucket that is empty gets all its tokens.
        policy = f'"{self.name}";q={rate.burst};w={math.ceil(rate.burst / rate.per_second)}'
        self._policy = (b"ratelimit-policy", policy.encode())
        self._name = self.name.encode()
        self._untouched = self._policy, (b"ratelimit", b'"%b";r=%d' % (self._name, rate.burst))

    def fields(self, who: str, now: float) -> Fields:
        """Return the policy, and how much is left for somebody."""
        left, wait = self.rates.left(who, now)
        if not wait:
            return self._untouched
        return self._policy, (b"ratelimit", b'"%b";r=%d;t=%d' % (self._name, left, math.ceil(wait)))


@define(eq=False)
class _Gate:
    name: str
    limits: LaneLimits
    rated: _Rated = field(init=False)
    seats: Seats = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rated = _Rated(self.name, RateLimiter(self.limits.rate))
        self.seats = Seats(self.limits.size)

    @property
    def rates(self) -> RateLimiter:
        """Who has asked how often."""
        return self.rated.rates


@define(eq=False)
class Limits:
    """Lets requests in, or says when to come again.

    Attributes:
        lanes: The limits of each lane; all lanes are there.
        unknown: Those of who is not known.
        open: How often from one address is answered what is everybody's.
        health: The same for how the server is.
        clock: A monotonic clock, in seconds.
    """

    lanes: Mapping[Lane, LaneLimits] = field(factory=lambda: DEFAULT_LANES)
    unknown: LaneLimits = UNKNOWN_LIMITS
    open: Rate = OPEN_RATE
    health: Rate = HEALTH_RATE
    clock: Callable[[], float] = trio.current_time
    _gates: Mapping[Lane, _Gate] = field(init=False)
    _unknown: _Gate = field(init=False)
    _open: Mapping[bool, _Rated] = field(init=False)
    """By whether it is asked how the server is."""

    def __attrs_post_init__(self) -> None:
        self._gates = {lane: _Gate(lane.value, self.lanes[lane]) for lane in Lane}
        self._unknown = _Gate("unknown", self.unknown)
        self._open = {
            False: _Rated("open", RateLimiter(self.open)),
            True: _Rated("health", RateLimiter(self.health)),
        }

    @asynccontextmanager
    async def admitted(self, principal: Principal, address: str, lane: Lane, /) -> AsyncIterator[None]:
        """Be at work on a request while inside; where it is busy, wait in turn before.

        **Cancellation.** *Atomic*.

        Args:
            principal: Who asks.
            address: Where from; it counts for who is not known.
            lane: What kind of request it is. Who is no node is in the lane of reads instead of that of nodes.

        Raises:
            TooManyRequests: It came too soon, or too much is at work or waits already.
        """
        leave = await self.enter(principal, address, lane)
        try:
            yield
        finally:
            leave()

    async def enter(self, principal: Principal, address: str, lane: Lane, /) -> Callable[[], None]:
        """Begin to be at work on a request, as `admitted` does; return what ends that, to be called once."""
        gate, who = self._gate(principal, address, lane)
        # Who would be turned away anyhow does not lose a token besides.
        if gate.seats.has_room(who):
            self._check_rate(gate, who)
        await gate.seats.take(who)
        return partial(gate.seats.give_back, who)

    def check_proofs(self, address: str, claim: str = "", /) -> None:
        """Make sure that not too many wrong proofs came lately, before another one is looked at. Nothing is counted.

        Args:
            address: Where the proof comes from.
            claim: Whom it names, of those who are known; empty for nobody. Each claim from each address is counted on
                its own: who guesses keeps nobody out who comes from the same address and proves another one.

        Raises:
            TooManyRequests: Too many came.
        """
        wait = self._unknown.rates.wait(_prover(address, claim), self.clock())
        if wait:
            raise self._too_often(self._unknown, source_of(address), wait)

    def count_wrong_proof(self, address: str, claim: str = "", /) -> None:
        """Count a proof that turned out to be wrong; see `check_proofs`.

        Raises:
            TooManyRequests: Too many came.
        """
        wait = self._unknown.rates.take(_prover(address, claim), self.clock())
        if wait:
            raise self._too_often(self._unknown, source_of(address), wait)

    def wait_open(self, address: str, /, *, health: bool = False) -> float:
        """Return for how many seconds nothing more is answered there of what is everybody's; 0 if it is now."""
        return self._open[health].rates.wait(source_of(address), self.clock())

    def count_open(self, address: str, /, *, health: bool = False) -> None:
        """Count a request that was answered without anybody being known."""
        self._open[health].rates.take(source_of(address), self.clock())

    def quota_of(self, principal: Principal, address: str, lane: Lane, /) -> Fields:
        """Return the header fields that say how much somebody may still ask for: `RateLimit-Policy`, `RateLimit`."""
        gate, who = self._gate(principal, address, lane)
        return gate.rated.fields(who, self.clock())

    def quota_of_proofs(self, address: str, claim: str = "", /) -> Fields:
        """Return those fields about wrong proofs; see `check_proofs`."""
        return self._unknown.rated.fields(_prover(address, claim), self.clock())

    def quota_of_open(self, address: str, /, *, health: bool = False) -> Fields:
        """Return those fields about what is answered without anybody being known."""
        return self._open[health].fields(source_of(address), self.clock())

    def active(self, lane: Lane, /) -> int:
        """How many requests of a lane are at work."""
        return self._gates[lane].seats.active

    def waiting(self, lane: Lane, /) -> int:
        """How many requests of a lane wait."""
        return self._gates[lane].seats.waiting

    def _gate(self, principal: Principal, address: str, lane: Lane) -> tuple[_Gate, str]:
        who = who_asks(principal, address)
        if principal.kind == "anonymous":
            return self._unknown, who
        if lane is Lane.NODE and principal.kind != "node":
            lane = Lane.READ
        return self._gates[lane], who

    def _check_rate(self, gate: _Gate, who: str) -> None:
        wait = gate.rates.take(who, self.clock())
        if wait:
            raise self._too_often(gate, who, wait)

    def _too_often(self, gate: _Gate, who: str, wait: float) -> TooManyRequests:
        rate = gate.limits.rate
        return TooManyRequests(
            f"{who} asks too often: {rate.per_second:g} requests a second are granted, {rate.burst} at once",
            retry_after_seconds=wait,
            remedy=f"wait for {wait:.3g} s",
        )


def _prover(address: str, claim: str) -> str:
    return f"{source_of(address)} {claim}" if claim else source_of(address)


def who_asks(principal: Principal, address: str, /) -> str:
    """Return by what name somebody is counted: the principal, or where it comes from if it is not known."""
    return principal.subject if principal.kind != "anonymous" else source_of(address)


@lru_cache(_MAX_SOURCES)
def source_of(address: str, /) -> str:
    """Return by what name an address is counted.

    One who has an IPv6 address has a whole /64 of them (RFC 6177), which count as one. An IPv4 address within IPv6
    counts as itself. What is no address, as the path of a unix socket, counts as `local`.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "local"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return f"address:{ipaddress.ip_network((int(found), 64), strict=False)}"
        found = found.ipv4_mapped
    return f"address:{found}"
