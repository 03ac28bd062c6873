"""Requests to somebody else's server are answered, or fail in one way, whatever that server does."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trustme
from attrs import evolve
from orchestrion.control_plane._admission.review import AdmissionRequest, Operation
from orchestrion.control_plane._admission.webhooks import ValidatingWebhook, Webhook, WebhookRule, posting
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._outgoing import AnswerTooLarge, HttpAnswer, Outgoing
from orchestrion.shared_types import NetworkFailure, Unavailable

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


class Peer:
    """A server that takes one request per connection and answers as it is told."""

    def __init__(self, answer: bytes, *, before_reading: bool = False) -> None:
        self.answer = answer
        self.before_reading = before_reading
        self.requests: list[bytes] = []

    async def serve(self, stream: Any) -> None:
        try:
            if self.before_reading:
                await stream.send_all(self.answer)
            else:
                self.requests.append(await self._read(stream))
                await stream.send_all(self.answer)
            await stream.aclose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def _read(self, stream: Any) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data or (b"POST" in data and not data.endswith(b"}")):
            part = await stream.receive_some()
            if not part:
                break
            data += part
        return data

    @asynccontextmanager
    async def at(self, certificate: trustme.LeafCert | None = None) -> Any:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        listeners: list[Any] = [listener]
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            listeners = [trio.SSLListener(listener, context, https_compatible=True)]
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(trio.serve_listeners, self.serve, listeners))
            yield f"{'https' if certificate else 'http'}://localhost:{port}"
            nursery.cancel_scope.cancel()


async def test_a_body_is_sent_and_the_answer_is_given_back() -> None:
    peer = Peer(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    )

    async with peer.at() as url:
        answer = await Outgoing().post(f"{url}/a/b?c=d", b'{"e": 1}')

    assert answer == HttpAnswer(201, b"hi")
    head, _, body = peer.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().splitlines()
    assert lines[0] == "POST /a/b?c=d HTTP/1.1"
    wanted = {f"host: {url.removeprefix('http://')}", "content-type: application/json", "content-length: 8"}
    assert wanted < {line.lower() for line in lines}
    assert body == b'{"e": 1}'


async def test_a_server_that_proves_who_it_is_is_asked_over_tls(authority: trustme.CA, trusting: Any) -> None:
    peer = Peer(OK)

    async with peer.at(authority.issue_cert("localhost")) as url:
        assert await Outgoing(trusting).get(url) == HttpAnswer(200, b"{}")

    assert peer.requests[0].startswith(b"GET / HTTP/1.1\r\n")


async def test_a_server_that_is_another_or_not_trusted_is_sent_nothing(authority: trustme.CA, trusting: Any) -> None:
    peer = Peer(OK)

    async with peer.at(authority.issue_cert("other.example")) as url:
        with pytest.raises(NetworkFailure, match="no answer from 'https://localhost"):
            await Outgoing(trusting).post(url, b"{}")
    async with peer.at(trustme.CA().issue_cert("localhost")) as url:
        for context in (trusting, None):
            with pytest.raises(NetworkFailure):
                await Outgoing(context).post(url, b"{}")

    assert b"".join(peer.requests) == b""


async def test_a_redirection_is_an_answer_and_is_not_followed() -> None:
    peer = Peer(b"HTTP/1.1 307 Go\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n")

    async with peer.at() as url:
        assert await Outgoing().get(url) == HttpAnswer(307, b"")

    assert len(peer.requests) == 1


async def test_an_answer_that_comes_before_the_request_was_read_is_taken() -> None:
    async with Peer(b"HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n", before_reading=True).at() as url:
        assert (await Outgoing().post(url, b"{}")).status == 413


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\n",
        b"SSH-2.0-server\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nfar too big",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000,
    ],
    ids=["nothing", "cut off", "half a head", "no HTTP", "too large", "endless head"],
)
async def test_what_is_no_answer_is_a_failure(answer: bytes) -> None:
    async with Peer(answer).at() as url:
        with pytest.raises(NetworkFailure):
            await Outgoing(max_answer_bytes=10).get(url)


async def test_an_answer_that_is_too_large_is_told_as_that() -> None:
    async with Peer(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nfar too big").at() as url:
        with pytest.raises(AnswerTooLarge):
            await Outgoing(max_answer_bytes=10).get(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "ftp://localhost/",
        "http:///x",
        "http://localhost:x/",
        "http://localhost:99999/",
        "http://localhost/a b",
        "http://localhost/ä",
        "http://local\r\nhost/",
        "http://[::1/",
        "",
    ],
)
async def test_what_can_not_be_asked_is_a_failure(url: str) -> None:
    with pytest.raises(NetworkFailure):
        await Outgoing().get(url)


async def test_a_webhook_is_asked_over_tls_by_a_real_request(authority: trustme.CA, trusting: Any) -> None:
    said = b'{"response": {"uid": "r-1", "allowed": false, "reason": "not on a Sunday"}}'
    peer = Peer(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(said), said))
    request = AdmissionRequest(
        uid="r-1",
        operation=Operation.CREATE,
        kind="ConfigMap",
        namespace="shop",
        name="c",
        object={"spec": {}},
        old_object=None,
        principal=Principal("ann"),
    )
    rule = WebhookRule(kinds={"*"}, operations={Operation.CREATE})

    async with peer.at(authority.issue_cert("localhost")) as url:
        webhook = Webhook(name="policy", url=url, rules=[rule], timeout_seconds=5)
        review = await ValidatingWebhook(webhook, posting(Outgoing(trusting))).validate(request)
        with pytest.raises(Unavailable, match="webhook 'policy' could not be reached"):
            await ValidatingWebhook(webhook, posting(Outgoing())).validate(evolve(request, uid="r-2"))

    assert (review.allowed, review.reason) == (False, "not on a Sunday")
    assert b'"kind":"ConfigMap"' in peer.requests[0]
