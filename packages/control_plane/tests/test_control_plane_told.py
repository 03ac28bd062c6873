"""What every answer tells: which trace it is part of, and how much of a limit is left."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from orchestrion.control_plane import problem_of
from orchestrion.control_plane._at_request import AtRequest, answering, at_request, trace_id_of
from orchestrion.control_plane._limits import DEFAULT_LANES, Lane, LaneSize, Limits, Rate, RateLimiter
from orchestrion.control_plane._limits.limits import LaneLimits
from orchestrion.control_plane._telemetry import logs
from orchestrion.control_plane._telemetry.access_log import AccessLog
from orchestrion.control_plane._web.oversight import Oversight
from orchestrion.control_plane._web.server import ApiServer
from orchestrion.control_plane.logs import LogForm, logging_to
from orchestrion.control_plane.tracing import tracing
from orchestrion.shared_types import NotFound

from .api_stage import Answer, Api, Client

MAPS = "/api/v1/namespaces/default/configmaps"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


async def test_an_answer_and_a_refusal_tell_the_trace_that_a_request_names(api: Api) -> None:
    done = await api.client.ask("GET", MAPS, traceparent=PARENT)
    refused = await api.client.ask("GET", f"{MAPS}/nothing", traceparent=PARENT)
    assert (done.headers["x-trace-id"], refused.headers["x-trace-id"], refused.json["trace_id"]) == (TRACE,) * 3


async def test_without_a_trace_the_id_of_the_request_is_told(api: Api) -> None:
    refused = await api.client.ask("GET", f"{MAPS}/nothing", x_request_id="mine-1", traceparent="nonsense")
    told = refused.headers["x-request-id"], refused.headers["x-trace-id"], refused.json["trace_id"]
    assert told == ("mine-1",) * 3


async def test_what_is_refused_in_the_middle_of_a_stream_tells_it_too(api: Api) -> None:
    api.keeper.principals["eve"] = api.keeper.principals["admin"]
    async with api.as_("eve").stream("GET", f"{MAPS}?watch=true", traceparent=PARENT) as (status, _, chunks):
        assert (status, json.loads(await anext(chunks))["type"]) == (200, "BOOKMARK")
        api.keeper.principals.clear()
        last = json.loads(await anext(chunks))
    assert (last["type"], last["object"]["trace_id"]) == ("ERROR", TRACE)


async def test_a_trace_that_begins_here_is_told(api: Api) -> None:
    exporter = InMemorySpanExporter()
    with tracing(exporter=exporter) as traces:
        oversight = Oversight.over(api.objects, api.keeper, tracer=traces)
        server: Any = ApiServer(api.orchestrator, api.objects, api.keeper, oversight=oversight)
        refused = await Client(server.app()).ask("GET", f"{MAPS}/nothing")
    (span,) = exporter.get_finished_spans()
    assert refused.headers["x-trace-id"] == refused.json["trace_id"] == f"{span.context.trace_id:032x}"


async def test_the_lines_of_a_request_have_its_trace(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    api.server.oversight.pipeline.access_log = AccessLog()
    monkeypatch.setattr(type(api.objects), "get", broken)
    written = io.StringIO()
    with logging_to(written, LogForm.JSON):
        assert (await api.client.ask("GET", f"{MAPS}/one", x_request_id="r", traceparent=PARENT)).status == 500
        logging.getLogger("orchestrion.control_plane").warning("of nothing")
    fault, access, other = [json.loads(line) for line in written.getvalue().splitlines()]
    assert (fault["level"], fault["request"], fault["trace_id"]) == ("error", "r", TRACE)
    assert (access["status"], access["request"], access["trace_id"]) == (500, "r", TRACE)
    assert other.keys() == {"at", "level", "logger", "message"}


def test_what_libraries_say_is_in_the_form_of_the_log_too_and_once() -> None:
    """Every line is JSON, faults with their traces as well; nothing below a warning is of libraries."""
    written, root = io.StringIO(), logging.getLogger()
    before = list(root.handlers)
    with logging_to(written, LogForm.JSON):
        library = logging.getLogger("opentelemetry.exporter.otlp")
        library.setLevel(logging.DEBUG)
        try:
            library.info("nothing that matters")
            library.warning("sending failed %d times", 3)
            try:
                raise OSError("refused")
            except OSError:
                library.exception("sending failed")
            logging.getLogger("orchestrion.server").info("serving")
            logging.getLogger("orchestrion.control_plane").warning("late")
        finally:
            library.setLevel(logging.NOTSET)
    library.warning("after that")
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    told = [(line["logger"].partition(".")[0], line["level"], line["message"].partition("\n")[0]) for line in lines]
    assert told == [
        ("opentelemetry", "warning", "sending failed 3 times"),
        ("opentelemetry", "error", "sending failed"),
        ("orchestrion", "info", "serving"),
        ("orchestrion", "warning", "late"),
    ]
    assert "OSError: refused" in lines[1]["message"]
    assert root.handlers == before


def test_what_the_log_drops_is_counted_once_and_told_in_its_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes the lines: those that find no room are a number in the last line, which is JSON as well."""
    may_write = threading.Event()

    class Late(io.StringIO):
        def write(self, text: str) -> int:
            assert may_write.wait(9)
            return super().write(text)

    written = Late()
    monkeypatch.setattr(logs, "MAX_WAITING", 2)
    with logging_to(written, LogForm.JSON):
        for name in ("orchestrion.server", "urllib3") * 5:
            logging.getLogger(name).warning("again")
        may_write.set()
    *there, last = [json.loads(line)["message"] for line in written.getvalue().splitlines()]
    assert there == ["again"] * len(there)
    assert last == f"{10 - len(there)} lines of the log were dropped: nobody took them"


async def test_what_goes_on_after_a_request_is_no_part_of_it(nursery: trio.Nursery) -> None:
    seen = list[AtRequest | None]()
    over = trio.Event()

    async def go_on() -> None:
        seen.append(at_request())
        await over.wait()
        seen.append(at_request())

    with answering(AtRequest("r", "t")) as request:
        nursery.start_soon(go_on)
        await trio.testing.wait_all_tasks_blocked()
        assert problem_of(NotFound("no"))["trace_id"] == "t"
    over.set()
    await trio.testing.wait_all_tasks_blocked()
    assert seen == [request, None]
    assert "trace_id" not in problem_of(NotFound("no"))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([PARENT], TRACE),
        ([PARENT.replace("00-", "cc-", 1)], TRACE),
        ([PARENT.replace("00-", "cc-", 1) + "-more"], TRACE),
        ([PARENT + "-more"], ""),
        ([PARENT.replace("00-", "ff-", 1)], ""),
        ([PARENT.upper()], ""),
        ([PARENT + " "], ""),
        ([f"00-{'0' * 32}-b7ad6b7169203331-01"], ""),
        ([f"00-{TRACE}-{'0' * 16}-01"], ""),
        ([PARENT, PARENT], ""),
        ([""], ""),
        ([], ""),
    ],
)
def test_a_trace_is_named_as_w3c_has_it(values: list[str], found: str) -> None:
    headers = [(b"host", b"here"), *((b"traceparent", value.encode()) for value in values)]
    assert trace_id_of(headers) == found


def narrow(api: Api, lane: Lane, rate: Rate) -> None:
    lanes = {**DEFAULT_LANES, lane: LaneLimits(rate, LaneSize(9, 9, 9))}
    api.server.oversight.pipeline.limits = Limits(lanes)


def limits_of(answer: Answer) -> tuple[str, str]:
    return answer.headers["ratelimit-policy"], answer.headers["ratelimit"]


async def test_an_answer_tells_how_much_may_still_be_asked(api: Api) -> None:
    narrow(api, Lane.READ, Rate(1, 3))
    answers = [await api.client.ask("GET", MAPS) for _ in range(3)]
    assert [limits_of(answer) for answer in answers] == [
        ('"read";q=3;w=3', f'"read";r={left};t=1') for left in (2, 1, 0)
    ]
    wrote = await api.client.ask("POST", MAPS, {"metadata": {"name": "a"}, "spec": {}})
    assert wrote.headers["ratelimit-policy"] == '"write";q=10000;w=2'


async def test_who_asks_too_much_is_told_of_the_limit_beside_when_to_come_again(api: Api) -> None:
    narrow(api, Lane.READ, Rate(0.25, 1))
    await api.client.ask("GET", MAPS)
    refused = await api.client.ask("GET", MAPS)
    assert (refused.status, refused.headers["retry-after"]) == (429, "4")
    assert refused.headers["ratelimit-policy"] == '"read";q=1;w=4'
    left, seconds = re.fullmatch(r'"read";r=(\d+);t=(\d+)', refused.headers["ratelimit"]).groups()  # type: ignore[union-attr]
    assert (left, int(seconds) <= 4) == ("0", True)


async def test_who_guesses_is_told_of_the_limit_of_that(api: Api) -> None:
    answers = [await api.as_("wrong").ask("GET", MAPS) for _ in range(101)]
    assert "ratelimit" not in answers[0].headers
    assert answers[-1].status == 429
    assert answers[-1].headers["ratelimit-policy"] == '"unknown";q=100;w=2'


async def test_who_is_nobody_and_asks_too_much_is_told_of_the_limit_of_that(api: Api) -> None:
    api.server.oversight.pipeline.limits = Limits(open=Rate(1, 1), health=Rate(1, 1))
    paths = {"/nowhere": "open", "/livez": "health"}
    for path, name in paths.items():
        first, second = [await api.as_("").ask("GET", path) for _ in range(2)]
        assert ("ratelimit" in first.headers, second.status) == (False, 429)
        assert second.headers["ratelimit-policy"] == f'"{name}";q=1;w=1'


async def test_what_is_everybodys_tells_of_no_limit(api: Api) -> None:
    answer = await api.as_("").ask("GET", "/livez")
    assert (answer.status, "ratelimit" in answer.headers) == (200, False)


async def test_the_description_has_what_answers_tell(api: Api) -> None:
    document = (await api.client.ask("GET", "/openapi.json")).json
    answers = document["paths"][MAPS.replace("default", "{namespace}")]["get"]["responses"]
    assert {"X-Trace-Id", "RateLimit", "RateLimit-Policy"} <= answers["200"]["headers"].keys()
    assert "Retry-After" in answers["429"]["headers"]
    assert "trace_id" in document["components"]["schemas"]["Problem"]["properties"]


@given(
    st.sampled_from([0.25, 1.0, 8.0, 64.0]),
    st.integers(1, 8),
    st.lists(st.tuples(st.integers(0, 256), st.booleans()), max_size=20),
)
def test_what_is_said_to_be_left_is_what_is_given(per_second: float, burst: int, steps: list[tuple[int, bool]]) -> None:
    limiter, now = RateLimiter(Rate(per_second, burst)), 0.0
    for passed, asks in steps:
        now += passed / 64
        if asks:
            limiter.take("a", now)
    left, wait = limiter.left("a", now)
    assert 0 <= left <= burst
    assert (wait == 0) == (left == burst)
    if wait:
        assert limiter.left("a", now + wait)[0] == left + 1
    assert [limiter.take("a", now) for _ in range(left)] == [0] * left
    assert limiter.take("a", now) > 0
