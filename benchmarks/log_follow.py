"""Output of 50 MB/s and who follows it: one that keeps up, and one that stops reading for longer than output is kept.

Each byte that is written says where it is, so that whoever reads one knows whether it is the right one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import trio
from attrs import asdict, define, frozen
from orchestrion.control_plane import HttpControl, ServerPeer, bearer
from orchestrion.control_plane._identity.secret_text import SecretText
from orchestrion.orchestrator_core import LogQuery
from orchestrion.runtime_interface import LogStream
from served import ENVIRONMENT, SEGMENT_BYTES, SEGMENTS, Row, Server, client, cpu_seconds, rss_bytes, running

MEGABYTE = 1_000_000
RATE = 50 * MEGABYTE
BLOCK_BYTES = 4096
FILL = (b"." * 99 + b"\n") * 41
KEPT_BYTES = SEGMENT_BYTES * SEGMENTS

WRITER = """
import os, sys, time
total, rate, fill = int(sys.argv[1]), int(sys.argv[2]), (b"." * 99 + b"\\n") * 41
began, at = time.monotonic(), 0
while at < total:
    blocks = [b"%015d\\n%b" % (n, fill[:4080]) for n in range(at, min(total, at + 409600), 4096)]
    data = memoryview(b"".join(blocks))
    at += len(data)
    while data:
        data = data[os.write(1, data):]
    time.sleep(max(0.0, began + at / rate - time.monotonic()))
print(time.monotonic() - began, file=sys.stderr)
"""
"""Writes blocks that begin with their place, at a rate; at the end, to stderr, how long it took."""


@frozen
class Followed:
    """What a follower saw.

    Attributes:
        came_bytes: How many bytes came.
        missed_bytes: How many it was told that it has missed.
        wrong: Pieces that were not what belongs there, or not in their place.
        seconds: From its first byte to the end.
    """

    came_bytes: int
    missed_bytes: int
    wrong: int
    seconds: float


@define
class Checker:
    """Looks at all that comes."""

    came_bytes: int = 0
    missed_bytes: int = 0
    wrong: int = 0
    _offset: int = 0
    _rest: bytes = b""

    def take(self, offset: int, gap_bytes: int, data: bytes) -> None:
        """Look at a piece."""
        if gap_bytes:
            self._rest = b""
        self.wrong += offset != self._offset + gap_bytes
        self.missed_bytes += gap_bytes
        self.came_bytes += len(data)
        self._offset = offset + len(data)
        start = offset - len(self._rest)
        data = self._rest + data
        place = -start % BLOCK_BYTES
        while place + BLOCK_BYTES <= len(data):
            head = b"%015d\n" % (start + place)
            right = data.startswith(head, place) and data.startswith(FILL[:4080], place + 16)
            self.wrong += not right
            place += BLOCK_BYTES
        self._rest = data[place:]


async def follow(url: str, token: str, stall_seconds: float) -> None:
    """Follow to the end, as a program of its own; print what was seen."""
    control = HttpControl(ServerPeer(url=url, credentials=bearer(SecretText(token))))
    checker, began, stalls = Checker(), time.monotonic(), stall_seconds
    async with control.logs(LogQuery(subject="flood", follow=True)) as records:
        async for record in records:
            if record.stream is not LogStream.STDOUT:
                continue
            checker.take(record.offset, record.gap_bytes, record.data)
            if stalls and checker.came_bytes > 20 * MEGABYTE:
                await trio.sleep(stalls)
                stalls = 0.0
    found = Followed(checker.came_bytes, checker.missed_bytes, checker.wrong, time.monotonic() - began)
    print(json.dumps(asdict(found)))


@contextmanager
def follower(server: Server, stall_seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """Run a follower."""
    command = [sys.executable, __file__, f"http://127.0.0.1:{server.port}", server.token, str(stall_seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@define
class Sizes:
    """What processes hold in memory, looked at again and again."""

    first: dict[int, int]
    most: dict[int, int]

    @classmethod
    def of(cls, *pids: int) -> Sizes:
        """Begin to look."""
        sizes = {pid: rss_bytes(pid) for pid in pids}
        return cls(sizes, dict(sizes))

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            for pid in self.most:
                self.most[pid] = max(self.most[pid], rss_bytes(pid))
            await trio.sleep(0.1)

    def grown(self, pid: int) -> float:
        """Return by how many megabytes a process has grown at most."""
        return (self.most[pid] - self.first[pid]) / MEGABYTE


@frozen
class Flood:
    """What came of one flood of output.

    Attributes:
        followed: What the follower saw.
        server_megabytes: By how much the server grew.
        follower_megabytes: By how much the follower grew, from when it was under way.
        cpu_share: What the server used of a processor meanwhile, in percent.
    """

    followed: Followed
    server_megabytes: float
    follower_megabytes: float
    cpu_share: float


async def flood(server: Server, total: int, *, stall_seconds: float = 0.0) -> Flood:
    """Have so many bytes written, and followed."""
    container = {"name": "main", "command": [sys.executable, "-c", WRITER, str(total), str(RATE)]}
    body = {"metadata": {"name": "flood"}, "spec": {"kind": "batch", "containers": [container]}}
    path = "/api/v1/namespaces/default/workloads"
    async with client(server) as asks:
        await asks.ask("POST", path, json.dumps(body).encode())
        with follower(server, stall_seconds) as process:
            await trio.sleep(2)  # what both need for their work at all is none of what they grow by
            began, used = time.monotonic(), cpu_seconds(server.process.pid)
            sizes = Sizes.of(server.process.pid, process.pid)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sizes.watch)
                assert process.stdout is not None
                told = await trio.to_thread.run_sync(process.stdout.readline)
                share = 100 * (cpu_seconds(server.process.pid) - used) / (time.monotonic() - began)
                nursery.cancel_scope.cancel()
            assert told, "the follower failed"
        await asks.ask("DELETE", f"{path}/flood")
        for left in ("instances", "workloads"):
            told_by = f"/api/v1/namespaces/default/{left}"
            while json.loads(await asks.ask("GET", told_by))["items"]:  # noqa: ASYNC110 # another process does it
                await trio.sleep(0.2)
    return Flood(Followed(**json.loads(told)), sizes.grown(server.process.pid), sizes.grown(process.pid), share)


async def measure(runs: int) -> list[Row]:
    """Return the rows of those who keep up, and of those who stop reading for too long."""
    kept, beyond = KEPT_BYTES - KEPT_BYTES // 16, 2 * KEPT_BYTES
    with running(processes=True) as server:
        quick = [await flood(server, kept) for _ in range(runs)]
        slow = [await flood(server, beyond, stall_seconds=15.0) for _ in range(runs)]
    row = Row.of
    name, late = "follow 50 MB/s", "follow 50 MB/s after a stall of 15 s"
    return [
        row(
            f"{name}: bytes lost of {kept / MEGABYTE:.0f} MB",
            "bytes",
            "<= 0",
            [kept - one.followed.came_bytes for one in quick],
        ),
        row(f"{name}: pieces that are wrong", "", "<= 0", [one.followed.wrong for one in quick]),
        row(f"{name}: seconds for {kept / RATE:.1f} s of output", "s", "", [one.followed.seconds for one in quick]),
        row(f"{name}: the server's processor", "%", "", [one.cpu_share for one in quick]),
        row(f"{name}: growth of the server", "MB", "<= 32", [one.server_megabytes for one in quick]),
        row(f"{name}: growth of the follower", "MB", "<= 32", [one.follower_megabytes for one in quick]),
        row(f"{late}: told to be missing", "MB", "", [one.followed.missed_bytes / MEGABYTE for one in slow]),
        row(
            f"{late}: bytes neither given nor told",
            "bytes",
            "<= 0",
            [abs(beyond - one.followed.came_bytes - one.followed.missed_bytes) for one in slow],
        ),
        row(f"{late}: pieces that are wrong", "", "<= 0", [one.followed.wrong for one in slow]),
        row(f"{late}: growth of the server", "MB", "<= 32", [one.server_megabytes for one in slow]),
        row(f"{late}: growth of the follower", "MB", "<= 32", [one.follower_megabytes for one in slow]),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Follow output, and say what was seen of it.")
    parser.add_argument("url")
    parser.add_argument("token")
    parser.add_argument("stall_seconds", type=float)
    given = parser.parse_args()
    trio.run(partial(follow, given.url, given.token, given.stall_seconds))
