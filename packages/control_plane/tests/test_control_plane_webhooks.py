"""Webhooks are really asked, what they answer is done, and what they do wrong is what their policy makes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from attrs import evolve, field, frozen
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._admission.chain import AdmissionChain
from orchestrion.control_plane._admission.review import AdmissionRequest, Operation
from orchestrion.control_plane._admission.webhooks import (
    FailurePolicy,
    MutatingWebhook,
    Reinvocation,
    ValidatingWebhook,
    Webhook,
    WebhookRule,
    posting,
)
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._outgoing import AnswerTooLarge, HttpAnswer, Outgoing
from orchestrion.control_plane._reach import OutOfReach, Reach
from orchestrion.shared_types import Denied, NetworkFailure, OrchestrationError, Unavailable

OBJECT: dict[str, Any] = {"kind": "ConfigMap", "metadata": {"name": "c", "namespace": "shop"}, "spec": {"data": {}}}
REQUEST = AdmissionRequest(
    uid="r-1",
    operation=Operation.CREATE,
    kind="ConfigMap",
    namespace="shop",
    name="c",
    object=OBJECT,
    old_object=None,
    principal=Principal("ann", groups={"dev"}),
)
EVERYTHING = WebhookRule(kinds={"*"}, operations=set(Operation))
WEBHOOK = Webhook(name="policy", url="https://policy.example/admit", rules=[EVERYTHING], timeout_seconds=2)


@frozen
class Server:
    """Answers each request with what a function makes of it, after a while."""

    says: Any
    takes_seconds: float = 0
    asked: list[Any] = field(factory=list)

    async def post(self, url: str, body: bytes, timeout: float) -> HttpAnswer:
        request = json.loads(body)["request"]
        self.asked.append((url, request, timeout))
        await trio.sleep(self.takes_seconds)
        answer = self.says(request) if callable(self.says) else self.says
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, HttpAnswer):
            return answer
        response = {"uid": request["uid"], "allowed": True, **answer}
        return HttpAnswer(200, json.dumps({"response": response}).encode())


def chain(*webhooks: MutatingWebhook | ValidatingWebhook) -> AdmissionChain:
    return AdmissionChain(
        [webhook for webhook in webhooks if isinstance(webhook, MutatingWebhook)],
        [webhook for webhook in webhooks if isinstance(webhook, ValidatingWebhook)],
        check=lambda request: request.object or {},
    )


def setting(path: str, value: Any) -> dict[str, Any]:
    return {"patch": [{"op": "add", "path": path, "value": value}]}


async def test_a_webhook_is_told_all_that_it_may_judge_by() -> None:
    server = Server({})

    await chain(ValidatingWebhook(WEBHOOK, server.post)).admit(REQUEST)

    assert server.asked == [
        (
            "https://policy.example/admit",
            {
                "uid": "r-1",
                "operation": "create",
                "kind": "ConfigMap",
                "namespace": "shop",
                "name": "c",
                "object": OBJECT,
                "old_object": None,
                "principal": {"name": "ann", "kind": "user", "groups": ["dev", "system:authenticated"]},
                "dry_run": False,
            },
            2.0,
        )
    ]


@pytest.mark.parametrize("action", ["", "stop"])
async def test_what_is_done_beside_writing_the_object_is_named(action: str) -> None:
    server = Server({})
    await chain(ValidatingWebhook(WEBHOOK, server.post)).admit(evolve(REQUEST, action=action))
    assert server.asked[0][1].get("action", "") == action


async def test_who_is_where_nothing_is_sent_is_let_in_by_the_network_and_not_by_a_look_at_that_server() -> None:
    webhook = evolve(WEBHOOK, url="https://10.0.0.1/admit")
    with pytest.raises(Unavailable, match="'policy' is at an address that is not public") as refused:
        await chain(ValidatingWebhook(webhook, posting(Outgoing(reach=Reach())))).admit(REQUEST)
    assert "--webhook-network" in refused.value.remedy
    assert "10.0.0.1" not in str(refused.value)


async def test_what_a_mutating_one_wants_is_done() -> None:
    server = Server({**setting("/metadata/labels", {"team": "dev"}), "warnings": ["say the team yourself"]})

    admitted = await chain(MutatingWebhook(WEBHOOK, server.post)).admit(REQUEST)

    assert admitted.object == {**OBJECT, "metadata": {**OBJECT["metadata"], "labels": {"team": "dev"}}}
    assert admitted.warnings == ("say the team yourself",)


async def test_what_a_webhook_refuses_is_refused_for_its_reason() -> None:
    server = Server({"allowed": False, "reason": "no\nconfig\x1b[31m today"})

    for webhook in (MutatingWebhook(WEBHOOK, server.post), ValidatingWebhook(WEBHOOK, server.post)):
        with pytest.raises(Denied, match=r"^'policy' refused it: no config \[31m today$"):
            await chain(webhook).admit(REQUEST)


async def test_a_mutating_one_is_asked_once_more_if_it_wants_to_be_and_it_is_needed() -> None:
    first = Server(lambda request: setting("/spec/fields", len(request["object"]["spec"])))
    never = Server({})
    last = Server(setting("/spec/last", True))
    again = evolve(WEBHOOK, reinvocation=Reinvocation.IF_NEEDED)

    admitted = await chain(
        MutatingWebhook(again, first.post), MutatingWebhook(WEBHOOK, never.post), MutatingWebhook(again, last.post)
    ).admit(REQUEST)

    assert admitted.object is not None
    assert admitted.object["spec"] == {"data": {}, "fields": 3, "last": True}
    # The last one has seen a change as well: the one that the first made when it was asked again.
    assert [len(server.asked) for server in (first, never, last)] == [2, 1, 2]


WRONG: dict[str, tuple[Any, str]] = {
    "late": ({}, "did not answer within 2 s"),
    "unreachable": (NetworkFailure("nobody answers"), "could not be reached"),
    "broken": (OSError("reset"), "could not be reached"),
    "status": (HttpAnswer(302, b"{}"), "answered with status 302"),
    "no JSON": (HttpAnswer(200, b"<html>"), "gave an answer that is no JSON"),
    "no text": (HttpAnswer(200, b"\xff\xfe\xff"), "gave an answer that is no JSON"),
    "deep": (HttpAnswer(200, b"[" * 100_000), "gave an answer that is no JSON"),
    "longer": (AnswerTooLarge("4 MiB"), "gave an answer that is too large"),
    "elsewhere": (OutOfReach("it is at 10.0.0.1"), "is at an address that is not public"),
    "large": (HttpAnswer(200, b" " * (4 * 1024 * 1024 + 1)), "gave an answer that is too large"),
    "empty": (HttpAnswer(200, b"{}"), "gave an answer without a response"),
    "list": (HttpAnswer(200, b"[]"), "gave an answer without a response"),
    "other": ({"uid": "r-2"}, "answered another request"),
    "neither": ({"allowed": "yes"}, "did not say whether the change is allowed"),
    "warnings": ({"warnings": [1]}, "gave warnings that are no texts"),
    "patch": ({"patch": {"op": "add"}}, "gave a patch of a wrong form"),
    "reason": ({"allowed": False, "reason": 7}, "gave a reason of a wrong form"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("kind", [MutatingWebhook, ValidatingWebhook])
async def test_where_it_does_not_answer_as_it_should_the_change_is_refused_or_let_through(
    autojump_clock: trio.abc.Clock, wrong: str, kind: Any
) -> None:
    answer, said = WRONG[wrong]
    server = Server(answer, takes_seconds=5 if wrong == "late" else 0)

    with pytest.raises(Unavailable) as refused:
        await chain(kind(WEBHOOK, server.post)).admit(REQUEST)
    assert refused.value.message == f"webhook 'policy' {said}"

    ignoring = evolve(WEBHOOK, failure_policy=FailurePolicy.IGNORE)
    admitted = await chain(kind(ignoring, server.post)).admit(REQUEST)
    assert admitted.object == OBJECT
    assert admitted.warnings == (f"webhook 'policy' was passed over: it {said}",)


@pytest.mark.parametrize(
    "patch",
    [
        [{"op": "add", "path": "/metadata/namespace", "value": "prod"}],
        [{"op": "remove", "path": "/spec/nothing"}],
        [{"op": "test", "path": "/spec", "value": 1}],
        [7],
    ],
    ids=str,
)
async def test_a_patch_that_can_not_be_applied_counts_as_no_answer(patch: Any) -> None:
    server = Server({"patch": patch})

    with pytest.raises(Unavailable, match="gave a patch that could not be applied"):
        await chain(MutatingWebhook(WEBHOOK, server.post)).admit(REQUEST)

    ignoring = evolve(WEBHOOK, failure_policy=FailurePolicy.IGNORE)
    assert (await chain(MutatingWebhook(ignoring, server.post)).admit(REQUEST)).object == OBJECT


async def test_a_validating_one_may_change_nothing() -> None:
    server = Server(setting("/spec/x", 1))

    with pytest.raises(Unavailable, match="wants to change the object, which a validating one may not"):
        await chain(ValidatingWebhook(WEBHOOK, server.post)).admit(REQUEST)


async def test_what_cancels_the_request_is_no_failure_of_the_webhook(autojump_clock: trio.abc.Clock) -> None:
    server = Server({}, takes_seconds=1)
    ignoring = evolve(WEBHOOK, failure_policy=FailurePolicy.IGNORE)

    with trio.move_on_after(0.5) as scope:
        await chain(ValidatingWebhook(ignoring, server.post)).admit(REQUEST)

    assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("rules", "request_", "asked"),
    [
        ([EVERYTHING], REQUEST, True),
        ([], REQUEST, False),
        ([EVERYTHING], evolve(REQUEST, kind="Secret"), False),
        ([WebhookRule(kinds={"Secret"}, operations={Operation.CREATE})], evolve(REQUEST, kind="Secret"), True),
        ([WebhookRule(kinds={"Workload"}, operations={Operation.CREATE})], REQUEST, False),
        ([WebhookRule(kinds={"ConfigMap"}, operations={Operation.DELETE})], REQUEST, False),
        ([evolve(EVERYTHING, namespaces=frozenset({"shop"}))], REQUEST, True),
        ([evolve(EVERYTHING, namespaces=frozenset({"prod"}))], REQUEST, False),
        ([evolve(EVERYTHING, namespaces=frozenset({""}))], evolve(REQUEST, namespace=""), True),
        ([evolve(EVERYTHING, namespaces=frozenset({"prod"})), EVERYTHING], REQUEST, True),
    ],
)
async def test_it_is_asked_about_what_a_rule_covers(rules: Any, request_: AdmissionRequest, asked: bool) -> None:
    server = Server({})

    await chain(ValidatingWebhook(evolve(WEBHOOK, rules=rules), server.post)).admit(request_)

    assert bool(server.asked) is asked


@pytest.mark.parametrize(
    "url", ["https://policy.example", "http://localhost:8080/x", "http://[::1]/", "http://127.0.0.1"]
)
def test_a_url_is_taken_where_what_is_sent_stays_unread(url: str) -> None:
    assert evolve(WEBHOOK, url=url).url == url


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"url": "http://policy.example/"}, "begins with https://"),
        ({"url": "http://localhost.example/"}, "begins with https://"),
        ({"url": "file:///etc/passwd"}, "https://HOST/PATH"),
        ({"url": "https://ann:secret@policy.example/"}, "https://HOST/PATH"),
        ({"url": "policy"}, "https://HOST/PATH"),
        ({"url": "https://policy.example:65536/"}, "1 to 65535"),
        ({"url": "https://policy.example:0/"}, "1 to 65535"),
        ({"timeout_seconds": 0}, "must be"),
        ({"timeout_seconds": 31}, "must be"),
        ({"name": ""}, "must be"),
    ],
    ids=str,
)
def test_a_webhook_that_can_not_be_asked_safely_is_refused(attributes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        evolve(WEBHOOK, **attributes)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 1) | st.sampled_from(["r-1", "add", "/spec/x", "/metadata"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["op", "path", "value", "uid", "allowed", "patch"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.mark.slow
@given(JSON, JSON, st.booleans() | JSON)
def test_no_answer_leads_to_anything_but_a_verdict(warnings: Any, patch: Any, allowed: Any) -> None:
    server = Server({"warnings": warnings, "patch": patch, "allowed": allowed})

    async def admit() -> None:
        try:
            admitted = await chain(MutatingWebhook(WEBHOOK, server.post)).admit(REQUEST)
        except OrchestrationError as refused:
            outcome: Any = type(refused)
        else:
            assert admitted.object is not None
            assert {**admitted.object, "spec": None} == {**OBJECT, "spec": None}
            outcome = None
        assert outcome in (None, Denied, Unavailable)

    trio.run(admit)
