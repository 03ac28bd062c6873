"""Quotas: never exceeded, whoever asks at the same time; counted anew from what is on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import trio
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from orchestrion.control_plane._admission.amounts import sum_of
from orchestrion.control_plane._objects.kinds import NAMESPACE, RESOURCE_QUOTA
from orchestrion.control_plane._service.intent import Intent
from orchestrion.control_plane._service.workloads import no_turn
from orchestrion.mocks import MockClusterManager
from orchestrion.orchestrator_core import WorkloadName, claimed_now
from orchestrion.shared_types import (
    Conflict,
    ContainerConfig,
    Metadata,
    Node,
    NodeId,
    NotFound,
    OrchestrationError,
    QuotaExceeded,
    Resources,
    RestartPolicy,
    WorkloadDefinition,
    WorkloadKind,
    WorkloadNotFound,
)
from trio.testing import MockClock

from .api_stage import Answer, Api, api_served

QUOTAS = "/api/v1/namespaces/default/resourcequotas"
WORKLOADS = "/api/v1/namespaces/default/workloads"
INTENT = Intent()


def quota(name: str = "team", /, **hard: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"hard": hard}}


def workload(name: str = "web", cpu: str = "1", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "main", "command": ["run"], "resources": {"cpu": cpu, "memory": "1Mi"}}]
    return {"metadata": {"name": name}, "spec": {"kind": "service", "containers": containers, **spec}}


def definition(name: str = "web", cpu: int = 1000, namespace: str = "default", **fields: Any) -> WorkloadDefinition:
    container = ContainerConfig(name="main", command=("run",), resources=Resources(cpu_millicores=cpu))
    return WorkloadDefinition(
        metadata=Metadata(name=name, namespace=namespace),
        containers=(container,),
        restart=RestartPolicy(jitter=0.0),
        **fields,
    )


async def test_more_than_is_granted_is_refused_with_what_is_used_and_asked(api: Api) -> None:
    await api.client.ask("POST", QUOTAS, quota(cpu="3"))
    assert (await api.client.ask("POST", WORKLOADS, workload(replicas=2))).status == 201
    refused = await api.client.ask("POST", WORKLOADS, workload("more", replicas=2))
    assert refused.status == 403
    assert refused.json["code"] == "quota-exceeded"
    assert refused.json["message"] == (
        "quota 'team' of namespace 'default' grants 3 of cpu: 2 is used, and 2 more is asked for"
    )
    assert (await api.client.ask("GET", f"{WORKLOADS}/more")).status == 404


async def test_every_way_of_asking_for_more_is_counted(api: Api) -> None:
    control = api.management.control
    await api.client.ask("POST", QUOTAS, quota(cpu="3"))
    await control.apply([definition(replicas=2)])
    with pytest.raises(QuotaExceeded):
        await control.apply([definition(replicas=4)])
    with pytest.raises(QuotaExceeded):
        await control.scale("web", 4)
    with pytest.raises(QuotaExceeded):
        await control.apply([definition("more", cpu=3000)], dry_run=True)
    patched = await api.client.ask("PATCH", f"{WORKLOADS}/web", {"spec": {"replicas": 9}})
    assert patched.status == 403
    assert (await control.scale("web", 3)).replicas == 3


async def test_whoever_asks_for_less_is_never_refused(api: Api) -> None:
    control = api.management.control
    await control.apply([definition(replicas=5)])
    await api.client.ask("POST", QUOTAS, quota(cpu="1"))
    assert (await control.scale("web", 4)).replicas == 4
    await control.apply([definition(replicas=3, cpu=900)])
    with pytest.raises(QuotaExceeded):
        await control.apply([definition(replicas=3, cpu=901)])


async def test_what_is_limited_may_be_counts_and_extended_resources(api: Api) -> None:
    control = api.management.control
    await api.client.ask("POST", QUOTAS, quota(instances=3, workloads=2, gpus=0))
    await control.apply([definition("a", replicas=1), definition("b", replicas=2)])
    with pytest.raises(QuotaExceeded, match="grants 3 of instances"):
        await control.scale("a", 2)
    with pytest.raises(QuotaExceeded, match="2 of workloads"):
        await control.apply([definition("c", replicas=0)])


KNOWN = "There are: cpu, memory, disk, gpus, instances, workloads. What no node has yet is named with a slash"


@pytest.mark.parametrize(
    ("name", "told"), [("memroy", "did you mean 'memory'?"), ("podss", "known: "), ("licences", "known: ")]
)
async def test_a_resource_that_nobody_has_is_refused_with_those_that_there_are(api: Api, name: str, told: str) -> None:
    refused = await api.client.ask("POST", QUOTAS, quota(cpu=1, **{name: 1}))
    assert (refused.status, refused.json["code"]) == (400, "config-invalid")
    ((problem,), detail) = (refused.json["fields"]["problems"], refused.json["detail"])
    assert problem["path"] == f"spec.hard.{name}"
    assert f"unknown resource '{name}'" in problem["message"]
    assert told in problem["message"]
    assert KNOWN in detail
    assert (await api.client.ask("GET", f"{QUOTAS}/team")).status == 404


async def test_what_a_node_has_and_what_may_come_with_one_is_limited(api: Api) -> None:
    cluster = api.orchestrator.cluster
    assert isinstance(cluster, MockClusterManager)
    assert (await api.client.ask("POST", QUOTAS, quota("own", **{"example.org/seats": 2}))).status == 201
    cluster.add_node(Node(id=NodeId("big"), name="big", capacity=Resources(extended={"licences": 4})))
    await trio.sleep(1)
    assert (await api.client.ask("POST", QUOTAS, quota(licences=2))).status == 201
    asking = ContainerConfig(name="main", command=("run",), resources=Resources(extended={"licences": 3}))
    with pytest.raises(QuotaExceeded, match="grants 2 of licences"):
        await api.management.control.apply([evolve(definition(), containers=(asking,))])
    cluster.remove_node(NodeId("big"))
    await trio.sleep(1)
    changed = await api.client.ask("PATCH", f"{QUOTAS}/team", {"spec": {"hard": {"licences": 3}}})
    assert changed.status == 200, "of what it has spoken before it may speak"
    assert (await api.client.ask("POST", QUOTAS, quota("more", licences=2))).status == 400


@pytest.mark.parametrize("part", ["default", "min", "max"])
async def test_a_limit_range_speaks_of_resources_that_there_are_too(api: Api, part: str) -> None:
    spec = {"metadata": {"name": "small"}, "spec": {part: {"instances": 1}}}
    refused = await api.client.ask("POST", "/api/v1/namespaces/default/limitranges", spec)
    assert (refused.status, refused.json["fields"]["problems"][0]["path"]) == (400, f"spec.{part}.instances")


async def test_all_quotas_of_a_namespace_hold_and_those_of_others_do_not(api: Api) -> None:
    control = api.management.control
    await api.client.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    await api.client.ask("POST", QUOTAS, quota("wide", cpu="10"))
    await api.client.ask("POST", QUOTAS, quota("tight", cpu="1"))
    with pytest.raises(QuotaExceeded, match="'tight'"):
        await control.apply([definition(replicas=2)])
    await control.apply([definition(replicas=2, namespace="other")])


async def test_what_is_over_is_free_again_and_what_runs_again_is_counted_again(api: Api) -> None:
    control = api.management.control
    await api.client.ask("POST", QUOTAS, quota(cpu="2"))
    ended = evolve(definition("job", cpu=2000), kind=WorkloadKind.BATCH, completions=1)
    ended = evolve(ended, containers=(evolve(ended.containers[0], command=("exit", "0")),))
    await control.apply([ended])
    with pytest.raises(QuotaExceeded):
        await control.apply([definition()])
    await trio.sleep(60)
    await control.apply([definition("web", replicas=2)])
    await control.apply([ended])  # it is left as it ended
    with pytest.raises(QuotaExceeded):
        await control.apply([ended], rerun=True)
    await control.stop("web")
    await trio.sleep(60)
    await control.apply([ended], rerun=True)
    with pytest.raises(QuotaExceeded):
        await control.apply([definition("web", replicas=2)])


async def test_a_workload_needs_its_namespace(api: Api) -> None:
    with pytest.raises(NotFound, match="there is no namespace 'nowhere'"):
        await api.management.control.apply([definition(namespace="nowhere")])
    refused = await api.client.ask("POST", "/api/v1/namespaces/nowhere/workloads", workload())
    assert refused.status == 404


async def test_what_is_used_is_shown_and_nothing_is_written_once_it_is(api: Api) -> None:
    await api.client.ask("POST", QUOTAS, quota(cpu="8", memory="1Gi", instances=10, **{"a/fpga": 1}))
    await api.client.ask("POST", WORKLOADS, workload(cpu="500m", replicas=3))
    await trio.sleep(10)
    shown = (await api.client.ask("GET", f"{QUOTAS}/team")).json
    assert shown["status"]["used"] == {"cpu": "1500m", "memory": "3Mi", "instances": "3", "a/fpga": "0"}
    assert shown["metadata"]["generation"] == 1
    revision = (await api.objects.store.get("/")).revision
    await trio.sleep(600)
    assert (await api.objects.store.get("/")).revision == revision
    await api.client.ask("DELETE", f"{WORKLOADS}/web")
    await trio.sleep(60)
    assert (await api.client.ask("GET", f"{QUOTAS}/team")).json["status"]["used"]["cpu"] == "0"


async def test_a_change_of_many_namespaces_with_quotas_is_made_as_a_whole(api: Api) -> None:
    for name in ("one", "two", "three"):
        await api.objects.create(NAMESPACE, "", {"metadata": {"name": name}}, INTENT)
        await api.objects.create(RESOURCE_QUOTA, name, quota(workloads=20), INTENT)
    many = [definition(f"w{n}", replicas=0, namespace=("one", "two", "three")[n % 3]) for n in range(63)]
    with pytest.raises(QuotaExceeded):
        await api.management.control.apply(many)
    assert await api.management.control.list_workloads() == []
    await api.management.control.apply(many[:60])
    assert len(await api.management.control.list_workloads()) == 60


@pytest.mark.parametrize("takes_turns", [True, False])
async def test_manifests_applied_at_the_same_time_never_exceed_a_quota(api: Api, takes_turns: bool) -> None:
    await api.client.ask("POST", QUOTAS, quota(workloads=60))
    if not takes_turns:
        api.objects.workloads.turn = no_turn
    answers = list[Answer]()

    async def apply(first: str) -> None:
        items = [{"kind": "Workload", **workload(f"{first}{n}", replicas=0)} for n in range(40)]
        answers.append(await api.client.ask("POST", "/api/v1/apply", {"items": items}))

    async with trio.open_nursery() as nursery:
        for first in "abc":
            nursery.start_soon(apply, first)
    assert sorted(answer.status for answer in answers) == [200, 403, 403]
    assert len(api.orchestrator.world.workloads) == 40


NAMES = st.sampled_from(["a", "b", "c"])
CHANGES = st.one_of(
    st.tuples(st.just("apply"), NAMES, st.integers(0, 4), st.sampled_from([250, 500, 1000])),
    st.tuples(st.just("scale"), NAMES, st.one_of(st.none(), st.integers(0, 5)), st.just(0)),
    st.tuples(st.just("stop"), NAMES, st.just(0), st.just(0)),
    st.tuples(st.just("remove"), NAMES, st.just(0), st.just(0)),
)
HARD = {"cpu": 2000, "instances": 5}


def on_record(api: Api) -> Mapping[str, int]:
    """Sum up what the workloads on record ask for, without what the gate remembers."""
    world = api.orchestrator.world
    cpu = instances = 0
    for name, record in world.workloads.items():
        if record.spec is not None:
            claimed = claimed_now(world, WorkloadName(*name), 2)
            cpu += claimed * sum_of(record.spec.definition.containers).get("cpu", 0)
            instances += claimed
    return {"cpu": cpu, "instances": instances}


async def test_two_changes_do_not_pass_together_even_where_nobody_waits_for_a_turn(api: Api) -> None:
    await api.client.ask("POST", QUOTAS, quota(cpu="3"))
    refused = list[str]()

    async def apply(name: str) -> None:
        try:
            await api.orchestrator.apply([definition(name, replicas=2)], gate=api.management.control.gate)
        except QuotaExceeded:
            refused.append(name)

    async with trio.open_nursery() as nursery:
        for name in ("a", "b", "c"):
            nursery.start_soon(apply, name)
    assert len(refused) == 2
    assert on_record(api)["cpu"] == 2000


async def change(api: Api, what: str, name: str, number: Any, cpu: int) -> None:
    control = api.management.control
    try:
        match what:
            case "apply":
                await control.apply([definition(name, cpu=cpu, replicas=number)])
            case "scale":
                await control.scale(name, number)
            case "stop":
                await control.stop(name)
            case "remove":
                await control.remove(name)
    except (QuotaExceeded, WorkloadNotFound, Conflict):
        pass
    except OrchestrationError as err:
        raise AssertionError(f"{what} {name}") from err


@given(rounds=st.lists(st.lists(CHANGES, min_size=1, max_size=5), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
@pytest.mark.slow
def test_changes_at_the_same_time_never_exceed_a_quota(rounds: Sequence[Sequence[Any]]) -> None:
    async def run() -> None:
        async with api_served() as api:
            granted = quota(cpu="2", instances=HARD["instances"])
            await api.objects.create(RESOURCE_QUOTA, "default", granted, INTENT)
            for changes in rounds:
                async with trio.open_nursery() as nursery:
                    for each in changes:
                        nursery.start_soon(change, api, *each)
                used = api.management.control.gate.used("default")
                counted = on_record(api)
                assert all(counted[name] <= HARD[name] for name in HARD), (counted, changes)
                assert {name: used.get(name, 0) for name in HARD} == counted
                await trio.sleep(0.5)

    trio.run(run, clock=MockClock(autojump_threshold=0))
