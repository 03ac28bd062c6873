"""What is to go of itself goes, once, and nothing else does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import trio
from orchestrion.control_plane._objects.claims import CONTENTS
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._service.collecting import TELL_SECONDS, Collector
from orchestrion.control_plane._service.collection_plan import Step
from orchestrion.control_plane._service.intent import Review
from orchestrion.mocks import MemoryStore
from orchestrion.orchestrator_core import trio_time
from orchestrion.shared_types import Event, EventSeverity, Uid, Unavailable, to_json
from orchestrion.store_interface import Compare, Operation, Revision
from trio.testing import MockClock

from .api_stage import Answer, Api, Records, api_served

SPACE = "/api/v1/namespaces/default"
MAPS = f"{SPACE}/configmaps"
WORKLOADS = f"{SPACE}/workloads"


def config(name: str, *owners: Answer, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **owned_by(*owners), **metadata}, "spec": {"data": {}}}


def workload(name: str = "web", *owners: Answer, **metadata: Any) -> dict[str, Any]:
    containers = [{"name": "main", "command": ["term-takes", "5s"]}]
    return {
        "metadata": {"name": name, **owned_by(*owners), **metadata},
        "spec": {"kind": "service", "containers": containers},
    }


def owned_by(*owners: Answer) -> dict[str, Any]:
    if not owners:
        return {}
    return {
        "owners": [
            {"kind": each.json["kind"], "name": each.json["metadata"]["name"], "uid": each.json["metadata"]["uid"]}
            for each in owners
        ]
    }


async def made(api: Api, path: str, data: Any) -> Answer:
    answer = await api.client.ask("POST", path, data)
    assert answer.status == 201, answer.body
    return answer


async def names(api: Api, path: str = MAPS) -> list[str]:
    return [item["metadata"]["name"] for item in (await api.client.ask("GET", path)).json["items"]]


async def gone(api: Api, path: str) -> bool:
    return (await api.client.ask("GET", path)).status == 404


async def test_what_an_object_owns_goes_after_it_down_to_the_last(api: Api) -> None:
    top = await made(api, MAPS, config("top"))
    middle = await made(api, MAPS, config("middle", top))
    await made(api, MAPS, config("bottom", middle))
    await made(api, MAPS, config("other"))
    await api.client.ask("DELETE", f"{MAPS}/top")
    await trio.sleep(5)
    assert await names(api) == ["other"]


async def test_an_object_stays_as_long_as_one_of_its_owners_is_there(api: Api) -> None:
    first, second = [await made(api, MAPS, config(name)) for name in ("first", "second")]
    await made(api, MAPS, config("child", first, second))
    await api.client.ask("DELETE", f"{MAPS}/first")
    await trio.sleep(5)
    assert "child" in await names(api)
    await api.client.ask("DELETE", f"{MAPS}/second")
    await trio.sleep(5)
    assert await names(api) == []


async def test_a_namesake_that_came_later_is_not_the_owner(api: Api) -> None:
    owner = await made(api, MAPS, config("owner"))
    await made(api, MAPS, config("child", owner))
    await api.client.ask("DELETE", f"{MAPS}/owner")
    await made(api, MAPS, config("owner"))
    await trio.sleep(5)
    assert await names(api) == ["owner"]


async def test_workloads_own_and_are_owned(api: Api) -> None:
    owner = await made(api, MAPS, config("owner"))
    web = await made(api, WORKLOADS, workload("web", owner))
    await made(api, MAPS, config("child", web))
    await trio.sleep(5)
    await api.client.ask("DELETE", f"{MAPS}/owner")
    await trio.sleep(2)
    assert (await api.client.ask("GET", f"{WORKLOADS}/web")).json["metadata"]["deleting_since"]
    assert await names(api) == ["child"]
    await trio.sleep(60)
    assert await gone(api, f"{WORKLOADS}/web")
    assert await names(api) == []


async def test_an_owner_must_be_there(api: Api) -> None:
    owner = await made(api, MAPS, config("owner"))
    child = config("child", owner)
    child["metadata"]["owners"][0]["uid"] = "another"
    refused = await api.client.ask("POST", MAPS, child)
    assert refused.status == 400
    assert "metadata.owners[0]" in refused.json["message"]
    child["metadata"]["owners"][0]["kind"] = "Nonsense"
    assert "metadata.owners[0].kind" in (await api.client.ask("POST", MAPS, child)).json["message"]


async def test_in_the_foreground_what_is_owned_goes_first(api: Api) -> None:
    owner = await made(api, MAPS, config("owner"))
    await made(api, WORKLOADS, workload("web", owner))
    await trio.sleep(5)
    await api.client.ask("DELETE", f"{MAPS}/owner?cascade=foreground")
    await trio.sleep(2)
    assert (await api.client.ask("GET", f"{MAPS}/owner")).json["metadata"]["deleting_since"]
    assert not await gone(api, f"{WORKLOADS}/web")
    await trio.sleep(60)
    assert await gone(api, f"{WORKLOADS}/web")
    assert await gone(api, f"{MAPS}/owner")


async def test_a_workload_in_the_foreground_waits_for_what_it_owns(api: Api) -> None:
    web = await made(api, WORKLOADS, workload())
    held = config("child", web, finalizers=[{"name": "hold", "owner": "me"}])
    await made(api, MAPS, held)
    await api.client.ask("DELETE", f"{WORKLOADS}/web?cascade=foreground")
    await trio.sleep(60)
    assert not await gone(api, f"{WORKLOADS}/web")
    await api.client.ask("PATCH", f"{MAPS}/child", {"metadata": {"finalizers": []}})
    await trio.sleep(5)
    assert await gone(api, f"{MAPS}/child")
    assert await gone(api, f"{WORKLOADS}/web")


async def test_orphans_stay(api: Api) -> None:
    owner = await made(api, MAPS, config("owner"))
    await made(api, MAPS, config("child", owner))
    await made(api, WORKLOADS, workload("web", owner))
    await api.client.ask("DELETE", f"{MAPS}/owner?cascade=orphan")
    await trio.sleep(60)
    assert await names(api) == ["child"]
    child = (await api.client.ask("GET", f"{MAPS}/child")).json
    assert "owners" not in child["metadata"]
    web = (await api.client.ask("GET", f"{WORKLOADS}/web")).json
    assert not {"owners", "deleting_since"} & web["metadata"].keys()


async def test_what_cascade_means_is_one_of_three_words(api: Api) -> None:
    await made(api, MAPS, config("owner"))
    refused = await api.client.ask("DELETE", f"{MAPS}/owner?cascade=sideways")
    assert refused.status == 400
    assert "cascade" in refused.json["message"]


async def test_a_finalizer_holds_an_object_until_its_owner_takes_it_off(api: Api) -> None:
    await made(api, MAPS, config("kept", finalizers=[{"name": "backup", "owner": "db-tool"}]))
    await api.client.ask("DELETE", f"{MAPS}/kept")
    await trio.sleep(300)
    assert await names(api) == ["kept"]
    more = {"metadata": {"finalizers": [{"name": "backup", "owner": "db-tool"}, {"name": "more", "owner": "me"}]}}
    refused = await api.client.ask("PATCH", f"{MAPS}/kept", more)
    assert (refused.status, "metadata.finalizers[1]" in str(refused.json)) == (400, True)
    assert await names(api) == ["kept"]
    await api.client.ask("PATCH", f"{MAPS}/kept", {"metadata": {"finalizers": []}})
    assert await names(api) == []


async def test_a_finalizer_is_waited_for_until_its_deadline_and_an_event_tells(api: Api) -> None:
    deadline = (trio_time() + timedelta(seconds=100)).isoformat()
    await made(api, MAPS, config("kept", finalizers=[{"name": "backup", "owner": "db-tool", "deadline": deadline}]))
    await trio.sleep(200)
    assert await names(api) == ["kept"]  # nobody has removed it
    deadline = (trio_time() + timedelta(seconds=100)).isoformat()
    await made(api, MAPS, config("late", finalizers=[{"name": "backup", "owner": "db-tool", "deadline": deadline}]))
    await api.client.ask("DELETE", f"{MAPS}/late")
    await trio.sleep(90)
    assert "late" in await names(api)
    await trio.sleep(15)
    assert "late" not in await names(api)
    (event,) = [each for each in await api.orchestrator.events() if each.reason == "FinalizerExpired"]
    assert (event.subject, event.severity) == ("configmap/late", EventSeverity.WARNING)


@pytest.mark.parametrize("path", [f"{MAPS}/kept", f"{WORKLOADS}/web"])
async def test_how_long_a_finalizer_is_waited_for_can_be_changed_while_it_is(api: Api, path: str) -> None:
    claim = {"name": "backup", "owner": "db-tool"}
    await made(api, MAPS, config("kept", finalizers=[claim]))
    await made(api, WORKLOADS, workload(finalizers=[claim]))
    await api.client.ask("DELETE", path)
    await trio.sleep(60)
    for seconds in (1000, 100):
        bound = {**claim, "deadline": (trio_time() + timedelta(seconds=seconds)).isoformat()}
        changed = await api.client.ask("PATCH", path, {"metadata": {"finalizers": [bound]}})
        assert changed.status == 200
        assert changed.json["metadata"]["finalizers"][0]["name"] == "backup"
    await trio.sleep(90)
    assert not await gone(api, path)
    await trio.sleep(20)
    assert await gone(api, path)


async def test_a_finalizer_is_there_once(api: Api) -> None:
    claim = {"name": "backup", "owner": "db-tool"}
    refused = await api.client.ask("POST", MAPS, config("twice", finalizers=[claim, claim]))
    assert (refused.status, "metadata.finalizers[1]" in str(refused.json)) == (400, True)


async def test_what_holds_up_a_namespace_or_a_kind_is_in_its_status(api: Api) -> None:
    await made(api, "/api/v1/namespaces", {"metadata": {"name": "shop"}})
    kind = {"metadata": {"name": "backups"}, "spec": {"kind": "Backup", "plural": "backups"}}
    await made(api, "/api/v1/customkinds", kind)
    claims = [{"name": "hold", "owner": "me"}]
    for number in range(12):
        held = {"metadata": {"name": f"b{number:02}", "finalizers": claims}}
        await made(api, "/api/v1/namespaces/shop/backups", held)
    await api.client.ask("DELETE", "/api/v1/namespaces/shop")
    await api.client.ask("DELETE", "/api/v1/customkinds/backups")
    await trio.sleep(5)
    for going in ("namespaces/shop", "customkinds/backups"):
        waits_for = (await api.client.ask("GET", f"/api/v1/{going}")).json["status"]["waits_for"]
        assert waits_for[0] == "backup shop/b00: finalizer hold of me"
        assert len(waits_for) == 11
        assert waits_for[-1] == "others"
    for number in range(12):
        await api.client.ask("PATCH", f"/api/v1/namespaces/shop/backups/b{number:02}", {"metadata": {"finalizers": []}})
    await trio.sleep(5)
    assert await gone(api, "/api/v1/namespaces/shop")
    assert await gone(api, "/api/v1/customkinds/backups")


async def test_a_namespace_says_that_it_waits_for_workloads_and_not_for_which(api: Api) -> None:
    shop, stays = "/api/v1/namespaces/shop", [{"name": "backup", "owner": "db-tool"}]
    await made(api, "/api/v1/namespaces", {"metadata": {"name": "shop"}})
    for number in range(12):
        data = workload(f"w{number:02}")
        data["spec"]["containers"][0]["command"] = ["term-takes", f"{2 + number / 2}s"]
        await made(api, f"{shop}/workloads", data)
    await made(api, f"{shop}/configmaps", config("kept", finalizers=stays))
    await trio.sleep(5)
    await api.client.ask("DELETE", shop)
    await api.client.ask("DELETE", f"{shop}/configmaps/kept")
    await trio.sleep(1)
    going = (await api.client.ask("GET", shop)).json
    assert going["status"]["waits_for"] == ["configmap shop/kept: finalizer backup of db-tool", "workloads"]
    await trio.sleep(5)
    left = len(await names(api, f"{shop}/workloads"))
    assert 0 < left < 12, "some have ended"
    assert (await api.client.ask("GET", shop)).json == going, "nothing is written for each of them"
    await trio.sleep(60)
    assert (await api.client.ask("GET", shop)).json["status"]["waits_for"] == going["status"]["waits_for"][:1]


async def test_what_holds_up_a_namespace_is_told_every_few_seconds_at_most(api: Api) -> None:
    shop, claims = "/api/v1/namespaces/shop", [{"name": "hold", "owner": "me"}]
    await made(api, "/api/v1/namespaces", {"metadata": {"name": "shop"}})
    for number in range(10):
        await made(api, f"{shop}/configmaps", config(f"c{number}", finalizers=claims))
    await api.client.ask("DELETE", shop)
    await trio.sleep(10)
    revisions = set[int]()
    for number in range(8):
        await api.client.ask("PATCH", f"{shop}/configmaps/c{number}", {"metadata": {"finalizers": []}})
        await trio.sleep(0.5)
        revisions.add((await api.client.ask("GET", shop)).json["metadata"]["revision"])
    assert len(revisions) <= 2
    await trio.sleep(TELL_SECONDS + 1)
    waits_for = (await api.client.ask("GET", shop)).json["status"]["waits_for"]
    assert [each.partition(":")[0] for each in waits_for] == ["configmap shop/c8", "configmap shop/c9"]


async def test_the_owner_of_a_finalizer_takes_it_off_a_workload_that_is_being_removed(api: Api) -> None:
    await made(api, WORKLOADS, workload(finalizers=[{"name": "backup", "owner": "db-tool"}]))
    await api.client.ask("DELETE", f"{WORKLOADS}/web")
    await trio.sleep(60)
    refused = await api.client.ask("PATCH", f"{WORKLOADS}/web", {"spec": {"replicas": 2}})
    assert refused.status == 409
    taken_off = await api.client.ask("PATCH", f"{WORKLOADS}/web", {"metadata": {"finalizers": []}})
    assert taken_off.status == 200
    await trio.sleep(5)
    assert await gone(api, f"{WORKLOADS}/web")


async def test_a_namespace_goes_with_all_that_is_in_it_workloads_first(api: Api) -> None:
    await made(api, "/api/v1/namespaces", {"metadata": {"name": "shop"}})
    shop = "/api/v1/namespaces/shop"
    await made(api, f"{shop}/configmaps", config("settings"))
    await made(api, f"{shop}/secrets", {"metadata": {"name": "key"}, "spec": {"data": {"a": "b"}}})
    await made(api, f"{shop}/workloads", workload())
    await made(api, MAPS, config("outside"))
    await trio.sleep(5)
    await api.client.ask("DELETE", shop)
    await trio.sleep(2)
    assert (await api.client.ask("GET", f"{shop}/configmaps/settings")).status == 200  # what runs may read it still
    assert (await api.client.ask("POST", f"{shop}/configmaps", config("late"))).status == 409
    assert (await api.client.ask("POST", f"{shop}/workloads", workload("late"))).status == 409
    await trio.sleep(60)
    assert await gone(api, shop)
    listed = await api.objects.store.list("/")
    left = [entry.key for entry in listed.entries if "/shop" in entry.key and not entry.key.startswith("/event/")]
    assert left == []
    assert await names(api) == ["outside"]


async def test_nobody_takes_the_servers_claims_off_or_makes_such(api: Api) -> None:
    claims = [{"name": CONTENTS.name, "owner": CONTENTS.owner}]
    made_one = await made(api, MAPS, config("settings", finalizers=claims))
    assert "finalizers" not in made_one.json["metadata"]
    await made(api, "/api/v1/namespaces", {"metadata": {"name": "shop"}})
    await made(api, "/api/v1/namespaces/shop/workloads", workload())
    await api.client.ask("DELETE", "/api/v1/namespaces/shop")
    await api.client.ask("PATCH", "/api/v1/namespaces/shop", {"metadata": {"finalizers": []}})
    assert not await gone(api, "/api/v1/namespaces/shop")


async def test_the_default_namespace_stays(api: Api) -> None:
    assert (await api.client.ask("DELETE", SPACE)).status == 409


async def test_a_custom_kind_goes_with_its_objects(api: Api) -> None:
    await made(
        api, "/api/v1/customkinds", {"metadata": {"name": "backups"}, "spec": {"kind": "Backup", "plural": "backups"}}
    )
    await made(api, f"{SPACE}/backups", {"metadata": {"name": "a", "finalizers": [{"name": "hold", "owner": "me"}]}})
    await api.client.ask("DELETE", "/api/v1/customkinds/backups")
    await trio.sleep(5)
    assert (await api.client.ask("POST", f"{SPACE}/backups", {"metadata": {"name": "b"}})).status == 409
    await api.client.ask("PATCH", f"{SPACE}/backups/a", {"metadata": {"finalizers": []}})
    await trio.sleep(5)
    assert await gone(api, "/api/v1/customkinds/backups")
    assert [entry.key for entry in (await api.objects.store.list("/object/backups/")).entries] == []


async def test_nothing_is_written_where_nothing_is_to_go(api: Api) -> None:
    owner = await made(api, MAPS, config("owner"))
    await made(api, MAPS, config("child", owner, finalizers=[{"name": "hold", "owner": "me"}]))
    await made(api, MAPS, config("going", finalizers=[{"name": "hold", "owner": "me"}]))
    await api.client.ask("DELETE", f"{MAPS}/going")
    await trio.sleep(10)
    revision = (await api.objects.store.get("/")).revision
    await trio.sleep(300)
    assert (await api.objects.store.get("/")).revision == revision


def event(at_seconds_ago: float, number: int) -> Event:
    at = trio_time() - timedelta(seconds=at_seconds_ago)
    stamp = int(at.timestamp() * 1000)
    uid = UUID(int=(stamp << 80) | (7 << 76) | (2 << 62) | number)
    return Event(uid=Uid(str(uid)), namespace="default", subject="workload/web", reason="Old", message="", at=at)


@pytest.mark.slow
async def test_old_events_are_forgotten(api: Api) -> None:
    api.management.collector.keep_events = timedelta(seconds=900)
    for number, age in enumerate((1000, 2000, 100, 60)):
        one = event(age, number)
        await api.objects.store.put(f"/event/default/{one.uid}", to_json(one))
    await trio.sleep(650)
    assert len([each for each in await api.orchestrator.events() if each.reason == "Old"]) == 2
    await trio.sleep(600)
    assert [each for each in await api.orchestrator.events() if each.reason == "Old"] == []


@pytest.mark.slow
@pytest.mark.parametrize("done_first", [False, True])
@pytest.mark.parametrize("failing", range(5))
async def test_a_step_that_fails_before_or_after_it_is_done_is_made_up_for(
    api: Api, monkeypatch: pytest.MonkeyPatch, failing: int, *, done_first: bool
) -> None:
    """Whoever is stopped in the middle leaves the same behind, because nothing but what is there is thought of."""
    do, steps = Collector._do, list[Step]()

    async def failing_once(self: Collector, step: Step) -> None:
        steps.append(step)
        if len(steps) == failing + 1:
            if done_first:
                await do(self, step)
            raise Unavailable("the store does not answer")
        await do(self, step)

    monkeypatch.setattr(Collector, "_do", failing_once)
    shop = "/api/v1/namespaces/shop"
    await made(api, "/api/v1/namespaces", {"metadata": {"name": "shop"}})
    top = await made(api, f"{shop}/configmaps", config("top"))
    await made(api, f"{shop}/configmaps", config("child", top))
    await made(api, f"{shop}/workloads", workload("web", top))
    await made(api, MAPS, config("outside"))
    await api.client.ask("DELETE", f"{shop}/configmaps/top?cascade=foreground")
    await trio.sleep(0.1)
    await api.client.ask("DELETE", shop)
    await trio.sleep(90)
    assert len(steps) > failing
    assert await gone(api, shop)
    left = [entry.key for entry in (await api.objects.store.list("/")).entries if "/shop" in entry.key]
    assert [key for key in left if not key.startswith("/event/")] == []
    assert await names(api) == ["outside"]


KIND = {
    "metadata": {"name": "backup-kind"},
    "spec": {"kind": "Backup", "plural": "backups", "schema": {"type": "object"}},
}
BACKUPS = f"{SPACE}/backups"


def backup(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {}}


async def orphans(api: Api) -> list[str]:
    """Return the keys of objects of the kind that is gone."""
    assert await gone(api, "/api/v1/customkinds/backup-kind")
    return [entry.key for entry in (await api.objects.store.list("/object/backups/")).entries]


@pytest.mark.parametrize("seconds", [0.0, 10.0])
@pytest.mark.parametrize("way", ["create", "apply", "bulk"])
async def test_an_object_that_is_made_while_its_kind_is_removed_is_not_left_over(
    api: Api, way: str, seconds: float
) -> None:
    await made(api, "/api/v1/customkinds", KIND)
    admit, removed = api.objects.writer.admit, trio.Event()

    async def slowly(review: Review) -> Document:
        document = await admit(review)
        if review.kind.name == "Backup" and not removed.is_set():
            removed.set()
            await api.client.ask("DELETE", "/api/v1/customkinds/backup-kind")
            await trio.sleep(seconds)
        return document

    api.objects.writer.admit = slowly
    if way == "create":
        answer = await api.client.ask("POST", BACKUPS, backup("late"))
    elif way == "apply":
        answer = await api.client.ask(
            "PATCH", f"{BACKUPS}/late", backup("late"), content_type="application/apply-patch+json"
        )
    else:
        answer = await api.client.ask("POST", "/api/v1/apply", {"items": [{"kind": "Backup", **backup("late")}]})
    assert answer.status in (404, 409)
    await trio.sleep(10)
    assert await orphans(api) == []


@pytest.mark.slow
async def test_objects_that_come_in_while_their_kind_is_removed_go_with_it(api: Api) -> None:
    for delay in range(0, 40, 4):
        await made(api, "/api/v1/customkinds", KIND)
        answers = list[int]()

        async def make(name: str, answers: list[int] = answers) -> None:
            answers.append((await api.client.ask("POST", BACKUPS, backup(name))).status)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(make, f"b{number}")
            for _ in range(delay):
                await trio.lowlevel.checkpoint()
            await api.client.ask("DELETE", "/api/v1/customkinds/backup-kind")
        assert set(answers) <= {201, 404, 409}
        await trio.sleep(10)
        assert await orphans(api) == []


class Interrupted(MemoryStore):
    """A store in which something else happens right before an object of the kind is written."""

    changes: list[str]
    api: Api

    async def transaction(self, compares: Sequence[Compare], operations: Sequence[Operation], /) -> Revision:
        if self.changes and any(each.key.startswith("/object/backups/") for each in operations):
            labels = {"metadata": {"labels": {"changes": str(len(self.changes))}}}
            path = self.changes.pop()
            await self.api.client.ask("PATCH", path, labels, content_type="application/merge-patch+json")
        return await super().transaction(compares, operations)


async def test_a_kind_or_a_namespace_that_is_changed_meanwhile_refuses_nothing(autojump_clock: MockClock) -> None:
    store = Interrupted()
    store.changes = []
    async with api_served(store=store) as api:
        store.api = api
        await made(api, "/api/v1/customkinds", KIND)
        store.changes = ["/api/v1/customkinds/backup-kind", SPACE]
        await made(api, BACKUPS, backup("one"))
    assert not store.changes


async def test_what_something_else_owns_too_is_left_to_it_by_a_foreground_removal(api: Api) -> None:
    first, second = [await made(api, MAPS, config(name)) for name in ("first", "second")]
    await made(api, MAPS, config("child", first, second))
    await made(api, MAPS, config("own", first))
    await api.client.ask("DELETE", f"{MAPS}/first?cascade=foreground")
    await trio.sleep(10)
    assert await names(api) == ["child", "second"]
    child = (await api.client.ask("GET", f"{MAPS}/child")).json
    assert [owner["name"] for owner in child["metadata"]["owners"]] == ["second"]


async def test_owners_that_go_together_take_what_both_own_with_them(api: Api) -> None:
    first, second = [await made(api, MAPS, config(name)) for name in ("first", "second")]
    claim = [{"name": "done", "owner": "me"}]
    await made(api, MAPS, config("child", first, second, finalizers=claim))
    for name in ("first", "second"):
        await api.client.ask("DELETE", f"{MAPS}/{name}?cascade=foreground")
    await trio.sleep(10)
    assert await names(api) == ["child", "first", "second"]
    await api.client.ask("PATCH", f"{MAPS}/child", {"metadata": {"finalizers": []}})
    await trio.sleep(10)
    assert await names(api) == []


@pytest.mark.parametrize("length", [1, 2, 5])
async def test_objects_that_own_each_other_in_a_circle_go(api: Api, length: int) -> None:
    members = [await made(api, MAPS, config(f"m{number}")) for number in range(length)]
    for number, owner in enumerate(members):
        owners = {"metadata": owned_by(owner)}
        await api.client.ask("PATCH", f"{MAPS}/m{(number + 1) % length}", owners)
    await made(api, MAPS, config("leaf", members[-1]))
    await api.client.ask("DELETE", f"{MAPS}/m0?cascade=foreground")
    await trio.sleep(30)
    assert await names(api) == []


async def test_what_waits_for_a_circle_goes_after_it(api: Api) -> None:
    """Nobody but those in the circle is let off waiting."""
    top = await made(api, MAPS, config("top"))
    one = await made(api, MAPS, config("one", top, finalizers=[{"name": "done", "owner": "me"}]))
    other = await made(api, MAPS, config("other", one))
    both = {"metadata": {"owners": [*owned_by(top)["owners"], *owned_by(other)["owners"]]}}
    await api.client.ask("PATCH", f"{MAPS}/one", both)
    for name in ("other", "top"):
        await api.client.ask("DELETE", f"{MAPS}/{name}?cascade=foreground")
    await trio.sleep(30)
    assert await names(api) == ["one", "top"]
    await api.client.ask("PATCH", f"{MAPS}/one", {"metadata": {"finalizers": []}})
    await trio.sleep(30)
    assert await names(api) == []


async def test_a_store_that_does_not_answer_after_a_removal_is_no_end_of_removing(api: Api) -> None:
    top = await made(api, MAPS, config("top"))
    middle = await made(api, MAPS, config("middle", top))
    await made(api, MAPS, config("bottom", middle))
    collector = Collector(api.objects)
    get, failed = api.objects.store.get, list[str]()

    async def unavailable(key: str, **options: Any) -> Any:
        if key == "/":
            failed.append(key)
            raise Unavailable("not now")
        return await get(key, **options)

    await api.client.ask("DELETE", f"{MAPS}/top")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(api.objects.store, "get", unavailable)
        await collector.collect()
    assert failed
    await trio.sleep(10)
    assert await names(api) == []


async def test_a_namespace_leaves_nothing_behind(api: Api) -> None:
    await made(api, "/api/v1/namespaces", {"metadata": {"name": "team"}})
    space = "/api/v1/namespaces/team"
    await made(api, f"{space}/resourcequotas", {"metadata": {"name": "all"}, "spec": {"hard": {"instances": 4}}})
    await made(api, f"{space}/workloads", workload())
    await trio.sleep(10)
    await api.client.ask("DELETE", space)
    await trio.sleep(120)
    assert await gone(api, space)
    assert [entry.key for entry in (await api.objects.store.list("/")).entries if "/team" in entry.key] == []


async def test_when_a_workload_was_asked_to_go_is_kept(api: Api) -> None:
    """It is neither when it was last changed nor when it was asked again, and what it still holds changes nothing."""
    await made(api, WORKLOADS, workload(finalizers=[{"name": "done", "owner": "me"}]))
    await trio.sleep(5_000)
    asked = trio_time()
    for _ in range(2):
        await api.client.ask("DELETE", f"{WORKLOADS}/web")
        await trio.sleep(100)
    since = (await api.client.ask("GET", f"{WORKLOADS}/web")).json["metadata"]["deleting_since"]
    assert abs(datetime.fromisoformat(since) - asked) < timedelta(seconds=1)


def put_down(records: Records) -> list[tuple[str, str, str, str, bool]]:
    assert {each.principal for each in records.kept} <= {"system:collector"}
    assert all(each.from_revision for each in records.kept)
    return sorted((each.verb, each.resource, each.name, each.reason, each.to_revision > 0) for each in records.kept)


async def test_what_goes_after_its_owner_is_on_record(api: Api) -> None:
    records = api.management.collector.recorder = Records()
    top = await made(api, MAPS, config("top"))
    middle = await made(api, MAPS, config("middle", top))
    await made(api, MAPS, config("bottom", middle))
    await api.client.ask("DELETE", f"{MAPS}/top")
    await trio.sleep(5)
    why = "its owners are gone"
    assert put_down(records) == [
        ("delete", "configmaps", "bottom", why, False),
        ("delete", "configmaps", "middle", why, False),
    ]


async def test_what_goes_before_its_owner_is_on_record_with_whose_going_it_is(api: Api) -> None:
    records = api.management.collector.recorder = Records()
    top = await made(api, MAPS, config("top"))
    await made(api, MAPS, config("child", top))
    await api.client.ask("DELETE", f"{MAPS}/top?cascade=foreground")
    await trio.sleep(5)
    assert put_down(records) == [("delete", "configmaps", "child", "its owner ConfigMap top goes", False)]


async def test_what_goes_with_its_namespace_is_on_record(api: Api) -> None:
    records = api.management.collector.recorder = Records()
    await made(api, "/api/v1/namespaces", {"metadata": {"name": "shop"}})
    await made(api, "/api/v1/namespaces/shop/configmaps", config("settings"))
    await made(api, "/api/v1/namespaces/shop/workloads", workload())
    await trio.sleep(5)
    await api.client.ask("DELETE", "/api/v1/namespaces/shop")
    await trio.sleep(60)
    why = "its namespace shop goes"
    # A workload is still there at first: it has to stop.
    assert put_down(records) == [
        ("delete", "configmaps", "settings", why, False),
        ("delete", "workloads", "web", why, True),
    ]


async def test_a_finalizer_that_is_waited_for_no_longer_is_on_record(api: Api) -> None:
    records = api.management.collector.recorder = Records()
    late = {"name": "backup", "owner": "db-tool", "deadline": (trio_time() + timedelta(seconds=10)).isoformat()}
    await made(api, MAPS, config("gone", finalizers=[late]))
    await made(api, MAPS, config("held", finalizers=[late, {"name": "more", "owner": "me"}]))
    for name in ("gone", "held"):
        await api.client.ask("DELETE", f"{MAPS}/{name}")
    await trio.sleep(20)
    why = "the deadline of finalizer backup of db-tool has passed"
    assert put_down(records) == [
        ("delete", "configmaps", "gone", why, False),
        ("update", "configmaps", "held", why, True),
    ]


async def test_what_can_not_go_on_record_stays(api: Api) -> None:
    owner = await made(api, MAPS, config("owner"))
    await made(api, MAPS, config("child", owner))
    records = api.management.collector.recorder = Records(failure=Unavailable("the disk is full"))
    await api.client.ask("DELETE", f"{MAPS}/owner")
    await trio.sleep(60)
    assert await names(api) == ["child"]
    records.failure = None
    await trio.sleep(60)
    assert await names(api) == []
