"""Traces: from a request to what it makes the orchestrator do, and nothing where nobody asked."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from orchestrion.control_plane._web.oversight import Oversight
from orchestrion.control_plane._web.server import ApiServer
from orchestrion.control_plane.tracing import Tracing, tracing

from .api_stage import Api, Client

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


def test_a_step_that_nobody_asked_for_is_in_no_trace() -> None:
    exporter = InMemorySpanExporter()
    with tracing(exporter=exporter) as traces, traces.step("reconcile", "default/web"):
        pass
    assert exporter.get_finished_spans() == ()


def test_what_comes_later_belongs_to_the_request_that_caused_it() -> None:
    exporter = InMemorySpanExporter()
    with tracing(exporter=exporter) as traces:
        with traces.request("POST", "r1", ""), traces.step("apply", "default/web,default/db"):
            pass
        with traces.step("reconcile", "default/db"), traces.step("schedule", "default/db"):
            pass
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"POST", "apply", "reconcile", "schedule"}
    assert len({span.context.trace_id for span in spans.values()}) == 1
    assert parent_of(spans["apply"]) == spans["POST"].context.span_id
    assert parent_of(spans["reconcile"]) == spans["apply"].context.span_id
    assert parent_of(spans["schedule"]) == spans["reconcile"].context.span_id


def test_a_failed_step_is_told_as_one() -> None:
    exporter = InMemorySpanExporter()
    with (
        pytest.raises(ZeroDivisionError),
        tracing(exporter=exporter) as traces,
        traces.request("POST", "r1", ""),
        traces.step("apply", ""),
    ):
        raise ZeroDivisionError
    assert {span.name: span.status.is_ok for span in exporter.get_finished_spans()} == {"POST": False, "apply": False}


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


async def test_a_trace_that_a_client_has_begun_goes_on_to_the_runtime(api: Api) -> None:
    exporter = InMemorySpanExporter()
    with tracing(exporter=exporter) as traces:
        workload = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "m", "command": ["run"]}]}}
        await traced(api, traces).ask(
            "POST", "/api/v1/namespaces/default/workloads", workload, traceparent=f"00-{TRACE}-{PARENT}-01"
        )
        await trio.sleep(5)
    spans = exporter.get_finished_spans()
    assert {"POST", "apply", "schedule", "create"} <= {span.name for span in spans}
    assert {f"{span.context.trace_id:032x}" for span in spans} == {TRACE}
    request = next(span for span in spans if span.name == "POST")
    assert f"{parent_of(request):016x}" == PARENT


def traced(api: Api, traces: Tracing) -> Client:
    oversight = Oversight.over(api.objects, api.keeper, tracer=traces)
    server: Any = ApiServer(api.orchestrator, api.objects, api.keeper, oversight=oversight)
    return Client(server.app())
