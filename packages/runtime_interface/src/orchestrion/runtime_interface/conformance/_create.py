"""Checks of nodes, of making containers, and of what names and fences them."""

from __future__ import annotations

import os
from functools import partial

from attrs import evolve
from orchestrion.runtime_interface import (
    ConfigUnsupported,
    ContainerConflict,
    LogStream,
    PortTaken,
    StaleEpoch,
    StartFailed,
)
from orchestrion.shared_types import ContainerState, InstanceKey, NodeNotFound

from ._behaviour import Behaviour, CannotStart, Exits, ListensOn, PrintsEnvironment, Sleeps, Unsupported
from ._bench import KIT, LOGS, Bench, at_once, clause, equal, expect
from ._subject import RuntimeUnderTest

ALIVE = (ContainerState.QUEUED, ContainerState.STARTING, ContainerState.RUNNING)


@clause("NODE-1", "containers of an earlier program are taken up with their true state", needs=("reopen",))
async def taken_up(bench: Bench) -> None:
    runs, ended = await bench.create(Sleeps(), 0), await bench.create(Exits(7), 1)
    await bench.running(runs)
    before = await bench.exited(ended)
    await bench.reopen()
    equal(set(await bench.summaries()), {runs, ended})
    equal(await bench.state(runs), ContainerState.RUNNING)
    equal(await bench.status(ended), before)


@clause("NODE-1", "an exit that nobody watched is seen by the next program", needs=("reopen",))
async def ended_meanwhile(bench: Bench) -> None:
    container_id = await bench.create(Exits(9))
    await bench.reopen()
    status = await bench.exited(container_id)
    assert status.exit is not None
    assert status.exit.code == 9, status.exit


@clause("NODE-2", "initialising a node ten times changes nothing")
async def init_repeated(bench: Bench) -> None:
    container_id = await bench.create()
    before = await bench.running(container_id)
    for _ in range(10):
        await bench.runtime.init_node(bench.node)
    equal(set(await bench.summaries()), {container_id})
    equal(await bench.status(container_id), before)


@clause("NODE-3", "a node that there is no way to is not found", needs=("unknown_node",))
async def no_such_node(bench: Bench) -> None:
    assert bench.subject.unknown_node is not None
    with expect(NodeNotFound, "there is no way to that node"):
        await bench.runtime.init_node(bench.subject.unknown_node)


@KIT.clause("NODE-4", "nothing-can-be-asked-of-a-node-before-it-is-initialised")
async def node_not_initialised(subject: RuntimeUnderTest) -> None:
    bench = Bench(subject)
    with expect(NodeNotFound, "init_node was not called"):
        await bench.runtime.list_containers(bench.node)
    with expect(NodeNotFound, "init_node was not called"):
        await bench.create()


@clause("IDENTITY-1", "instance and name and attempt together name a container")
async def names(bench: Bench) -> None:
    ids = [
        await bench.create(),
        await bench.create(name="side"),
        await bench.create(attempt=1),
        await bench.create(index=1),
    ]
    assert len(set(ids)) == 4, f"not four containers: {ids}"
    equal(set(await bench.summaries()), set(ids))


@clause("IDENTITY-2", "an id names the same container after a restart of the program", needs=("reopen",))
async def id_outlives_program(bench: Bench) -> None:
    ids = {(index, name): await bench.create(index=index, name=name) for index in (0, 1) for name in ("main", "side")}
    await bench.reopen()
    found = {(s.instance.index, s.status.name): s.container_id for s in (await bench.summaries()).values()}
    equal(found, ids)


@clause("FENCE-1", "a lower epoch is refused and creates nothing")
async def lower_epoch(bench: Bench) -> None:
    container_id = await bench.create(epoch=3)
    with expect(StaleEpoch, "epoch 3 was asked for before") as raised:
        await bench.create(epoch=2)
    assert raised.error.known == 3, raised.error.known
    equal(set(await bench.summaries()), {container_id})


@clause("FENCE-1", "an equal and a higher epoch are not refused")
async def higher_epoch(bench: Bench) -> None:
    ids = {await bench.create(epoch=2), await bench.create(epoch=2, name="side"), await bench.create(epoch=4)}
    equal(set(await bench.summaries()), ids)


@clause("FENCE-2", "epochs are of a slot and of no other")
async def epochs_of_a_slot(bench: Bench) -> None:
    ids = {await bench.create(index=0, epoch=5), await bench.create(index=1, epoch=1)}
    other = evolve(bench.options(0, 1), instance=InstanceKey(bench.new_workload(), 0, 1))
    await bench.runtime.create_container(bench.config(Sleeps()), other)
    equal(set(await bench.summaries()), ids)


@clause("FENCE-3", "epochs are remembered after the containers were removed")
async def epochs_outlive_containers(bench: Bench) -> None:
    for index in range(3):
        await bench.runtime.remove_container(await bench.create(index=index, epoch=2))
    for index in range(3):
        with expect(StaleEpoch, "epoch 2 was asked for before"):
            await bench.create(index=index, epoch=1)
    equal(await bench.summaries(), {})


@clause("FENCE-4", "epochs are remembered over a restart of the program", needs=("reopen",))
async def epochs_outlive_program(bench: Bench) -> None:
    await bench.create(index=0, epoch=3)
    await bench.runtime.remove_container(await bench.create(index=1, epoch=3))
    await bench.reopen()
    for index in (0, 1):
        with expect(StaleEpoch, "epoch 3 was asked for before the restart") as raised:
            await bench.create(index=index, epoch=2)
        assert raised.error.known == 3, raised.error.known


@clause("FENCE-5", "an epoch counts although its container could not be started", needs=("CannotStart",))
async def epoch_of_failed_create(bench: Bench) -> None:
    with expect(StartFailed, "there is no such program"):
        await bench.create(CannotStart(), epoch=4)
    with expect(StaleEpoch, "epoch 4 was asked for before"):
        await bench.create(epoch=3)


@clause(
    "CONFIG-1", "a container gets exactly the environment of its config", requires=LOGS, needs=("PrintsEnvironment",)
)
async def environment(bench: Bench) -> None:
    wanted = {
        "KIT_PLAIN": "a b",
        "KIT_EMPTY": "",
        "KIT_LINES": "one\ntwo=2",
        "KIT_UNICODE": "ü€",
        "KIT_DOLLAR": "$X ${Y}",
    }
    os.environ["KIT_OF_OUR_OWN"] = "must not be inherited"
    try:
        config = bench.config(PrintsEnvironment(), env_vars=wanted)
        container_id = await bench.runtime.create_container(config, bench.options())
    finally:
        del os.environ["KIT_OF_OUR_OWN"]
    await bench.exited(container_id)
    printed = (await bench.logs.read_logs(container_id, LogStream.STDOUT)).data.decode()
    got = dict(line.split("=", 1) for line in printed.split("\0") if line)
    equal({name: got.get(name) for name in wanted}, wanted)
    assert "KIT_OF_OUR_OWN" not in got, "the runtime's own environment was inherited"


@clause("CONFIG-2", "args are further words of the command")
async def args_follow_command(bench: Bench) -> None:
    config = bench.config(Exits(6))
    words = config.command + config.args
    for index, cut in enumerate(sorted({1, len(words)})):
        split = evolve(config, command=words[:cut], args=words[cut:])
        container_id = await bench.runtime.create_container(split, bench.options(index))
        status = await bench.exited(container_id)
        assert status.exit is not None
        assert status.exit.code == 6, f"command {words[:cut]}, args {words[cut:]}: {status.exit}"


@clause("CREATE-1", "a container is listed when the call returns")
async def listed_on_return(bench: Bench) -> None:
    container_id = await bench.create()
    summary = (await bench.summaries()).get(container_id)
    assert summary is not None, "it is not listed"
    equal((summary.node_id, summary.instance), (bench.node, bench.instance()))


@clause("CREATE-2", "a container runs or is queued or has ended when the call returns")
async def state_on_return(bench: Bench) -> None:
    behaviours: tuple[Behaviour, ...] = (Sleeps(), Exits(0))
    for index, behaviour in enumerate(behaviours):
        state = await bench.state(await bench.create(behaviour, index))
        assert state in {ContainerState.QUEUED, ContainerState.RUNNING, ContainerState.EXITED}, state


@clause("CREATE-2", "what should run comes to run")
async def comes_to_run(bench: Bench) -> None:
    await bench.running(await bench.create())


@clause("CREATE-3", "an immediate exit is not lost")
async def immediate_exit(bench: Bench) -> None:
    codes = dict(enumerate((0, 1, 7, 255)))
    ids = {index: await bench.create(Exits(code), index) for index, code in codes.items()}
    statuses = {index: await bench.exited(container_id) for index, container_id in ids.items()}
    got = {index: None if status.exit is None else status.exit.code for index, status in statuses.items()}
    equal(got, codes)


@clause("CREATE-4", "creating ten times gives the same container")
async def create_repeated(bench: Bench) -> None:
    ids = {await bench.create() for _ in range(10)}
    assert len(ids) == 1, f"several containers: {ids}"
    equal(set(await bench.summaries()), ids)


@clause("CREATE-4", "a repeat starts nothing", needs=("starts",))
async def repeat_starts_nothing(bench: Bench) -> None:
    assert bench.subject.starts is not None
    token = bench.token()
    container_id = await bench.create(Sleeps(token))
    before = await bench.running(container_id)
    for _ in range(10):
        await bench.create(Sleeps(token))
    equal(await bench.status(container_id), before)
    await bench.until(partial(bench.subject.starts, token), "it starts")
    equal(await bench.subject.starts(token), 1)


@clause("CREATE-5", "a repeat after the end gives the container that ended")
async def repeat_after_end(bench: Bench) -> None:
    container_id = await bench.create(Exits(5))
    before = await bench.exited(container_id)
    equal(await bench.create(Exits(5)), container_id)
    equal(await bench.status(container_id), before)
    stopped = await bench.create(index=1)
    await bench.runtime.stop_container(stopped, grace_seconds=0)
    equal(await bench.create(index=1), stopped)
    equal(await bench.state(stopped), ContainerState.EXITED)


@clause("CREATE-5", "a repeat after a restart of the program gives the same container", needs=("reopen",))
async def repeat_after_restart(bench: Bench) -> None:
    container_id = await bench.create()
    before = await bench.running(container_id)
    await bench.reopen()
    equal(await bench.create(), container_id)
    equal(await bench.status(container_id), before)


@clause("CREATE-6", "a removed container can be created again")
async def create_after_remove(bench: Bench) -> None:
    await bench.runtime.remove_container(await bench.create(Exits(5)))
    container_id = await bench.create(Sleeps())
    await bench.running(container_id)
    equal(set(await bench.summaries()), {container_id})


@clause("CREATE-7", "the same key with another config is a conflict and changes nothing")
async def other_config(bench: Bench) -> None:
    container_id = await bench.create()
    before = await bench.running(container_id)
    with expect(ContainerConflict, "its environment is another"):
        await bench.runtime.create_container(bench.config(Sleeps(), env_vars={"KIT_NEW": "1"}), bench.options())
    equal(set(await bench.summaries()), {container_id})
    equal(await bench.status(container_id), before)


@clause("CREATE-7", "the same key with other options is a conflict and changes nothing")
async def other_options(bench: Bench) -> None:
    container_id = await bench.create()
    before = await bench.running(container_id)
    with expect(ContainerConflict, "its namespace is another"):
        await bench.runtime.create_container(bench.config(Sleeps()), bench.options(namespace="other"))
    equal(set(await bench.summaries()), {container_id})
    equal(await bench.status(container_id), before)


@clause("CREATE-7", "a conflict is one also after a restart of the program", needs=("reopen",))
async def conflict_after_restart(bench: Bench) -> None:
    await bench.create()
    await bench.reopen()
    with expect(ContainerConflict, "its environment is another"):
        await bench.runtime.create_container(bench.config(Sleeps(), env_vars={"KIT_NEW": "1"}), bench.options())


@clause("CREATE-8", "a lower attempt is refused and creates nothing")
async def lower_attempt(bench: Bench) -> None:
    ids = {await bench.create(attempt=2), await bench.create(attempt=0, name="side")}
    with expect(StaleEpoch, "attempt 2 was asked for before") as raised:
        await bench.create(attempt=1)
    assert raised.error.known == 2, raised.error.known
    equal(set(await bench.summaries()), ids)


@clause("CREATE-9", "of what can not be started nothing is left", needs=("CannotStart",))
async def start_failed(bench: Bench) -> None:
    with expect(StartFailed, "there is no such program"):
        await bench.create(CannotStart())
    equal(await bench.summaries(), {})
    await bench.running(await bench.create(Sleeps()))


@clause("CREATE-10", "what the runtime can never do is refused and nothing is left", needs=("Unsupported",))
async def unsupported(bench: Bench) -> None:
    with expect(ConfigUnsupported, "the runtime can't do that"):
        await bench.create(Unsupported())
    equal(await bench.summaries(), {})


@clause("CREATE-11", "a host port that is in use is named and nothing is left", needs=("occupied_port",))
async def port_taken(bench: Bench) -> None:
    assert bench.subject.occupied_port is not None
    async with bench.subject.occupied_port() as port:
        with expect(PortTaken, f"port {port} is in use") as raised:
            await bench.runtime.create_container(bench.config(Sleeps(), **bench.ports(port)), bench.options())
        assert raised.error.ports == (port,), raised.error.ports
        equal(await bench.summaries(), {})
    await bench.running(await bench.create(Sleeps()))


@clause("CONCURRENCY-1", "eight equal creates at once give the same container")
async def equal_creates_at_once(bench: Bench) -> None:
    results = await at_once(*[bench.create] * 8)
    assert len(set(results)) == 1, f"not one id: {results}"
    equal(set(await bench.summaries()), set(results))


@clause("CONCURRENCY-1", "eight equal creates at once start one container", needs=("starts",))
async def equal_creates_start_once(bench: Bench) -> None:
    assert bench.subject.starts is not None
    token = bench.token()
    await at_once(*[partial(bench.create, Sleeps(token))] * 8)
    await bench.running(await bench.create(Sleeps(token)))
    await bench.until(partial(bench.subject.starts, token), "it starts")
    equal(await bench.subject.starts(token), 1)


@clause("CONCURRENCY-2", "twelve different creates at once make twelve containers")
async def different_creates_at_once(bench: Bench) -> None:
    results = await at_once(*[partial(bench.create, Exits(index), index) for index in range(12)])
    assert set(await bench.summaries()) == set(results), results
    for index, container_id in enumerate(results):
        assert isinstance(container_id, str), f"failed: {container_id!r}"
        status = await bench.exited(container_id)
        assert status.exit is not None
        assert status.exit.code == index, f"container {index} ended with {status.exit}"


@clause("CONCURRENCY-3", "of two epochs created at once the lower never comes second")
async def epochs_at_once(bench: Bench) -> None:
    low, high = await at_once(partial(bench.create, epoch=1), partial(bench.create, epoch=2))
    assert isinstance(high, str), f"the higher epoch failed: {high!r}"
    assert isinstance(low, (str, StaleEpoch)), f"the lower epoch failed: {low!r}"
    with expect(StaleEpoch, "epoch 2 was asked for before"):
        await bench.create(epoch=1, name="late")


@clause("REMOVE-5", "a removed container's host port can be used at once", needs=("ListensOn", "free_port"))
async def port_released(bench: Bench) -> None:
    assert bench.subject.free_port is not None
    port = bench.subject.free_port()
    config = bench.config(ListensOn(port), **bench.ports(port))
    for index in range(3):
        container_id = await bench.runtime.create_container(config, bench.options(index))
        await bench.running(container_id)
        await bench.runtime.remove_container(container_id)
