"""What every request goes through: ids, limits, the record of it, counts, the log, health."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import trio
from orchestrion.control_plane._identity.audit_records import AuditRecord, Outcome
from orchestrion.control_plane._identity.principals import Principal, PrincipalKind
from orchestrion.control_plane._limits import DEFAULT_LANES, Lane, LaneSize, Limits, Rate
from orchestrion.control_plane._limits.limits import LaneLimits
from orchestrion.control_plane._telemetry.access_log import AccessLog
from orchestrion.control_plane._web.sources import networks_of
from orchestrion.orchestrator_core import WorkloadName
from orchestrion.shared_types import ConfigInvalid, StateFailure

from .api_stage import ADMIN, Answer, Api, Records

MAPS = "/api/v1/namespaces/default/configmaps"


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


@pytest.mark.parametrize("path", ["/v1/workload/pause", "/v1/workload/resume"])
async def test_what_cant_be_tried_is_refused_as_a_trial(api: Api, records: Records, path: str) -> None:
    spec = {"containers": [{"name": "main", "command": ["run"]}]}
    await api.client.ask("POST", "/api/v1/namespaces/default/workloads", {"metadata": {"name": "web"}, "spec": spec})
    records.kept.clear()
    refused = await api.client.ask("POST", f"{path}?name=web&dry_run=true")
    assert refused.status == 400
    assert "dry_run" in refused.json["detail"]
    control = api.orchestrator.world.workloads[WorkloadName("default", "web")].control
    assert (control.replicas, control.stopped, control.removed, control.paused) == (None, False, False, 0)
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


async def summed_up(api: Api, records: Records) -> list[AuditRecord]:
    """Return what is on record once all that was refused is."""
    await trio.sleep(60)
    await api.server.oversight.pipeline.sum_up()
    return records.kept


async def test_who_shows_nothing_is_counted_by_address(api: Api, records: Records) -> None:
    statuses = [(await api.as_("wrong").ask("GET", MAPS)).status for _ in range(101)]
    assert statuses.count(401) == 100
    assert statuses[-1] == 429
    assert [record.count for record in await summed_up(api, records)] == [1, 99], "no more than that fills the disk"


async def test_refusals_go_on_being_summed_up_as_long_as_they_come(api: Api, records: Records) -> None:
    pipeline = api.server.oversight.pipeline
    for number in range(7):
        for _ in range(3):
            assert (await api.as_("wrong").ask("GET", f"{MAPS}/m{number}")).status == 401
        await trio.sleep(20)
        await pipeline.sum_up()
    assert [(record.count, record.name) for record in records.kept] == [(1, "m0"), (8, "m2"), (9, "m5")]
    await pipeline.sum_up(at_the_end=True)
    assert (records.kept[-1].count, records.kept[-1].name) == (3, "m6")
    assert "3 more came" in records.kept[-1].reason
    await trio.sleep(120)
    await pipeline.sum_up()
    assert (await api.as_("wrong").ask("GET", f"{MAPS}/after")).status == 401
    assert (records.kept[-1].count, records.kept[-1].name) == (1, "after"), "told at once"


async def test_so_many_sources_are_known_apart_and_all_others_count_as_one(api: Api, records: Records) -> None:
    pipeline = api.server.oversight.pipeline
    pipeline.refusals.limit = 2
    pipeline.proxies = networks_of(["127.0.0.0/8"])
    for number in range(6):
        await api.as_("wrong").ask("GET", MAPS, x_forwarded_for=f"192.0.2.{number}")
    assert [record.source for record in records.kept] == ["192.0.2.0", "192.0.2.1", "192.0.2.2"]
    assert [record.count for record in (await summed_up(api, records))[3:]] == [3]


async def test_who_guesses_keeps_nobody_out_who_comes_from_the_same_address(api: Api, records: Records) -> None:
    statuses = [(await api.as_("wrong").ask("GET", MAPS)).status for _ in range(101)]
    assert statuses[-1] == 429
    assert (await api.client.ask("GET", MAPS)).status == 200


async def test_what_another_sites_page_asks_for_fills_no_disk(api: Api, records: Records) -> None:
    statuses = [(await api.as_("").ask("POST", MAPS, {}, sec_fetch_site="cross-site")).status for _ in range(101)]
    assert statuses.count(403) == 100
    assert statuses[-1] == 429
    assert [record.count for record in await summed_up(api, records)] == [1, 99]


FORM = {"content_type": "application/x-www-form-urlencoded"}


async def sign_in(api: Api, token: str, **headers: str) -> Answer:
    return await api.as_("").ask("POST", "/ui/login", f"token={token}".encode(), **FORM, **headers)


async def test_signing_in_is_on_record_and_so_is_failing_to_without_what_was_tried(api: Api, records: Records) -> None:
    assert (await sign_in(api, "canary")).status == 401
    assert (await api.as_("").ask("GET", "/ui/login?code=canary")).status == 401
    assert (await sign_in(api, "admin", sec_fetch_site="cross-site")).status == 403
    assert (await sign_in(api, "admin")).status == 200
    assert (await api.as_("").ask("GET", f"/ui/login?code={api.sessions.invite(ADMIN)}")).status == 200
    await summed_up(api, records)
    told = [(record.principal, record.verb, record.resource, record.outcome, record.count) for record in records.kept]
    failed, done = (
        ("", "create", "sessions", Outcome.UNAUTHENTICATED),
        ("user:admin", "create", "sessions", Outcome.DONE, 1),
    )
    assert told == [(*failed, 1), done, done, (*failed, 2)]
    assert {record.source for record in records.kept} == {"127.0.0.1"}
    assert "canary" not in str(records.kept)


async def test_who_tries_to_sign_in_again_and_again_is_told_when_to_come_again(api: Api, records: Records) -> None:
    answers = [await sign_in(api, "wrong") for _ in range(101)]
    assert [answer.status for answer in answers].count(401) == 100
    assert answers[-1].status == 429
    assert answers[-1].headers["retry-after"] == "1"
    links = [(await api.as_("").ask("GET", "/ui/login?code=wrong")).status for _ in range(101)]
    assert set(links) == {401, 429}
    assert [record.count for record in records.kept] == [1]
    assert (await api.as_("").ask("GET", "/ui/login")).status == 200, "the page itself is everybody's"
    assert (await api.client.ask("GET", "/ui/nodes")).status == 200, "who is known goes on"
    await trio.sleep(1)
    assert (await sign_in(api, "admin")).status == 200


async def test_nobody_signs_in_where_it_cant_go_on_record(api: Api, records: Records) -> None:
    records.failure = StateFailure("the disk is gone")
    answer = await sign_in(api, "admin")
    assert answer.status == 500
    assert "set-cookie" not in answer.headers


async def test_a_form_that_is_too_large_is_not_read(api: Api) -> None:
    assert (await sign_in(api, "a" * 20_000)).status == 413


async def test_what_a_page_is_refused_is_on_record_as_denied(api: Api, records: Records) -> None:
    api.keeper.principals["eve"] = Principal("eve")
    assert (await api.as_("eve").ask("GET", "/ui/live?output=default/web")).status == 403
    (record,) = records.kept
    assert (record.principal, record.outcome) == ("user:eve", Outcome.DENIED)


async def test_nodes_are_let_in_while_others_take_all_there_is(api: Api) -> None:
    api.keeper.principals["n"] = Principal("node-00000", PrincipalKind.NODE)
    narrow(api, Lane.WRITE, rate=Rate(0.001, 1))
    path = "/api/v1/nodes/node-00000/status"
    assert (await api.client.ask("PATCH", path, {"status": {}})).status != 429
    assert (await api.client.ask("PATCH", path, {"status": {}})).status == 429
    assert (await api.as_("n").ask("PATCH", path, {"status": {}})).status != 429


async def test_what_is_everybodys_is_answered_so_often_to_one_address_and_no_longer_at_once(api: Api) -> None:
    api.server.oversight.pipeline.limits = Limits(open=Rate(1, 3), health=Rate(1, 2))
    nobody = api.as_("")
    statuses = [(await nobody.ask("GET", "/nothing/at/all")).status for _ in range(3)]
    assert statuses == [404] * 3
    began = trio.current_time()
    refused = await nobody.ask("GET", "/livez")
    assert refused.status == 200, "how the server is, is counted on its own"
    for path in ("/openapi.json", "/nothing", "/ui/login", MAPS):
        api.server.oversight.pipeline.limits = Limits(open=Rate(0.01, 1))
        await nobody.ask("GET", "/nothing")
        began = trio.current_time()
        refused = await nobody.ask("GET", path)
        assert refused.status == 429, path
        assert 99 <= int(refused.headers["retry-after"]) <= 101
        assert refused.json["code"] == "too-many-requests"
        assert 1 <= trio.current_time() - began < 3, "it comes late, so that the next request does too"
        assert (await api.client.ask("GET", MAPS)).status == 200, "who is known goes on"
        assert (await nobody.ask("GET", "/healthz")).status == 200


async def test_who_looks_after_a_server_too_often_is_told_to_wait(api: Api) -> None:
    api.server.oversight.pipeline.limits = Limits(health=Rate(0.01, 2))
    statuses = [(await api.as_("").ask("GET", "/healthz")).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert (await api.as_("").ask("GET", "/ui/login")).status == 200


async def test_a_node_that_asks_too_often_is_told_so_at_once_and_others_late(api: Api) -> None:
    api.keeper.principals["n"] = Principal("node-00000", PrincipalKind.NODE)
    for lane in (Lane.NODE, Lane.READ):
        narrow(api, lane, rate=Rate(0.001, 1))
        who, path = (api.as_("n"), "/api/v1/nodes/node-00000") if lane is Lane.NODE else (api.client, MAPS)
        assert (await who.ask("GET", path)).status != 429
        began = trio.current_time()
        assert (await who.ask("GET", path)).status == 429
        assert (trio.current_time() - began >= 1) is (lane is Lane.READ)


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
