"""A server in a process of its own, a client that asks it, and rows of a table: what benchmarks of servers share."""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import trio
from attrs import asdict, define, field, frozen
from litestar import Router, get
from litestar.types import ASGIApp
from orchestrion.cluster_local import open_cluster
from orchestrion.control_plane._access import ACCESS, Needs
from orchestrion.control_plane._web.answers import Raw
from orchestrion.control_plane._web.sections import API, Section
from orchestrion.control_plane.server import Options, serving
from orchestrion.mocks import ClusterWorld, ContainerWorld, CursorScheduler, MockClusterManager, MockRuntime, mock_nodes
from orchestrion.orchestrator_core import Orchestrator
from orchestrion.runtime_process import open_runtime
from orchestrion.scheduler_interface import SimpleScheduler
from orchestrion.shared_types import Resources
from orchestrion.store_sqlite import open_store
from waits import Waits

MAPS = "/api/v1/namespaces/default/configmaps"
CONSTANT = "/api/constant"
COLLECTIONS = (100_000, 50, 1_000)
"""What the command sets, too: an orchestrator keeps what it knows for long and makes few cycles."""

SEGMENT_BYTES = 16 << 20
SEGMENTS = 32
"""Together the output that is kept of a stream: 512 MiB."""

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""What servers run in: a warm environment has its bytecode, and the variable would keep it from being written."""


@frozen
class Row:
    """One figure: the median of `runs` runs, and the least and the most of them; `reach` is what it is meant to be."""

    name: str
    value: float
    unit: str
    reach: str
    min: float
    max: float
    runs: int

    @classmethod
    def of(cls, name: str, unit: str, reach: str, values: Sequence[float]) -> Self:
        """Return the row of what was measured; the reach is like `>= 1000`, or empty."""
        return cls(name, statistics.median(values), unit, reach, min(values), max(values), len(values))

    @property
    def met(self) -> bool | None:
        """Whether the median reaches what it is meant to; None where nothing is said."""
        if not self.reach:
            return None
        relation, _, bound = self.reach.partition(" ")
        return self.value >= float(bound) if relation == ">=" else self.value <= float(bound)

    @property
    def always(self) -> bool:
        """Whether also the worst of the runs does."""
        return (
            self.met is not None
            and Row.of("", "", self.reach, [self.min]).met == Row.of("", "", self.reach, [self.max]).met == self.met
        )


def print_table(title: str, rows: Sequence[Row]) -> None:
    """Print rows, each with its spread and whether it is what it is meant to be."""
    print(f"{title:<52} {'median':>10} {'min':>10} {'max':>10}  {'unit':<6} {'runs':>4}  reach")
    for row in rows:
        figures = f"{row.value:>10,.1f} {row.min:>10,.1f} {row.max:>10,.1f}"
        verdict = "" if row.met is None else ("met" if row.met else "missed") + ("" if row.always else ", not always")
        print(f"{row.name:<52} {figures}  {row.unit:<6} {row.runs:>4}  {row.reach:<9} {verdict}")


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as JSON."""
    path.write_text(json.dumps([{**asdict(row), "met": row.met} for row in rows], indent=2) + "\n", encoding="utf-8")


# -- the server, in a process of its own -----------------------------------------------------------


async def serve(directory: Path, *, processes: bool, explains: bool) -> None:
    """Serve until killed: mocks of all that is not the server, its core and its store, or else real processes."""
    async with AsyncExitStack() as stack:
        if explains:
            waits = stack.enter_context(Waits.watched())
            trio.lowlevel.add_instrument(waits)
        store = await stack.enter_async_context(open_store(directory / "store"))
        if processes:
            cluster: Any = await stack.enter_async_context(open_cluster(directory / "cluster"))
            runtime: Any = await stack.enter_async_context(
                open_runtime(directory / "runtime", log_segment_bytes=SEGMENT_BYTES, log_segments=SEGMENTS)
            )
            orchestrator = Orchestrator(runtime, cluster, SimpleScheduler(), store)
        else:
            room = Resources(cpu_millicores=10_000_000, memory_bytes=1 << 50, disk_bytes=1 << 50)
            cluster = MockClusterManager(ClusterWorld(nodes=mock_nodes(20, capacity=room)))
            orchestrator = Orchestrator(MockRuntime(ContainerWorld()), cluster, CursorScheduler(), store)
        nursery = await stack.enter_async_context(trio.open_nursery())
        await nursery.start(orchestrator.run)
        served = await stack.enter_async_context(serving(orchestrator, directory, Options(), more=[constant()]))
        gc.freeze()
        gc.set_threshold(*COLLECTIONS)
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            print(served.url, flush=True)
            async for _ in signals:
                break
        if explains:
            waits.print_report()
        nursery.cancel_scope.cancel()


def constant() -> Section:
    """Return a path behind all that others are behind, that answers with as much as a small object has."""
    body = b'{"constant":"%b"}' % (b"x" * 360)

    @get(f"{CONSTANT}/{{name:str}}", opt={ACCESS: Needs("get", "configmaps")}, name="constant")
    async def answer() -> ASGIApp:
        return Raw(200, body, ((b"etag", b'"1"'),))

    def make() -> list[Router]:
        return [Router("/", route_handlers=[answer], dto=None, return_dto=None)]

    return Section(API, make)


@define
class Server:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    directory: Path
    port: int
    token: str

    @property
    def rss_bytes(self) -> int:
        """What it holds in memory."""
        return rss_bytes(self.process.pid)

    @property
    def cpu_seconds(self) -> float:
        """What it has used of a processor."""
        return cpu_seconds(self.process.pid)


def rss_bytes(pid: int) -> int:
    """Return what a process holds in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Return what a process has used of a processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(*, processes: bool = False, explains: bool = False) -> Iterator[Server]:
    """Run a server.

    Args:
        processes: Whether containers are real.
        explains: Whether it prints at the end what its slowest requests have waited for.
    """
    with TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "store").mkdir()
        options = ["--processes"] * processes + ["--explain"] * explains
        command = [sys.executable, __file__, folder, *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT)
        try:
            assert process.stdout is not None
            url = process.stdout.readline().decode()
            token = (directory / "admin.token").read_text().strip()
            yield Server(process, directory, int(url.rpartition(":")[2]), token)
        finally:
            process.send_signal(signal.SIGTERM if explains or processes else signal.SIGKILL)
            process.wait()


# -- the client ------------------------------------------------------------------------------------

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@define(eq=False)
class Client:
    """A connection that asks one thing after the other."""

    stream: trio.SocketStream
    token: str
    buffer: bytearray = field(factory=bytearray)

    async def ask(self, method: str, target: str, body: bytes = b"") -> bytes:
        """Send a request, and return the body of its answer, which must be one of success."""
        await self.send(method, target, body)
        head = await self.head()
        found = _LENGTH.search(head)
        assert found is not None, head
        data = await self.take(int(found[1]))
        assert head[9:10] == b"2", head + data
        return data

    async def send(self, method: str, target: str, body: bytes = b"", accept: str = "*/*") -> None:
        """Send a request."""
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\nAccept: {accept}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await self.stream.send_all(head.encode() + body)

    async def head(self) -> bytes:
        """Return the head of the next answer."""
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            await self.more()
        return await self.take(end + 4)

    async def take(self, count: int) -> bytes:
        """Return the next bytes."""
        while len(self.buffer) < count:
            await self.more()
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    async def line(self) -> bytes:
        """Return the next line."""
        while (end := self.buffer.find(b"\n")) < 0:
            await self.more()
        return await self.take(end + 1)

    async def more(self) -> None:
        """Wait for more to come."""
        data = await self.stream.receive_some(262_144)
        if not data:
            raise ConnectionResetError
        self.buffer += data


@asynccontextmanager
async def client(server: Server) -> AsyncIterator[Client]:
    """Give a connection."""
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        stream.setsockopt(6, 1, 1)
        yield Client(stream, server.token)


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least `share` of the samples do not exceed."""
    return sorted(samples)[math.ceil(share * len(samples)) - 1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve a directory, for a benchmark.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--processes", action="store_true", help="containers are processes")
    parser.add_argument("--explain", action="store_true", help="print what the slowest requests have waited for")
    given = parser.parse_args()
    trio.run(lambda: serve(given.directory, processes=given.processes, explains=given.explain))
