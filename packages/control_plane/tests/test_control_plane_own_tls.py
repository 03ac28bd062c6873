"""A server's certificate: whom it is for, and that it is another one before it ends."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from orchestrion.control_plane._identity.tls import client_context
from orchestrion.control_plane._web import own_tls
from orchestrion.control_plane._web.own_tls import OwnTls, machine_addresses, names_for
from orchestrion.control_plane._web.secure_listener import SecureListener
from orchestrion.shared_types import ConfigInvalid
from trio.testing import MockClock

from .identity_sources import Clock

IPV4 = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
Local:
  +-- 0.0.0.0/0 2 0 2
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.7
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
     |-- 169.254.3.4
        /32 host LOCAL
"""
IPV6 = """00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000007 02 40 00 00     eth0
fe800000000000000000000000000007 02 40 20 80     eth0
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an address of each kind."""
    for name, text in (("_IPV4_TABLE", IPV4), ("_IPV6_TABLE", IPV6)):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(own_tls, name, tmp_path / name)
    monkeypatch.setattr(socket, "gethostname", lambda: "box")
    return tmp_path


def test_a_machine_has_the_addresses_that_others_reach_it_by(machine: Path) -> None:
    assert machine_addresses() == {"192.0.2.7", "2001:db8::7"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_who_listens_everywhere_is_reached_by_every_address(host: str, machine: Path) -> None:
    assert names_for(host) == ("127.0.0.1", "192.0.2.7", "2001:db8::7", "::1", "box", "localhost")


def test_who_listens_at_one_address_is_reached_by_that_and_by_what_was_named(machine: Path) -> None:
    found = names_for("192.0.2.9", ["cluster.example", "198.51.100.1"])
    assert found == ("127.0.0.1", "192.0.2.9", "198.51.100.1", "::1", "box", "cluster.example", "localhost")


def test_a_machine_that_tells_nothing_has_no_addresses(machine: Path) -> None:
    for path in machine.iterdir():
        path.unlink()
    assert machine_addresses() == set()


def test_a_machine_whose_name_is_none_is_reached_by_others(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "a" * 64)
    assert names_for("localhost") == ("127.0.0.1", "::1", "localhost")


def test_this_machine_has_an_address_that_can_be_listened_at() -> None:
    for text in machine_addresses():
        with socket.create_server((text, 0), family=_family(text)):
            pass


def _family(text: str) -> Any:
    return socket.AF_INET6 if ":" in text else socket.AF_INET


def opened(folder: Path, names: Any = None, clock: Clock | None = None) -> OwnTls:
    return OwnTls.open(folder, "cluster.test", names or (lambda: ("localhost",)), now=clock or Clock())


def test_what_is_given_as_a_name_has_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid):
        opened(tmp_path, lambda: ("localhost", ""))


def test_a_certificate_is_renewed_after_two_thirds_of_its_life_and_not_before(tmp_path: Path) -> None:
    clock = Clock()
    tls = opened(tmp_path, clock=clock)
    first, context = tls.credentials, tls.current()
    clock.now += timedelta(days=19, hours=23)
    tls.renew()
    assert (tls.credentials, tls.current()) == (first, context)
    clock.now += timedelta(hours=2)
    tls.renew()
    assert tls.current() is not context
    assert tls.credentials.ends - clock.now == timedelta(days=30)
    assert tls.path.read_bytes() == tls.authority.certificate


def test_a_machine_with_another_address_has_another_certificate(tmp_path: Path) -> None:
    names = ["localhost"]
    tls = opened(tmp_path, lambda: tuple(names))
    first = tls.credentials
    names.append("192.0.2.7")
    tls.renew()
    tls.renew()
    found = x509.load_pem_x509_certificate(tls.credentials.certificate)
    addresses = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each) for each in addresses.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]
    assert tls.credentials != first


async def echo(stream: trio.SSLStream[Any]) -> None:
    with suppress(trio.BrokenResourceError):  # clients go without a word
        async for data in stream:
            await stream.send_all(data)


@asynccontextmanager
async def listening(tls: OwnTls) -> AsyncIterator[int]:
    """Give the port of who echoes what is sent over TLS."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_listeners, echo, [SecureListener(listener, tls.current)]))
        yield port
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(tls: OwnTls, port: int) -> AsyncIterator[Any]:
    """Give a connection of a client that trusts the authority and nobody else."""
    context = client_context(tls.path.read_bytes())
    stream = trio.SSLStream(await trio.open_tcp_stream("127.0.0.1", port), context, server_hostname="localhost")
    try:
        await stream.do_handshake()
        yield stream
    finally:
        await trio.aclose_forcefully(stream)


def serial(stream: Any) -> int:
    return x509.load_der_x509_certificate(stream.getpeercert(binary_form=True)).serial_number


async def test_new_connections_get_the_new_certificate_and_old_ones_go_on(
    tmp_path: Path, mock_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    clock, asked = Clock(), list[int]()

    def names() -> tuple[str, ...]:
        asked.append(len(asked))
        if len(asked) == 2:
            raise OSError("no table")
        return ("localhost",)

    today = datetime.now(UTC)  # by which TLS judges certificates
    clock.now = today - timedelta(days=21)
    tls = opened(tmp_path, names, clock)
    async with listening(tls) as port, trio.open_nursery() as nursery, connected(tls, port) as old:
        nursery.start_soon(tls.keep)
        first = serial(old)
        clock.now = today
        for _ in range(1000):  # what is renewed is renewed in a thread
            mock_clock.jump(own_tls.LOOK_SECONDS)
            async with connected(tls, port) as new:
                if serial(new) != first:
                    break
        else:
            pytest.fail("the certificate was never renewed")
        await old.send_all(b"still here")
        assert await old.receive_some() == b"still here"
        assert "renewing the server's certificate failed" in caplog.text
        nursery.cancel_scope.cancel()
