"""What the server reaches: it runs in a process of its own, on a SQLite store with FULL sync, and is asked by this one.

Nodes and containers are mocks, so that nothing but the server, its core and its store takes time; only whose output is
followed are processes.
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
import time
import urllib.request
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import log_follow
import trio
from attrs import define, field
from served import (
    CONSTANT,
    ENVIRONMENT,
    MAPS,
    Client,
    Row,
    Server,
    client,
    cpu_seconds,
    print_table,
    running,
    write_rows,
)

NAME = "control_plane"
RUNS = 3
CLIENTS = 64
CREATES = 4_000
WARM = 5
GETS = 4_000
BLOCKS = 4
INSTANCES = 10_000
WATCHERS = 500
PAGES = 20
EVENTS_PER_SECOND = 40
WATCH_SECONDS = 10


def config(name: str) -> bytes:
    return json.dumps({"metadata": {"name": name}, "spec": {"data": {"color": "blue", "size": "large"}}}).encode()


async def creates(server: Server, run: int) -> tuple[float, float]:
    """Return how many a second, and what 99 of 100 took at most, in ms."""
    took, ready, go = list[float](), list[int](), trio.Event()

    async def one(number: int) -> None:
        async with client(server) as asks:
            for n in range(WARM):
                await asks.ask("POST", MAPS, config(f"warm{run}-{number}-{n}"))
            ready.append(number)
            if len(ready) == CLIENTS:
                go.set()
            await go.wait()
            for n in range(CREATES // CLIENTS):
                began = trio.current_time()
                await asks.ask("POST", MAPS, config(f"r{run}-{number}-{n}"))
                took.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        for number in range(CLIENTS):
            nursery.start_soon(one, number)
        await go.wait()
        began = trio.current_time()
    return len(took) / (trio.current_time() - began), 1000 * statistics.quantiles(took, n=100)[98]


async def gets(server: Server, *targets: str) -> list[float]:
    """Return what a get of each costs the server, in microseconds of its processor; they take turns, block by block."""
    used = [0.0] * len(targets)
    async with client(server) as asks:
        for target in targets:
            for _ in range(100):
                await asks.ask("GET", target)
        for _ in range(BLOCKS):
            for number, target in enumerate(targets):
                before = server.cpu_seconds
                for _ in range(GETS // BLOCKS):
                    await asks.ask("GET", target)
                used[number] += server.cpu_seconds - before
    return [1e6 * one / GETS for one in used]


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


async def looks(server: Server, run: int) -> float:
    """Return what it costs the server, in ms of its processor, that all open pages look anew after a change."""
    async with client(server) as asks:
        await asks.ask("POST", MAPS, config(f"page{run}"))

    async def look() -> None:
        async with client(server) as asks:
            await asks.ask("GET", "/")

    before = server.cpu_seconds
    async with trio.open_nursery() as nursery:
        for _ in range(PAGES):
            nursery.start_soon(look)
    return 1e3 * (server.cpu_seconds - before)


# -- a server's start -------------------------------------------------------------------------------


@define
class Start:
    """A start of `dev`: in seconds, to the line that says where it serves, and to a good answer of /healthz."""

    told: float
    healthy: float
    processor: float


def start(state: Path) -> Start:
    """Start `dev`, and end it."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "orchestrion.cli", "dev", "--state", str(state), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "serving at" in line)
            told, processor = time.perf_counter() - began, cpu_seconds(process.pid)
            url = line.split()[-1]
            with urllib.request.urlopen(f"{url}/healthz", timeout=10) as answer:
                assert answer.status == 200
            return Start(told, time.perf_counter() - began, processor)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()


# -- all of it -------------------------------------------------------------------------------------

row = Row.of


async def measure_creates(runs: int, *, explains: bool = False) -> list[Row]:
    with running(explains=explains) as server:
        made = [await creates(server, run) for run in range(runs)]
    return [
        row(f"durable creates, {CLIENTS} clients", "1/s", ">= 1000", [rate for rate, _ in made]),
        row(f"durable creates, {CLIENTS} clients: p99", "ms", "<= 100", [slowest for _, slowest in made]),
    ]


async def measure_gets(runs: int) -> list[Row]:
    with running() as server:
        async with client(server) as asks:
            await asks.ask("POST", MAPS, config("one"))
        costs = [await gets(server, f"{MAPS}/one", f"{CONSTANT}/one") for _ in range(runs)]
    return [
        row("get of one object: processor time", "us", "", [one for one, _ in costs]),
        row("a constant through the same: processor time", "us", "", [constant for _, constant in costs]),
        row("gets, as a share of constants", "%", ">= 75", [100 * constant / one for one, constant in costs]),
    ]


async def measure_watches(runs: int) -> list[Row]:
    with running() as server:
        found = [await watched(server, f"w{run}", WATCHERS) for run in range(runs)]
        memory = server.rss_bytes / 1e6
    return [
        row(f"{WATCHERS} watchers, 99 of 100 events within", "ms", "<= 250", [slow for slow, _ in found]),
        row(f"{WATCHERS} watchers, events missing", "", "<= 0", [float(missing) for _, missing in found]),
        row(f"{WATCHERS} watchers, memory", "MB", "<= 400", [memory]),
    ]


async def measure_stalls(runs: int) -> list[Row]:
    ratios = list[float]()
    with running() as server:
        for run in range(runs):
            without, _ = await watched(server, f"s{run}", 100)
            beside, _ = await watched(server, f"t{run}", 99, stalled=True)
            ratios.append(beside / without)
    return [row("99 watchers beside a stalled one: ratio", "", "<= 1.2", ratios)]


async def measure_lists(runs: int) -> list[Row]:
    with running() as server:
        await make_instances(server)
        before, listed = server.rss_bytes, list[float]()
        async with client(server) as asks:
            for _ in range(runs):
                listed.append((await instances(asks))[1])
        grown = (server.rss_bytes - before) / 1e6
        shown = [await looks(server, run) for run in range(runs)]
    return [
        row(f"list {INSTANCES:,} instances in pages of 500", "s", "<= 1.5", listed),
        row("memory that listing has taken", "MB", "<= 8", [grown]),
        row(f"{PAGES} pages of the dashboard after a change: processor time", "ms", "", shown),
    ]


async def measure_starts(runs: int) -> list[Row]:
    with TemporaryDirectory() as folder:
        start(Path(folder) / "warm")
        first = [start(Path(folder) / f"{run}") for run in range(runs)]
        again = [start(Path(folder) / f"{run}") for run in range(runs)]
    return [
        row("dev: exec to its ready line", "s", "<= 1", [one.told for one in first]),
        row("dev: exec to 200 of /healthz", "s", "<= 1", [one.healthy for one in first]),
        row("dev: processor time to its ready line", "s", "", [one.processor for one in first]),
        row("dev, again: exec to its ready line", "s", "<= 1", [one.told for one in again]),
    ]


PARTS: dict[str, Callable[[int], Awaitable[list[Row]]]] = {
    "creates": measure_creates,
    "gets": measure_gets,
    "watches": measure_watches,
    "stalls": measure_stalls,
    "lists": measure_lists,
    "logs": log_follow.measure,
    "starts": measure_starts,
}


async def measure(runs: int, parts: list[str]) -> list[Row]:
    """Measure some parts, or all, and print the table of each as soon as it is there."""
    rows = []
    for name in parts or PARTS:
        found = await PARTS[name](runs)
        print_table(f"{NAME}: {name}", found)
        rows += found
    return rows


def main(argv: list[str] | None = None) -> None:
    """Print a table; with --json, write the rows as well."""
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--runs", type=int, default=RUNS, help="how often each is measured")
    parser.add_argument("--only", action="append", default=[], choices=PARTS, help="a part alone; may be repeated")
    parser.add_argument("--explain", action="store_true", help="say what slow creates have waited for, and end")
    arguments = parser.parse_args(argv)
    print(f"load: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores", flush=True)
    if arguments.explain:
        rows = trio.run(partial(measure_creates, explains=True), arguments.runs)
        print_table(NAME, rows)
    else:
        rows = trio.run(measure, arguments.runs, arguments.only)
    print(f"load: {os.getloadavg()[0]:.2f}")
    if arguments.json:
        write_rows(arguments.json, rows)


if __name__ == "__main__":
    main()
