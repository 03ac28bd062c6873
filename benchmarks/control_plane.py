"""What the server reaches: it runs in a process of its own, on a SQLite store with FULL sync, and is asked by this one.

Nodes and containers are mocks, so that nothing but the server, its core and its store takes time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from attrs import asdict, define, field, frozen
from orchestrion.control_plane.server import Options, serving
from orchestrion.mocks import ClusterWorld, ContainerWorld, CursorScheduler, MockClusterManager, MockRuntime, mock_nodes
from orchestrion.orchestrator_core import Orchestrator
from orchestrion.shared_types import Resources
from orchestrion.store_sqlite import open_store

NAME = "control_plane"
RUNS = 3
CLIENTS = 64
CREATES = 4_000
GETS = 4_000
INSTANCES = 10_000
WATCHERS = 500
EVENTS_PER_SECOND = 40
WATCH_SECONDS = 10
MAPS = "/api/v1/namespaces/default/configmaps"


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


def row(name: str, unit: str, reach: str, values: list[float]) -> Row:
    return Row(name, statistics.median(values), unit, reach, min(values), max(values), len(values))


# -- the server, in a process of its own -----------------------------------------------------------


async def serve(directory: Path) -> None:
    """Serve until killed."""
    room = Resources(cpu_millicores=10_000_000, memory_bytes=1 << 50, disk_bytes=1 << 50)
    cluster = MockClusterManager(ClusterWorld(nodes=mock_nodes(20, capacity=room)))
    async with open_store(directory / "store") as store, trio.open_nursery() as nursery:
        orchestrator = Orchestrator(MockRuntime(ContainerWorld()), cluster, CursorScheduler(), store)
        await nursery.start(orchestrator.run)
        async with serving(orchestrator, directory, Options()) as served:
            print(served.url, flush=True)
            await trio.sleep_forever()


@define
class Server:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    port: int
    token: str

    @property
    def rss_bytes(self) -> int:
        """What it holds in memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def cpu_seconds(self) -> float:
        """What it has used of a processor."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running() -> Iterator[Server]:
    """Run a server."""
    with TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "store").mkdir()
        command = [sys.executable, __file__, "--serve", folder]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            url = process.stdout.readline().decode()
            token = (directory / "admin.token").read_text().strip()
            yield Server(process, int(url.rpartition(":")[2]), token)
        finally:
            process.send_signal(signal.SIGKILL)
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

    async def send(self, method: str, target: str, body: bytes = b"") -> None:
        """Send a request."""
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n"
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


def config(name: str) -> bytes:
    return json.dumps({"metadata": {"name": name}, "spec": {"data": {"color": "blue", "size": "large"}}}).encode()


async def creates(server: Server, run: int) -> tuple[float, float]:
    """Return how many a second, and what 99 of 100 took at most, in ms."""
    took = list[float]()

    async def one(number: int) -> None:
        async with client(server) as asks:
            for n in range(CREATES // CLIENTS):
                began = trio.current_time()
                await asks.ask("POST", MAPS, config(f"r{run}-{number}-{n}"))
                took.append(trio.current_time() - began)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(CLIENTS):
            nursery.start_soon(one, number)
    return len(took) / (trio.current_time() - began), 1000 * statistics.quantiles(took, n=100)[98]


async def gets(server: Server, target: str) -> float:
    """Return what a get costs the server, in microseconds of its processor."""
    async with client(server) as asks:
        for _ in range(100):
            await asks.ask("GET", target)
        before = server.cpu_seconds
        for _ in range(GETS):
            await asks.ask("GET", target)
        return 1e6 * (server.cpu_seconds - before) / GETS


_MARK = re.compile(rb'"at":"([0-9.]+)","n":"(\d+)"')


@define(eq=False)
class Watching:
    """What watchers saw.

    Attributes:
        took: In seconds, from before a write was sent to its arrival.
        numbers: Of the events that each watcher saw, in their order.
    """

    took: list[float] = field(factory=list)
    numbers: dict[int, list[int]] = field(factory=dict)

    async def watch(self, server: Server, who: int, *, task_status: trio.TaskStatus[None]) -> None:
        """Watch until cancelled."""
        seen = self.numbers[who] = []
        async with client(server) as asks:
            await asks.send("GET", f"{MAPS}?watch=true")
            await asks.head()
            while b'"BOOKMARK"' not in await asks.line():
                pass
            task_status.started()
            while True:
                await asks.more()
                now, end = trio.current_time(), asks.buffer.rfind(b"\n") + 1
                for at, number in _MARK.findall(asks.buffer[:end]):
                    self.took.append(now - float(at))
                    seen.append(int(number))
                del asks.buffer[:end]


async def stall(server: Server, *, task_status: trio.TaskStatus[None]) -> None:
    """Watch, and take nothing."""
    async with client(server) as asks:
        await asks.send("GET", f"{MAPS}?watch=true")
        await asks.head()
        task_status.started()
        await trio.sleep_forever()


async def write_events(server: Server, name: str, seconds: float) -> int:
    """Change one object at a rate; return how often."""
    count = int(seconds * EVENTS_PER_SECOND)
    async with client(server) as asks:
        await asks.ask("POST", MAPS, config(name))
        began = trio.current_time()
        for n in range(count):
            await trio.sleep_until(began + n / EVENTS_PER_SECOND)
            data = {"spec": {"data": {"at": f"{trio.current_time():.6f}", "n": str(n)}}}
            await asks.ask("PATCH", f"{MAPS}/{name}", json.dumps(data, separators=(",", ":")).encode())
    return count


async def watched(server: Server, name: str, watchers: int, *, stalled: bool = False) -> tuple[float, int]:
    """Return what 99 of 100 events took to arrive at most, in ms, and how many did not arrive in their place."""
    watching = Watching()
    async with trio.open_nursery() as nursery:
        for who in range(watchers):
            await nursery.start(partial(watching.watch, server, who))
        if stalled:
            await nursery.start(partial(stall, server))
        count = await write_events(server, name, WATCH_SECONDS)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    missing = sum(
        len(set(range(count)) - set(seen)) + (seen != sorted(set(seen))) for seen in watching.numbers.values()
    )
    return 1000 * statistics.quantiles(watching.took, n=100)[98], missing


async def make_instances(server: Server) -> None:
    """Let there be as many as are to be listed."""
    async with client(server) as asks:
        for number in range(INSTANCES // 1000):
            spec = {"kind": "service", "replicas": 1000, "containers": [{"name": "main", "command": ["run"]}]}
            body = json.dumps({"metadata": {"name": f"many{number}"}, "spec": spec}).encode()
            await asks.ask("POST", "/api/v1/namespaces/default/workloads", body)
        while (await instances(asks))[0] < INSTANCES:  # noqa: ASYNC110 # another process makes them
            await trio.sleep(1)
        await trio.sleep(5)


async def instances(asks: Client) -> tuple[int, float]:
    """List all instances in pages of 500; return how many there are, and how long it took, in seconds."""
    began, found, after = trio.current_time(), 0, ""
    while True:
        page = await asks.ask("GET", f"/api/v1/namespaces/default/instances?limit=500{after}")
        found += page.count(b'"kind":"Instance"')
        more = re.search(rb'"continue":"([^"]+)"', page[:4000])
        if more is None:
            return found, trio.current_time() - began
        after = f"&continue={more[1].decode()}"


# -- all of it -------------------------------------------------------------------------------------


async def measure(runs: int) -> list[Row]:
    """Measure everything."""
    rows = list[Row]()
    with running() as server:
        made = [await creates(server, run) for run in range(runs)]
        rows.append(row(f"durable creates, {CLIENTS} clients", "1/s", ">= 1000", [rate for rate, _ in made]))
        rows.append(row("99 of 100 creates within", "ms", "<= 100", [slowest for _, slowest in made]))
        objects, constants = list[float](), list[float]()
        for _ in range(runs):
            objects.append(await gets(server, f"{MAPS}/r0-0-0"))
            constants.append(await gets(server, "/api/v1/whoami"))
        rows.append(row("a get, processor time", "us", "", objects))
        rows.append(row("whoami, which reads nothing: processor time", "us", "", constants))
        shares = [100 * constant / one for one, constant in zip(objects, constants, strict=True)]
        rows.append(row("whoami, as a share of a get", "%", ">= 75", shares))
    with running() as server:
        found = [await watched(server, f"w{run}", WATCHERS) for run in range(runs)]
        rows.append(row(f"{WATCHERS} watchers, 99 of 100 events within", "ms", "<= 250", [slow for slow, _ in found]))
        rows.append(row(f"{WATCHERS} watchers, events missing", "", "0", [float(missing) for _, missing in found]))
        rows.append(row(f"{WATCHERS} watchers, memory", "MB", "<= 400", [server.rss_bytes / 1e6]))
        ratios = list[float]()
        for run in range(runs):
            without, _ = await watched(server, f"s{run}", 100)
            beside, _ = await watched(server, f"t{run}", 99, stalled=True)
            ratios.append(beside / without)
        rows.append(row("99 watchers beside a stalled one, ratio", "", "<= 1.2", ratios))
    with running() as server:
        await make_instances(server)
        before, listed = server.rss_bytes, list[float]()
        async with client(server) as asks:
            for _ in range(runs):
                listed.append((await instances(asks))[1])
        rows.append(row(f"list {INSTANCES:,} instances in pages of 500", "s", "<= 1.5", listed))
        rows.append(row("memory that listing has taken", "MB", "flat", [(server.rss_bytes - before) / 1e6]))
    return rows


def main(argv: list[str] | None = None) -> None:
    """Print a table; with --json, write the rows as well."""
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--runs", type=int, default=RUNS, help="how often each is measured")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.serve is not None:
        trio.run(serve, arguments.serve)
        return
    rows = trio.run(measure, arguments.runs)
    print(f"{NAME:<48} {'median':>10} {'min':>10} {'max':>10}  {'unit':<6} reach")
    for each in rows:
        figures = f"{each.value:>10,.1f} {each.min:>10,.1f} {each.max:>10,.1f}"
        print(f"{each.name:<48} {figures}  {each.unit:<6} {each.reach}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(each) for each in rows], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
