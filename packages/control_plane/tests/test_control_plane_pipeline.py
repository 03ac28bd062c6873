"""What every request goes through: ids, limits, the record of it, counts, the log, health."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import trio
from attrs import define, field
from orchestrion.control_plane._identity.audit_records import AuditRecord, Outcome
from orchestrion.control_plane._identity.principals import Principal, PrincipalKind
from orchestrion.control_plane._limits import DEFAULT_LANES, Lane, LaneSize, Limits, Rate
from orchestrion.control_plane._limits.limits import LaneLimits
from orchestrion.control_plane._telemetry.access_log import AccessLog
from orchestrion.control_plane._web.sources import networks_of
from orchestrion.orchestrator_core import WorkloadName
from orchestrion.shared_types import ConfigInvalid, OrchestrationError, StateFailure

from .api_stage import Api

MAPS = "/api/v1/namespaces/default/configmaps"


@define
class Records:
    """Keeps records, or fails to."""

    kept: list[AuditRecord] = field(factory=list)
    error: OrchestrationError | None = None
    failure: OrchestrationError | None = None

    async def write(self, record: AuditRecord, /) -> int:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        self.kept.append(record)
        return len(self.kept)


def config(name: str = "settings", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"data": data}}


@pytest.fixture
def records(api: Api) -> Records:
    records = Records()
    api.server.oversight.pipeline.recorder = records
    return records


async def test_an_answer_has_the_id_of_its_request(api: Api) -> None:
    given = await api.client.ask("GET", MAPS, x_request_id="mine-1")
    assert given.headers["x-request-id"] == "mine-1"
    made = [(await api.client.ask("GET", MAPS)).headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    odd = await api.client.ask("GET", MAPS, x_request_id="a" * 65)
    assert odd.headers["x-request-id"] != "a" * 65


async def test_a_change_is_on_record_with_both_revisions(api: Api, records: Records) -> None:
    made = await api.client.ask("POST", MAPS, config(a="1"), x_request_id="one")
    changed = await api.client.ask("PATCH", f"{MAPS}/settings", {"spec": {"data": {"a": "2"}}})
    await api.client.ask("DELETE", f"{MAPS}/settings")
    create, patch, delete = records.kept
    first, second = (answer.json["metadata"]["revision"] for answer in (made, changed))
    assert (create.verb, create.resource, create.namespace, create.name) == (
        "create",
        "configmaps",
        "default",
        "settings",
    )
    assert (create.from_revision, create.to_revision, create.outcome) == (0, first, Outcome.DONE)
    assert (create.principal, create.request_id, create.source) == ("user:admin", "one", "127.0.0.1")
    assert (patch.from_revision, patch.to_revision) == (first, second)
    assert (delete.from_revision, delete.to_revision, delete.name) == (second, 0, "settings")


async def test_reading_is_on_record_only_where_it_is_refused(api: Api, records: Records) -> None:
    await api.client.ask("GET", MAPS)
    assert records.kept == []
    api.keeper.principals["eve"] = Principal("eve")
    assert (await api.as_("eve").ask("GET", f"{MAPS}/x")).status == 403
    assert (await api.as_("").ask("GET", f"{MAPS}/x")).status == 401
    denied, unknown = records.kept
    assert (denied.principal, denied.outcome, denied.verb, denied.name) == ("user:eve", Outcome.DENIED, "get", "x")
    assert (unknown.principal, unknown.outcome) == ("", Outcome.UNAUTHENTICATED)


async def test_a_long_name_fills_no_disk(api: Api, records: Records) -> None:
    assert (await api.as_("").ask("GET", f"{MAPS}/{'x' * 7_000}")).status == 401
    (record,) = records.kept
    assert (len(record.name), record.name[-4:]) == (515, "x...")


async def test_what_failed_and_what_was_only_tried_is_on_record_as_that(api: Api, records: Records) -> None:
    await api.client.ask("POST", MAPS, {"metadata": {"name": "Bad Name"}})
    await api.client.ask("POST", f"{MAPS}?dry_run=true", config())
    failed, tried = records.kept
    assert (failed.outcome, failed.to_revision, failed.reason) == (Outcome.FAILED, 0, "config-invalid")
    assert (tried.outcome, tried.to_revision, tried.reason) == (Outcome.DONE, 0, "dry run")


async def test_what_only_looks_like_a_trial_is_not_on_record_as_one(api: Api, records: Records) -> None:
    await api.client.ask("POST", MAPS, config(a="1"))
    for query in ("x=dry_run=true", "dry_run=false&x=dry_run=true", "cascade=dry_run=true"):
        assert (await api.client.ask("DELETE", f"{MAPS}/settings?{query}")).status == 400
    done = await api.client.ask("DELETE", f"{MAPS}/settings?dry_run=false", x_request_id="dry_run=true")
    assert done.status == 200
    _, *refused, delete = records.kept
    assert [(each.outcome, each.reason) for each in refused] == [(Outcome.FAILED, "config-invalid")] * 3
    assert (delete.outcome, delete.reason) == (Outcome.DONE, "")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/api/v1/namespaces/default/workloads/web/scale", {"replicas": 5}),
        ("POST", "/api/v1/namespaces/default/workloads/web/stop", None),
        ("POST", "/api/v1/namespaces/default/workloads/web/start", None),
        ("POST", "/api/v1/nodes/mock-0/cordon", None),
        ("DELETE", "/v1/workload", None),
    ],
)
async def test_what_cant_be_tried_is_refused_as_a_trial(
    api: Api, records: Records, method: str, path: str, body: Any
) -> None:
    spec = {"containers": [{"name": "main", "command": ["run"]}]}
    await api.client.ask("POST", "/api/v1/namespaces/default/workloads", {"metadata": {"name": "web"}, "spec": spec})
    records.kept.clear()
    refused = await api.client.ask(method, f"{path}?name=web&dry_run=true", body)
    assert refused.status == 400
    assert "dry_run" in refused.json["detail"]
    control = api.orchestrator.world.workloads[WorkloadName("default", "web")].control
    assert (control.replicas, control.stopped, control.removed) == (None, False, False)
    (failed,) = records.kept
    assert (failed.outcome, failed.reason) == (Outcome.FAILED, "config-invalid")


@pytest.mark.parametrize("query", ["dry_run=1", "dry_run=", "dry_run=true&dry_run=false", "dry_run=false&dry_run=true"])
async def test_a_trial_that_is_not_said_clearly_is_refused(api: Api, query: str) -> None:
    await api.client.ask("POST", MAPS, config(a="1"))
    answer = await api.client.ask("PATCH", f"{MAPS}/settings?{query}", {"spec": {"data": {"a": "2"}}})
    assert answer.status == 400
    assert (await api.client.ask("GET", f"{MAPS}/settings")).json["spec"]["data"] == {"a": "1"}


async def test_what_cant_go_on_record_is_not_done(api: Api, records: Records) -> None:
    records.failure = StateFailure("the disk is gone")
    assert (await api.client.ask("POST", MAPS, config())).status == 500
    assert (await api.client.ask("GET", f"{MAPS}/settings")).status == 404


async def test_what_could_not_be_put_on_record_is_not_called_done(api: Api, records: Records) -> None:
    records.error = StateFailure("the disk is full")
    answer = await api.client.ask("POST", MAPS, config())
    assert answer.status == 500
    assert "on record" in answer.json["detail"]
    assert api.server.oversight.pipeline.counts.not_recorded == 1


def narrow(api: Api, lane: Lane, **limits: Any) -> None:
    lanes = {
        **DEFAULT_LANES,
        lane: LaneLimits(limits.get("rate", Rate(1000, 1000)), limits.get("size", LaneSize(9, 9, 9))),
    }
    api.server.oversight.pipeline.limits = Limits(lanes)


async def test_who_asks_too_often_is_told_when_to_come_again(api: Api) -> None:
    narrow(api, Lane.READ, rate=Rate(1, 2))
    answers = [await api.client.ask("GET", MAPS) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].headers["retry-after"] == "1"
    assert (await api.client.ask("POST", MAPS, config())).status == 201, "another lane"
    await trio.sleep(1)
    assert (await api.client.ask("GET", MAPS)).status == 200


async def test_who_shows_nothing_is_counted_by_address(api: Api, records: Records) -> None:
    statuses = [(await api.as_("wrong").ask("GET", MAPS)).status for _ in range(150)]
    assert statuses.count(401) == 100
    assert statuses[-1] == 429
    assert len(records.kept) == 100, "no more than that fills the disk"


async def test_nodes_are_let_in_while_others_take_all_there_is(api: Api) -> None:
    api.keeper.principals["n"] = Principal("node-00000", PrincipalKind.NODE)
    narrow(api, Lane.WRITE, rate=Rate(0.001, 1))
    path = "/api/v1/nodes/node-00000/status"
    assert (await api.client.ask("PATCH", path, {"status": {}})).status != 429
    assert (await api.client.ask("PATCH", path, {"status": {}})).status == 429
    assert (await api.as_("n").ask("PATCH", path, {"status": {}})).status != 429


async def test_a_watch_keeps_its_seat_until_it_ends(api: Api) -> None:
    narrow(api, Lane.STREAM, size=LaneSize(1, 1, 0))
    async with api.client.stream("GET", f"{MAPS}?watch=true") as (status, _, _chunks):
        assert status == 200
        assert (await api.client.ask("GET", f"{MAPS}?watch=true")).status == 429
    async with api.client.stream("GET", f"{MAPS}?watch=true") as (status, _, _chunks):
        assert status == 200


async def test_no_header_says_where_a_request_comes_from_unless_a_proxy_does(api: Api, records: Records) -> None:
    forged = {"x_forwarded_for": "10.9.9.9", "forwarded": "for=10.9.9.9", "x_real_ip": "10.9.9.9"}
    await api.client.ask("POST", MAPS, config("a"), **forged)
    api.server.oversight.pipeline.proxies = networks_of(["127.0.0.0/8", "10.1.0.0/16"])
    await api.client.ask("POST", MAPS, config("b"), x_forwarded_for="1.1.1.1, 192.0.2.7, 10.1.2.3")
    await api.client.ask("POST", MAPS, config("c"), x_forwarded_for="192.0.2.7, <b>")
    assert [record.source for record in records.kept] == ["127.0.0.1", "192.0.2.7", "127.0.0.1"]


def test_a_proxy_is_a_network() -> None:
    with pytest.raises(ConfigInvalid):
        networks_of(["10.0.0.0/8", "everywhere"])


async def test_a_request_is_a_line_of_the_log_without_its_secrets(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.server.oversight.pipeline.access_log = AccessLog()
    with caplog.at_level(logging.INFO, "orchestrion.access"):
        await api.client.ask("GET", f"{MAPS}/x?token=canary", x_request_id="r1")
    (line,) = [json.loads(record.message) for record in caplog.records if record.name == "orchestrion.access"]
    assert (line["request"], line["method"], line["path"]) == ("r1", "GET", f"{MAPS}/x")
    assert (line["status"], line["principal"]) == (400, "user:admin")
    assert "canary" not in caplog.text


async def test_a_server_says_how_it_is(api: Api) -> None:
    well = await api.as_("").ask("GET", "/healthz")
    assert well.status == 200
    assert well.json["status"] == "Healthy"
    assert set(well.json["parts"]) == {"store", "history", "leading", "nodes"}
    assert (await api.as_("").ask("GET", "/readyz")).status == 200
    assert (await api.as_("").ask("GET", "/livez")).status == 200


async def test_a_server_that_does_not_lead_is_not_ready_and_works(api: Api) -> None:
    api.orchestrator.cluster_loop.leading = trio.Event()
    assert (await api.as_("").ask("GET", "/readyz")).status == 503
    well = await api.as_("").ask("GET", "/healthz")
    assert (well.status, well.json["status"]) == (200, "Degraded")


async def test_metrics_tell_of_requests_and_of_work(api: Api) -> None:
    workload = {"metadata": {"name": "web"}, "spec": {"replicas": 2, "containers": [{"name": "m", "command": ["run"]}]}}
    await api.client.ask("POST", "/api/v1/namespaces/default/workloads", workload)
    await trio.sleep(5)
    await api.client.ask("GET", "/nowhere/at/all")
    text = (await api.client.ask("GET", "/metrics")).body.decode()
    for line in (
        'orchestrion_http_requests_total{operation="create-in-namespace",status="201"} 1.0',
        'orchestrion_http_requests_total{operation="unknown",status="404"} 1.0',
        'orchestrion_nodes{status="Ready"} 2.0',
        'orchestrion_workloads{phase="Healthy"} 1.0',
        'orchestrion_instances{state="Running"} 2.0',
        'orchestrion_workload_replicas_running{namespace="default",workload="web"} 2.0',
        "orchestrion_container_create_attempts_total 2.0",
        "orchestrion_container_create_failures_total 0.0",
        "orchestrion_leading 1.0",
    ):
        assert line in text.splitlines(), line
    assert "orchestrion_scheduling_duration_seconds_count" in text


async def test_metrics_are_not_everybodys(api: Api) -> None:
    api.keeper.principals["eve"] = Principal("eve")
    assert (await api.as_("").ask("GET", "/metrics")).status == 401
    assert (await api.as_("eve").ask("GET", "/metrics")).status == 403
