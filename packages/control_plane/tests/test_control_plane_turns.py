"""Many change one object at once, and each of them does."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._service.intent import Review
from orchestrion.control_plane._service.turns import Turns

from .api_stage import Answer, Api

SPACE = "/api/v1/namespaces/default"
CONFIG = {"metadata": {"name": "a"}, "spec": {"data": {}}}
WORKLOAD = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "main", "command": ["run"]}]}}
KINDS = pytest.mark.parametrize(("plural", "made"), [("configmaps", CONFIG), ("workloads", WORKLOAD)])
WRITERS = 20


async def deliberate(review: Review) -> Document:
    """Take a while to look at a change."""
    await trio.sleep(1)
    return review.document


@KINDS
@pytest.mark.parametrize("media_type", ["merge-patch", "json-patch", "apply-patch"])
async def test_of_many_who_change_an_object_at_once_none_is_refused(
    api: Api, plural: str, made: dict[str, Any], media_type: str
) -> None:
    assert (await api.client.ask("POST", f"{SPACE}/{plural}", made)).status == 201
    await trio.sleep(10)
    api.objects.writer.admit = api.objects.workloads.admit = deliberate
    answers = list[Answer]()

    async def write(number: int) -> None:
        key, text = f"key-{number}", str(number)
        data: Any = {"metadata": {"annotations": {key: text}}}
        if media_type == "json-patch":
            data = [{"op": "add", "path": "/metadata/annotations", "value": {key: text}}]
        path = f"{SPACE}/{plural}/a?manager={key}"
        answers.append(await api.client.ask("PATCH", path, data, content_type=f"application/{media_type}+json"))

    async with trio.open_nursery() as nursery:
        for number in range(WRITERS):
            nursery.start_soon(write, number)
    assert [answer.status for answer in answers] == [200] * WRITERS
    notes = (await api.client.ask("GET", f"{SPACE}/{plural}/a")).json["metadata"]["annotations"]
    there = {key for key in notes if key.startswith("key-")}
    assert len(there) == (1 if media_type == "json-patch" else WRITERS)


@KINDS
async def test_who_goes_while_it_waits_for_its_turn_holds_up_nobody(
    api: Api, plural: str, made: dict[str, Any]
) -> None:
    assert (await api.client.ask("POST", f"{SPACE}/{plural}", made)).status == 201
    await trio.sleep(10)
    api.objects.writer.admit = api.objects.workloads.admit = deliberate

    async def write(key: str) -> Answer:
        return await api.client.ask("PATCH", f"{SPACE}/{plural}/a", {"metadata": {"labels": {key: "1"}}})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, "first")
        with trio.move_on_after(0.5):
            await write("gone")
        assert (await write("last")).status == 200
    labels = (await api.client.ask("GET", f"{SPACE}/{plural}/a")).json["metadata"]["labels"]
    assert labels.keys() >= {"first", "last"}
    assert "gone" not in labels


async def test_turns_are_in_order_and_nothing_of_them_is_left() -> None:
    """The first who comes is the first to go; one thing holds up no other; who fails or goes lets the next one in."""
    turns, order = Turns(), list[str]()

    async def take(name: str, key: str, seconds: float) -> None:
        with trio.move_on_after(seconds):
            async with turns.of(key):
                order.append(name)
                await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for name, key, seconds in (("a", "x", 9), ("b", "x", 0.5), ("c", "x", 9), ("d", "y", 9), ("e", "x", 1.5)):
            nursery.start_soon(take, name, key, seconds)
            await trio.testing.wait_all_tasks_blocked()
        assert order == ["a", "d"]
    assert order == ["a", "d", "c"]
    with pytest.raises(ValueError, match="broken"):
        async with turns.of("x"):
            raise ValueError("broken")
    assert len(turns) == 0
