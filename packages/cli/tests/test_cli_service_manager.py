"""A service manager is told when a server serves, that it lives, and when it ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from orchestrion.cli._service_manager import ServiceManager
from trio.testing import MockClock, wait_all_tasks_blocked


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What NOTIFY_SOCKET says."""
    return str(tmp_path / "notify") if request.param == "path" else f"@orchestrion-test-{os.getpid()}-{tmp_path.name}"


@pytest.fixture
def heard(address: str) -> Iterator[socket.socket]:
    """The manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind("\0" + address[1:] if address.startswith("@") else address)
        yield listener


def all_of(heard: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(heard.recv(4096).decode())
        except BlockingIOError:
            return found


async def test_it_is_told_how_a_server_is_getting_on(address: str, heard: socket.socket) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": address})
    await manager.status("taking the state directory over")
    await manager.ready("serving at http://127.0.0.1:7070")
    await manager.stopping("ending")
    assert all_of(heard) == [
        "STATUS=taking the state directory over",
        "READY=1\nSTATUS=serving at http://127.0.0.1:7070",
        "STOPPING=1\nSTATUS=ending",
    ]


async def test_what_is_told_can_say_nothing_else(address: str, heard: socket.socket) -> None:
    await ServiceManager.of({"NOTIFY_SOCKET": address}).ready("at\nSTOPPING=1\rMAINPID=1")
    assert all_of(heard) == ["READY=1\nSTATUS=at STOPPING=1 MAINPID=1"]


async def test_signs_of_life_come_twice_in_the_time_that_is_granted(
    address: str, heard: socket.socket, mock_clock: MockClock, nursery: trio.Nursery
) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000"})
    nursery.start_soon(manager.show_life)
    told = list[int]()
    for _ in range(4):
        await wait_all_tasks_blocked()
        told.append(len(all_of(heard)))
        mock_clock.jump(0.75)
    assert told == [1, 0, 1, 0]


async def test_no_sign_of_life_is_given_where_none_is_wanted(address: str, heard: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid() + 1)}
    await ServiceManager.of(environment).show_life()
    await ServiceManager.of({"NOTIFY_SOCKET": address}).show_life()
    await ServiceManager.of({"WATCHDOG_USEC": "3000000"}).show_life()
    assert all_of(heard) == []


def test_what_the_server_starts_is_not_meant(address: str) -> None:
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1", "WATCHDOG_PID": str(os.getpid()), "PATH": "/bin"}
    manager = ServiceManager.of(environment)
    assert environment == {"PATH": "/bin"}
    assert manager.watchdog_seconds == 1e-6


async def test_nobody_is_told_nothing() -> None:
    nobody = ServiceManager.of({})
    await nobody.ready("serving")
    await nobody.show_life()


async def test_a_manager_that_is_gone_disturbs_nothing_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": str(tmp_path / "nowhere")})
    await manager.ready("serving")
    await manager.stopping("ending")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_manager_that_takes_nothing_is_not_waited_for_without_end(
    address: str, heard: socket.socket, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": address})
    while not caplog.records:
        await manager.status("x")
    assert trio.current_time() == 5


@pytest.mark.parametrize("other", ["notify", "@", "vsock:2:1234"])
async def test_an_address_of_another_kind_is_nobodys(other: str, caplog: pytest.LogCaptureFixture) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": other, "WATCHDOG_USEC": "1000000"})
    await manager.ready("serving")
    await manager.show_life()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("text", ["", "0", "soon", "-1", "\u0663"])
async def test_a_time_that_is_none_wants_no_signs_of_life(text: str) -> None:
    await ServiceManager.of({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": text}).show_life()
