"""What containers use is told to who may see them, as far as it can be told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import trio
from orchestrion.control_plane._service.usage import usage_of
from orchestrion.mocks import ContainerWorld, MockRuntime
from orchestrion.orchestrator_core import RoutingRuntime
from orchestrion.runtime_interface import RuntimeCapability
from orchestrion.shared_types import NodeId

from .api_stage import Api
from .test_dashboard_usage import NODES, meter, running

SPACES = "/api/v1/namespaces"
USAGE = "/api/v1/cluster/usage"


async def runs(api: Api, name: str, namespace: str = "default") -> None:
    spec = {"containers": [{"name": "main", "command": ["run"], "resources": {"cpu": "250m", "memory": "64Mi"}}]}
    made = await api.client.ask(
        "POST", f"{SPACES}/{namespace}/workloads", {"metadata": {"name": name}, "spec": {"replicas": 2, **spec}}
    )
    assert made.status == 201
    await trio.sleep(10)


async def test_two_looks_tell_what_a_container_uses_now(api: Api) -> None:
    await runs(api, "web")
    first = (await api.client.ask("GET", USAGE)).json
    await trio.sleep(4)
    second = (await api.client.ask("GET", USAGE)).json
    assert (first["untold"], first["left_out"], first["untold_nodes"]) == (0, 0, [])
    assert [each["instance"] for each in first["items"]] == ["web.0.1", "web.1.1"]
    for before, now in zip(first["items"], second["items"], strict=True):
        passed = datetime.fromisoformat(now["sampled_at"]) - datetime.fromisoformat(before["sampled_at"])
        done = now["cpu_nanoseconds"] - before["cpu_nanoseconds"]
        assert round(done / passed.total_seconds() / 1e6) == 250
        assert (now["memory_bytes"], now["container"], now["attempt"]) == (64 << 20, "main", 0)


async def test_a_namespace_is_told_of_alone_and_one_that_is_not_there_has_nothing(api: Api) -> None:
    await api.client.ask("POST", SPACES, {"metadata": {"name": "theirs"}})
    await runs(api, "web")
    await runs(api, "site", "theirs")
    told = (await api.client.ask("GET", f"{USAGE}?namespace=theirs")).json
    assert {each["instance"] for each in told["items"]} == {"site.0.1", "site.1.1"}
    assert len((await api.client.ask("GET", USAGE)).json["items"]) == 4
    assert (await api.client.ask("GET", f"{USAGE}?namespace=nowhere")).json["items"] == []
    assert (await api.client.ask("GET", f"{USAGE}?namespace=a&namespace=b")).status == 400


async def test_what_can_not_be_told_is_counted_and_its_nodes_are_named() -> None:
    silent = MockRuntime(ContainerWorld(set(NODES)), capabilities=[RuntimeCapability.LOGS])
    runtime = RoutingRuntime({"process": MockRuntime(ContainerWorld(set(NODES))), "oci": silent})
    instances = await running(runtime, ("n1", "process"), ("n1", "oci"), ("n2", "process"))
    report = await usage_of(meter(runtime).orchestrator, instances)
    assert (len(report.items), report.untold, report.untold_nodes) == (2, 1, (NodeId("n1"),))


async def test_what_runs_from_elsewhere_is_not_told_here() -> None:
    runtime = MockRuntime(ContainerWorld(set(NODES)))
    instances = await running(runtime, ("n1", "process"), ("n2", "process"))
    orchestrator: Any = meter(runtime).orchestrator
    del orchestrator.node_loops[NodeId("n2")]
    report = await usage_of(orchestrator, instances)
    assert ([each.node_id for each in report.items], report.untold_nodes) == ([NodeId("n1")], (NodeId("n2"),))


async def test_who_asks_for_too_many_is_told_how_many_are_left_out() -> None:
    runtime = MockRuntime(ContainerWorld(set(NODES)))
    instances = await running(runtime, ("n1", "process"), ("n1", "process"), ("n2", "process"))
    report = await usage_of(meter(runtime).orchestrator, instances, most=2)
    assert (len(report.items), report.left_out, report.untold_nodes) == (2, 1, (NodeId("n2"),))


async def test_what_has_ended_meanwhile_uses_nothing() -> None:
    runtime = MockRuntime(ContainerWorld(set(NODES)))
    (instance,) = await running(runtime, ("n1", "process"))
    await runtime.remove_container(instance.status.containers[0].container_id)
    report = await usage_of(meter(runtime).orchestrator, [instance])
    assert (report.items, report.untold, report.untold_nodes) == ((), 0, ())
