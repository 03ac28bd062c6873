"""Checks that cancel a call at each of its checkpoints, and then see whether it kept its promise."""

from __future__ import annotations

from functools import partial

from attrs import define
from orchestrion.conformance_kit import Runner, cancellation_sweep
from orchestrion.runtime_interface import RuntimeClosed
from orchestrion.shared_types import ContainerId, ContainerState

from ._behaviour import Exits, Sleeps
from ._bench import Bench, equal, expect, property_clause

REAL_STEPS = 20
"""Where starting takes real time, a call is cancelled at no more of its checkpoints than this."""


@define
class Scene:
    """What is shared between the parts of one run of a sweep."""

    container_id: ContainerId = ContainerId("")
    token: str = ""


def max_steps(run: Runner[Bench]) -> int:
    """Return how far to sweep."""
    return 200 if run.clock == "mock" else REAL_STEPS


@property_clause("CANCEL-1", "a create that was cancelled anywhere can be repeated to the same end")
def cancelled_create(run: Runner[Bench]) -> None:
    scene = Scene()

    async def prepare(bench: Bench) -> None:
        scene.token = bench.token()

    async def operation(bench: Bench) -> None:
        await bench.create(Sleeps(scene.token))

    async def verify(bench: Bench, _cancelled: bool) -> None:
        container_id = await bench.create(Sleeps(scene.token))
        assert set(await bench.summaries()) == {container_id}, "not one container"
        await bench.running(container_id)
        if bench.subject.starts is not None:
            await bench.until(partial(bench.subject.starts, scene.token), "it starts")
            assert await bench.subject.starts(scene.token) == 1, "started more than once"

    cancellation_sweep(run, operation, verify, prepare=prepare, max_steps=max_steps(run))


@property_clause("CANCEL-2", "a stop that was cancelled anywhere can be repeated to the same end")
def cancelled_stop(run: Runner[Bench]) -> None:
    scene = Scene()

    async def prepare(bench: Bench) -> None:
        scene.container_id = await bench.create()
        await bench.running(scene.container_id)

    async def operation(bench: Bench) -> None:
        await bench.runtime.stop_container(scene.container_id, grace_seconds=5)

    async def verify(bench: Bench, _cancelled: bool) -> None:
        state = await bench.state(scene.container_id)
        assert state in {ContainerState.RUNNING, ContainerState.EXITED}, f"after a cancelled stop it is {state}"
        await bench.runtime.stop_container(scene.container_id, grace_seconds=5)
        equal(await bench.state(scene.container_id), ContainerState.EXITED)

    cancellation_sweep(run, operation, verify, prepare=prepare, max_steps=max_steps(run))


@property_clause("CANCEL-3", "a removal that was cancelled anywhere can be repeated to the same end")
def cancelled_remove(run: Runner[Bench]) -> None:
    scene = Scene()

    async def prepare(bench: Bench) -> None:
        scene.container_id = await bench.create()
        await bench.running(scene.container_id)

    async def operation(bench: Bench) -> None:
        await bench.runtime.remove_container(scene.container_id)

    async def verify(bench: Bench, _cancelled: bool) -> None:
        await bench.runtime.remove_container(scene.container_id)
        await bench.gone(scene.container_id)
        again = await bench.create(Exits(0))
        equal(set(await bench.summaries()), {again})

    cancellation_sweep(run, operation, verify, prepare=prepare, max_steps=max_steps(run))


@property_clause("CANCEL-4", "a cancelled create never leaves a half made container in the list")
def nothing_half_made(run: Runner[Bench]) -> None:
    async def operation(bench: Bench) -> None:
        await bench.create()

    async def verify(bench: Bench, _cancelled: bool) -> None:
        for container_id, summary in (await bench.summaries()).items():
            equal((summary.instance, summary.status.name), (bench.instance(), "main"))
            await bench.running(container_id)

    cancellation_sweep(run, operation, verify, max_steps=max_steps(run))


@property_clause("CANCEL-5", "an initialisation that was cancelled anywhere can be repeated", needs=("reopen",))
def cancelled_init(run: Runner[Bench]) -> None:
    scene = Scene()

    async def prepare(bench: Bench) -> None:
        assert bench.subject.reopen is not None
        scene.container_id = await bench.create()
        await bench.running(scene.container_id)
        bench.runtime = await bench.subject.reopen()

    async def operation(bench: Bench) -> None:
        await bench.runtime.init_node(bench.node)

    async def verify(bench: Bench, _cancelled: bool) -> None:
        await bench.init_nodes()
        equal(set(await bench.summaries()), {scene.container_id})
        equal(await bench.create(), scene.container_id)

    cancellation_sweep(run, operation, verify, prepare=prepare, max_steps=max_steps(run))


@property_clause("CLOSE-4", "a runtime is closed although its closing was cancelled")
def cancelled_close(run: Runner[Bench]) -> None:
    async def operation(bench: Bench) -> None:
        await bench.runtime.aclose()

    async def verify(bench: Bench, _cancelled: bool) -> None:
        with expect(RuntimeClosed, "aclose was called"):
            await bench.runtime.list_containers(bench.node)

    cancellation_sweep(run, operation, verify, max_steps=max_steps(run))
