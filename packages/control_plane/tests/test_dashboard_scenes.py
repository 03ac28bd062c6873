"""What pages show is gathered once for all who ask at about the same time, and never older than what they know."""

from __future__ import annotations

from typing import Any

import trio
from orchestrion.control_plane._dashboard.scene import Scene, Scenes
from orchestrion.control_plane._dashboard.sight import Sight
from orchestrion.control_plane._identity.policy import Policy
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._identity.roles import binding_of

from .api_stage import ADMIN, Api, Keeper

WORKLOADS = "/api/v1/namespaces/default/workloads"


async def made(api: Api, name: str) -> None:
    """Have a workload."""
    spec: dict[str, Any] = {"kind": "service", "containers": [{"name": "main", "command": ["run"]}]}
    assert (await api.client.ask("POST", WORKLOADS, {"metadata": {"name": name}, "spec": spec})).status == 201


def names(scene: Scene) -> list[str]:
    """Return the names of the workloads of a scene."""
    return [view.definition.metadata.name for view in scene.workloads]


async def test_all_who_ask_at_once_are_shown_the_same_and_later_ones_what_came_then(api: Api) -> None:
    """Pages that ask together share what was gathered; after a change it is gathered anew."""
    await made(api, "one")
    await trio.sleep(10)
    scenes, seen, sight = Scenes(api.objects), list[Scene](), Sight(ADMIN, Keeper())

    async def look() -> None:
        seen.append(await scenes.seen_by(sight))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(look)
    assert [names(scene) for scene in seen] == [["one"]] * 20
    assert len({id(scene.instances) for scene in seen}) == 1
    await made(api, "two")
    after = await scenes.seen_by(sight)
    assert names(after) == ["one", "two"]
    assert after.revision > seen[0].revision


async def test_it_is_gathered_anew_after_a_while_also_where_nothing_is_known_to_have_changed(api: Api) -> None:
    """What comes without a change of an object is shown as well, a moment later."""
    await made(api, "one")
    await trio.sleep(10)
    scenes, sight = Scenes(api.objects), Sight(ADMIN, Keeper())
    first = await scenes.seen_by(sight)
    await trio.sleep(2)
    second = await scenes.seen_by(sight)
    assert second.instances is not first.instances
    assert second.now > first.now


async def test_who_sees_less_is_shown_less_of_the_same(api: Api) -> None:
    """What is gathered for an administrator is not shown to who may see nothing of it, whoever asks first."""
    await made(api, "one")
    await trio.sleep(10)
    scenes, bob = Scenes(api.objects), Principal("bob")
    policy = Policy(
        [], [binding_of("b", "elsewhere", {"role": "viewer", "subjects": [{"kind": "user", "name": "bob"}]})]
    )
    whole = await scenes.seen_by(Sight(ADMIN, Keeper()))
    nothing = await scenes.seen_by(Sight(bob, Keeper(policy=policy)))
    assert names(whole) == ["one"]
    assert len(whole.instances) == 1
    assert whole.nodes
    assert (nothing.workloads, nothing.instances, nothing.nodes) == ((), (), ())
