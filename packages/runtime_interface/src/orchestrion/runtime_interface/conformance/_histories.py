"""Checks over random histories of calls, against a plain model."""

from __future__ import annotations

from functools import partial

import trio
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.conformance_kit import Runner
from orchestrion.runtime_interface import ContainerConflict, LogStream, StaleEpoch
from orchestrion.shared_types import ContainerId, ContainerNotFound, ContainerStatus, OrchestrationError

from ._behaviour import Behaviour, Exits, PrintsEnvironment, Sleeps
from ._bench import LOGS, Bench, equal, expect, property_clause

BEHAVIOURS: tuple[Behaviour, ...] = (Sleeps(), Exits(5))
"""What the config of a create may be; which of them makes the difference between a repeat and a conflict."""

NAMES = ("main", "side")

Key = tuple[int, int, str, int]
"""Index, epoch, name, attempt."""

Step = tuple[str, tuple[int, ...]]
"""A call, and what it is about."""

CREATES = st.tuples(
    st.just("create"),
    st.tuples(
        st.sampled_from((0, 0, 1)),
        st.sampled_from((1, 1, 1, 2, 3)),
        st.sampled_from((0, 0, 1)),
        st.integers(0, 2),
        st.sampled_from((0, 0, 1)),
    ),
)
"""Creates meet often, so that few steps bring repeats, conflicts, restarts and stale epochs."""

OTHERS = st.tuples(st.sampled_from(("stop", "remove", "status", "list")), st.tuples(st.integers(0, 5)))
REOPENS = st.tuples(st.just("reopen"), st.just(()))


@define
class Known:
    """A container of the model.

    Attributes:
        key: What names it.
        behaviour: Which config it has.
        status: What it was like when it last came to rest.
    """

    key: Key
    behaviour: int
    status: ContainerStatus


@define
class Model:
    """What a right runtime knows, written as plainly as can be.

    Attributes:
        containers: Those that were not removed, by id.
        epochs: The highest epoch that was asked for, by index.
        attempts: The highest attempt that was asked for, by index, epoch and name.
    """

    containers: dict[ContainerId, Known] = field(factory=dict)
    epochs: dict[int, int] = field(factory=dict)
    attempts: dict[tuple[int, int, str], int] = field(factory=dict)

    def find(self, key: Key) -> ContainerId | None:
        """Return the id of the container of a key."""
        return next((container_id for container_id, known in self.containers.items() if known.key == key), None)

    def allowed(self, key: Key, behaviour: int) -> set[str]:
        """Return what may come of a create: "new", "same", "stale", "conflict"."""
        index, epoch, name, attempt = key
        existing = self.find(key)
        if existing is None:
            here = {"new"}
        else:
            here = {"same"} if self.containers[existing].behaviour == behaviour else {"conflict"}
        if epoch < self.epochs.get(index, 0):
            return {"stale"} if existing is None else {"stale"} | here
        if attempt < self.attempts.get((index, epoch, name), 0):
            higher = any(k.key[:3] == key[:3] and k.key[3] > attempt for k in self.containers.values())
            return {"stale"} if existing is None and higher else {"stale"} | here
        return here


async def at_rest(bench: Bench, container_id: ContainerId, behaviour: int) -> ContainerStatus:
    """Wait until a new container runs, or has ended, as its behaviour says."""
    if isinstance(BEHAVIOURS[behaviour], Sleeps):
        return await bench.running(container_id)
    status = await bench.exited(container_id)
    assert status.exit is not None
    assert status.exit.code == 5, status.exit
    return status


async def create(bench: Bench, model: Model, key: Key, behaviour: int) -> None:
    index, epoch, name, attempt = key
    allowed = model.allowed(key, behaviour)
    existing = model.find(key)
    try:
        container_id = await bench.create(BEHAVIOURS[behaviour], index, epoch, attempt, name=name)
    except StaleEpoch:
        got = "stale"
    except ContainerConflict:
        got = "conflict"
    else:
        got = "same" if container_id == existing else "new"
        if got == "new":
            assert container_id not in model.containers, f"the id {container_id} names two containers"
            model.containers[container_id] = Known(key, behaviour, await at_rest(bench, container_id, behaviour))
    assert got in allowed, f"create {key}: expected {' or '.join(sorted(allowed))}, got {got}"
    model.epochs[index] = max(epoch, model.epochs.get(index, 0))
    if got != "stale":
        model.attempts[index, epoch, name] = max(attempt, model.attempts.get((index, epoch, name), 0))


async def check_all(bench: Bench, model: Model) -> None:
    """Assert that the list is what the model says."""
    summaries = await bench.summaries()
    got = {container_id: summary.status for container_id, summary in summaries.items()}
    equal(got, {container_id: known.status for container_id, known in model.containers.items()})
    for container_id, summary in summaries.items():
        index, epoch, name, attempt = model.containers[container_id].key
        equal(
            (summary.instance, summary.status.name, summary.status.attempt),
            (
                bench.instance(index, epoch),
                name,
                attempt,
            ),
        )


async def play(bench: Bench, steps: list[Step]) -> None:
    """Do all steps one after another, and compare each with the model."""
    model = Model()
    for call, words in steps:
        if call == "create":
            index, epoch, name, attempt, behaviour = words
            await create(bench, model, (index, epoch, NAMES[name], attempt), behaviour)
            continue
        if call == "reopen":
            await bench.reopen()
            await check_all(bench, model)
            continue
        if call == "list" or not model.containers:
            await check_all(bench, model)
            continue
        container_id = sorted(model.containers)[words[0] % len(model.containers)]
        if call == "stop":
            await bench.runtime.stop_container(container_id, grace_seconds=5)
            after = await bench.status(container_id)
            before = model.containers[container_id].status
            assert after.exit is not None, f"{container_id} was stopped and is {after.state}"
            assert before.exit is None or after == before, f"a stop changed {before} to {after}"
            model.containers[container_id].status = after
        elif call == "remove":
            await bench.runtime.remove_container(container_id)
            del model.containers[container_id]
        else:
            equal(await bench.status(container_id), model.containers[container_id].status)
    await check_all(bench, model)


@property_clause("MODEL-1", "any history of calls is as in a plain model")
def any_history(run: Runner[Bench]) -> None:
    @run.settings()
    @given(st.lists(CREATES | OTHERS, min_size=6, max_size=14))
    def holds(steps: list[Step]) -> None:
        run(play, steps)

    holds()


@property_clause("MODEL-2", "any history with restarts of the program is as in a plain model", needs=("reopen",))
def any_history_with_restarts(run: Runner[Bench]) -> None:
    @run.settings()
    @given(st.lists(CREATES | OTHERS | REOPENS, min_size=4, max_size=10))
    def holds(steps: list[Step]) -> None:
        run(play, steps)

    holds()


@property_clause("MODEL-3", "any calls at once leave at most one container of each key and all answer")
def any_calls_at_once(run: Runner[Bench]) -> None:
    async def one(bench: Bench, steps: list[Step]) -> None:
        for call, words in steps:
            try:
                if call == "create":
                    index, epoch, name, attempt, behaviour = words
                    await bench.create(BEHAVIOURS[behaviour], index, epoch, attempt, name=NAMES[name])
                    continue
                listed = sorted(await bench.summaries())
                if call == "list" or not listed:
                    continue
                container_id = listed[words[0] % len(listed)]
                if call == "stop":
                    await bench.runtime.stop_container(container_id, grace_seconds=5)
                elif call == "remove":
                    await bench.runtime.remove_container(container_id)
                else:
                    await bench.status(container_id)
            except (StaleEpoch, ContainerConflict, ContainerNotFound):
                continue
            except OrchestrationError as err:
                msg = f"{call} {words} raised {err!r}, which no call at once can lead to"
                raise AssertionError(msg) from err

    async def main(bench: Bench, tasks: list[list[Step]]) -> None:
        with bench.promptly("all calls return"):
            async with trio.open_nursery() as nursery:
                for steps in tasks:
                    nursery.start_soon(one, bench, steps)
        summaries = await bench.summaries()
        keys = [(s.instance, s.status.name, s.status.attempt) for s in summaries.values()]
        assert len(keys) == len(set(keys)), f"a key has several containers: {keys}"
        for container_id in summaries:
            await bench.status(container_id)
            await bench.runtime.remove_container(container_id)
        equal(await bench.summaries(), {})

    @run.settings()
    @given(st.lists(st.lists(CREATES | OTHERS, min_size=1, max_size=4), min_size=2, max_size=4))
    def holds(tasks: list[list[Step]]) -> None:
        run(main, tasks)

    holds()


@property_clause("STATUS-2", "any exit code is told")
def any_exit_code(run: Runner[Bench]) -> None:
    async def main(bench: Bench, codes: list[int]) -> None:
        ids = [await bench.create(Exits(code), index) for index, code in enumerate(codes)]
        for container_id, code in zip(ids, codes, strict=True):
            status = await bench.exited(container_id)
            assert status.exit is not None
            assert (status.exit.code, status.exit.signal) == (code, None), f"exit {code} is told as {status.exit}"

    @run.settings()
    @given(st.lists(st.integers(0, 255), min_size=1, max_size=5))
    def holds(codes: list[int]) -> None:
        run(main, codes)

    holds()


VARIABLES = st.dictionaries(
    st.sampled_from(("KIT_A", "KIT_B2", "KIT_LONG_NAME", "kit_lower", "_KIT")),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40),
    max_size=5,
)


@property_clause("CONFIG-1", "any variable arrives unchanged", requires=LOGS, needs=("PrintsEnvironment",))
def any_variable(run: Runner[Bench]) -> None:
    async def main(bench: Bench, wanted: dict[str, str]) -> None:
        config = bench.config(PrintsEnvironment(), env_vars=wanted)
        container_id = await bench.runtime.create_container(config, bench.options())
        await bench.exited(container_id)
        printed = (await bench.logs.read_logs(container_id, LogStream.STDOUT)).data.decode()
        got = dict(line.split("=", 1) for line in printed.split("\0") if line)
        equal({name: got.get(name) for name in wanted}, wanted)

    @run.settings()
    @given(VARIABLES)
    def holds(wanted: dict[str, str]) -> None:
        run(main, wanted)

    holds()


@property_clause("FENCE-1", "epochs asked for in any order never go back")
def epochs_in_any_order(run: Runner[Bench]) -> None:
    async def main(bench: Bench, epochs: list[int]) -> None:
        highest = 0
        for epoch in epochs:
            call = partial(bench.create, Exits(0), epoch=epoch)
            if epoch < highest:
                with expect(StaleEpoch, f"epoch {highest} was asked for before") as raised:
                    await call()
                assert raised.error.known == highest, f"it says {raised.error.known}, the highest was {highest}"
            else:
                highest = epoch
                await bench.runtime.remove_container(await call())

    @run.settings()
    @given(st.lists(st.integers(1, 4), min_size=3, max_size=5))
    def holds(epochs: list[int]) -> None:
        run(main, epochs)

    holds()
