"""Heads of requests: read as the standard says, and refused where they could be read in two ways."""

from __future__ import annotations

from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._http1.body import Body
from orchestrion.control_plane._http1.head import BadRequest, read_head


def head(*lines: bytes, first: bytes = b"GET /a HTTP/1.1") -> bytes:
    return b"\r\n".join((first, *lines))


def test_a_head_is_read() -> None:
    read = read_head(head(b"Host: x", b"X-One:  a b \t", b"x-one: c", first=b"POST /a%20b/c?q=1%20 HTTP/1.1"))
    assert (read.method, read.path, read.raw_path, read.query) == ("POST", "/a b/c", b"/a%20b/c", b"q=1%20")
    assert read.fields == [(b"host", b"x"), (b"x-one", b"a b"), (b"x-one", b"c")]
    assert (read.length, read.keeps_alive, read.upgrade, read.waits) == (0, True, b"", False)


def test_a_target_may_name_its_host_if_it_is_the_same() -> None:
    assert read_head(head(b"Host: x:1", first=b"GET http://X:1/a?b HTTP/1.1")).raw_path == b"/a"
    assert read_head(head(b"Host: x", first=b"GET http://x?b HTTP/1.1")).raw_path == b"/"
    with pytest.raises(BadRequest):
        read_head(head(b"Host: x", first=b"GET http://y/a HTTP/1.1"))


def test_a_connection_stays_unless_somebody_says_otherwise() -> None:
    assert not read_head(head(b"Host: x", b"Connection: foo, Close")).keeps_alive
    assert not read_head(head(b"Host: x", first=b"GET / HTTP/1.0")).keeps_alive


def test_a_client_that_wants_to_change_says_so_twice() -> None:
    assert (
        read_head(head(b"Host: x", b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket")).upgrade == b"websocket"
    )
    assert read_head(head(b"Host: x", b"Upgrade: websocket")).upgrade == b""


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"GET", 400),
        (b"get / HTTP/1.1\r\nHost: x", 400),
        (b"GET  / HTTP/1.1\r\nHost: x", 400),
        (b"GET / HTTP/1.1 \r\nHost: x", 400),
        (b"GET / HTTP/2.0\r\nHost: x", 505),
        (b"GET / HTTP/1.1", 400),
        (b"GET / HTTP/1.1\nHost: x", 400),
        (b"GET / HTTP/1.1\r\nHost: x\nA: b", 400),
        (b"GET / HTTP/1.1\r\nHost: x\rA: b", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA : b", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n: b", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x", 400),
        (b"GET a HTTP/1.1\r\nHost: x", 400),
        (b"GET /a#b HTTP/1.1\r\nHost: x", 400),
        (b"GET /%zz HTTP/1.1\r\nHost: x", 400),
        (b"GET /%ff HTTP/1.1\r\nHost: x", 400),
        (b"GET /a%00 HTTP/1.1\r\nHost: x", 400),
        (b"GET /a%0d%0aB HTTP/1.1\r\nHost: x", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x", 414),
        (b"GET / HTTP/1.1\r\nHost: x" + b"\r\nA: b" * 101, 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length:", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", 400),
        (b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked", 501),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked", 501),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: a-pony", 417),
        (b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: b", 400),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        read_head(data)
    assert caught.value.status == status


NAMES = st.sampled_from(
    [b"Host", b"host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"X", b"Expect", b"Upgrade", b"X y", b""]
)
VALUES = st.one_of(
    st.sampled_from([b"chunked", b"Chunked", b"1", b"01", b"5, 5", b"close", b"keep-alive", b"identity", b"x", b" x "]),
    st.binary(max_size=6),
)
LINES = st.lists(
    st.builds(
        lambda name, mark, value: name + mark + value,
        NAMES,
        st.sampled_from([b": ", b":", b" : ", b""]),
        VALUES,
    ),
    max_size=5,
)
FIRST = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /a?b HTTP/1.1",
        b"PUT /%41 HTTP/1.0",
        b"GET  / HTTP/1.1",
        b"G@T / HTTP/1.1",
        b"GET / HTTP/1.2",
    ]
)


def framing_by_h11(data: bytes) -> Any:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data + b"\r\n\r\n")
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
    lengths = [int(value) for name, value in request.headers if name == b"content-length"]
    return request, None if chunked else (lengths or [0])[0]


@given(FIRST, LINES)
def test_what_is_taken_another_reader_takes_for_the_same(first: bytes, lines: list[bytes]) -> None:
    data = b"\r\n".join((first, *lines))
    try:
        read = read_head(data)
    except BadRequest:
        return
    request, length = framing_by_h11(data)
    assert request.method == read.method.encode()
    assert request.target.partition(b"?")[::2] == (read.raw_path, read.query)
    assert length == read.length
    assert [(bytes(name), bytes(value)) for name, value in request.headers] == [
        (name, value.lower() if name == b"transfer-encoding" else value) for name, value in read.fields
    ]


PIECES = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


def chunks_of(parts: list[bytes], trailer: bytes = b"") -> bytes:
    return b"".join(b"%X;ext=1\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailer + b"\r\n"


@given(PIECES, st.lists(st.integers(1, 30), max_size=30), st.sampled_from([b"", b"A: b\r\n"]))
def test_a_body_in_chunks_is_the_same_however_it_comes(parts: list[bytes], cuts: list[int], trailer: bytes) -> None:
    body, buffer, got = Body.of(None), bytearray(), b""
    data = chunks_of(parts, trailer) + b"NEXT"
    for cut in [*cuts, len(data)]:
        buffer += data[:cut]
        data = data[cut:]
        got += body.take(buffer)
    assert (got, body.over, bytes(buffer)) == (b"".join(parts), True, b"NEXT")


@pytest.mark.parametrize(
    "data",
    [
        b"g\r\n",
        b"-1\r\n",
        b"0x5\r\n",
        b"\r\n",
        b"5 5\r\n",
        b"5\n12345\r\n0\r\n\r\n",
        b"5\r\n123456\r\n",
        b"1;" + b"a" * 300,
        b"ffffffffffffffff\r\n",
        b"0\r\nno trailer\r\n\r\n",
        b"0\r\n" + b"a: b\r\n" * 3000,
    ],
)
def test_what_is_no_chunk_is_refused(data: bytes) -> None:
    body = Body.of(None)
    with pytest.raises(BadRequest):
        body.take(bytearray(data))
