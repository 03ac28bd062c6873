"""Writes to stores until it is killed. For each line of its input, a directory and a seed, it forks such a writer.

The writer's process id, what it was told by the store, and its end are written to the output, a line each. The process
that forks has imported everything, so that a round costs milliseconds.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from zlib import crc32

import trio
from orchestrion.store_interface import MIN_HISTORY, Delete, Put, Revision
from orchestrion.store_sqlite import open_store

WRITERS = 6


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


async def write_for_ever(directory: Path, seed: str) -> None:
    async with open_store(directory, history_revisions=MIN_HISTORY) as store, trio.open_nursery() as nursery:

        async def writer(n: int) -> None:
            rng = random.Random(f"{seed}-{n}")
            while True:
                keys = [f"/{n}/{m}" for m in rng.sample(range(8), rng.choice((1, 1, 1, 3)))]
                puts = [Put(key, rng.randbytes(rng.randrange(2000))) for key in keys]
                if len(puts) == 1 and rng.random() < 0.2:
                    await store.transaction([], [Delete(keys[0])])
                    continue
                revision: Revision = await store.transaction([], puts)
                say(f"told {revision} " + " ".join(f"{put.key}={crc32(put.value)}" for put in puts))

        for n in range(WRITERS):
            nursery.start_soon(writer, n)


def main() -> None:
    for line in sys.stdin:
        directory, seed = line.split()
        child = os.fork()
        if child == 0:
            say(f"begun {os.getpid()}")
            trio.run(write_for_ever, Path(directory), seed)
        os.waitpid(child, 0)
        say("ended")


main()
