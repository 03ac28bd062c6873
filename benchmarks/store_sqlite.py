"""How fast the SQLite store writes, reads and opens: 512-byte values, FULL sync, on the disk of `--directory`."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from attrs import asdict, frozen
from orchestrion.store_sqlite import SqliteStore, open_store

NAME = "store_sqlite"
RUNS = 5
VALUE = bytes(range(256)) * 2


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


async def write(store: SqliteStore, writers: int, count: int) -> None:
    async def writer(n: int) -> None:
        for m in range(count // writers):
            await store.put(f"/instances/{n:03}/{m % 200:03}", VALUE)

    async with trio.open_nursery() as nursery:
        for n in range(writers):
            nursery.start_soon(writer, n)


async def writes_per_second(directory: Path, writers: int, count: int) -> float:
    async with open_store(directory) as store:
        await write(store, writers, min(count, 1000))
        begin = time.perf_counter()
        await write(store, writers, count)
        return count / (time.perf_counter() - begin)


async def syncs_per_second(directory: Path) -> float:
    """What the disk can do at most: overwriting 4 KiB in place and waiting for it."""
    descriptor = os.open(directory / "file", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, bytes(1_048_576))
    os.fsync(descriptor)
    begin = time.perf_counter()
    for n in range(500):
        os.pwrite(descriptor, VALUE * 8, n % 256 * 4096)
        os.fdatasync(descriptor)
    took = time.perf_counter() - begin
    os.close(descriptor)
    return 500 / took


async def write_milliseconds(directory: Path) -> float:
    """What 99 of 100 writes, one at a time, take at most."""
    async with open_store(directory) as store:
        took = []
        for n in range(1000):
            begin = time.perf_counter()
            await store.put(f"/{n % 100}", VALUE)
            took.append(time.perf_counter() - begin)
        return 1000 * statistics.quantiles(took, n=100)[98]


async def watch_milliseconds(directory: Path) -> float:
    """From the beginning of a write to its arrival at a watcher."""
    async with open_store(directory) as store, store.watch("/") as batches:
        took = []
        for n in range(300):
            begin = time.perf_counter()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.put, f"/{n % 100}", VALUE)
                await anext(batches)
                took.append(time.perf_counter() - begin)
        return 1000 * statistics.median(took)


async def gets_per_second(directory: Path) -> float:
    async with open_store(directory) as store:
        await write(store, 50, 10_000)
        begin = time.perf_counter()
        for n in range(20_000):
            await store.get(f"/instances/{n % 50:03}/{n % 200:03}")
        return 20_000 / (time.perf_counter() - begin)


async def list_milliseconds(directory: Path) -> float:
    async with open_store(directory) as store:
        await write(store, 50, 10_000)
        begin = time.perf_counter()
        assert len((await store.list("/instances/")).entries) == 10_000
        return 1000 * (time.perf_counter() - begin)


async def open_milliseconds(directory: Path) -> float:
    async with open_store(directory) as store:
        await write(store, 50, 10_000)
    begin = time.perf_counter()
    async with open_store(directory):
        return 1000 * (time.perf_counter() - begin)


async def create_milliseconds(directory: Path) -> float:
    begin = time.perf_counter()
    async with open_store(directory / "new"):
        return 1000 * (time.perf_counter() - begin)


Measure = Callable[[Path], Awaitable[float]]


def median_of(name: str, unit: str, reach: str, measure: Measure, *, parent: Path | None, runs: int) -> Row:
    values = []
    for _ in range(runs):
        with TemporaryDirectory(dir=parent) as directory:
            values.append(trio.run(measure, Path(directory)))
    return Row(name, statistics.median(values), unit, reach, min(values), max(values), runs)


def run(parent: Path | None = None, runs: int = RUNS) -> list[Row]:
    """Measure everything.

    Args:
        parent: Where the stores are made; None is where temporary files are.
        runs: How often each is measured.
    """

    def writers(number: int, count: int) -> Measure:
        async def measure(directory: Path) -> float:
            return await writes_per_second(directory, number, count)

        return measure

    measures: list[tuple[str, str, str, Measure]] = [
        ("the disk alone, 4 KiB in place", "syncs/s", "", syncs_per_second),
        ("256 writers", "writes/s", ">= 10000", writers(256, 25_600)),
        ("16 writers", "writes/s", "", writers(16, 16_000)),
        ("1 writer", "writes/s", ">= 1500", writers(1, 3_000)),
        ("1 writer, 99 of 100 within", "ms", "", write_milliseconds),
        ("a write reaches a watcher within", "ms", "", watch_milliseconds),
        ("get, one at a time", "reads/s", "", gets_per_second),
        ("list 10,000 entries", "ms", "", list_milliseconds),
        ("open a store of 10,000 revisions", "ms", "", open_milliseconds),
        ("make a new store", "ms", "", create_milliseconds),
    ]
    return [median_of(*measure, parent=parent, runs=runs) for measure in measures]


def main(argv: list[str] | None = None) -> None:
    """Print a table; with --json, write the rows as well."""
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument("--directory", type=Path, help="where to make the stores; their disk is what is measured")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--runs", type=int, default=RUNS, help="how often each is measured")
    arguments = parser.parse_args(argv)
    rows = run(arguments.directory, arguments.runs)
    print(f"{NAME:<34} {'median':>10} {'min':>10} {'max':>10}  {'unit':<10} reach")
    for row in rows:
        print(f"{row.name:<34} {row.value:>10,.1f} {row.min:>10,.1f} {row.max:>10,.1f}  {row.unit:<10} {row.reach}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
