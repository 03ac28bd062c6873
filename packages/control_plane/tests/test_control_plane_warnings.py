"""What a server warns of reaches whoever asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane import ApiClient, SocketPeer
from orchestrion.control_plane._http import warnings_in
from orchestrion.control_plane._identity.asking import WARNINGS, warnings_header
from trio.testing import wait_all_tasks_blocked


def header_of(texts: Sequence[str]) -> str:
    token = WARNINGS.set(list(texts))
    try:
        return b", ".join(value for _, value in warnings_header()).decode()
    finally:
        WARNINGS.reset(token)


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200), max_size=20))
def test_what_is_written_is_read_again(texts: list[str]) -> None:
    assert warnings_in(header_of(texts)) == texts


@pytest.mark.parametrize("header", ["", "nonsense", '299 - "open', "299 -", '"a"', "x" * 10_000])
def test_what_is_no_warning_is_none(header: str) -> None:
    assert warnings_in(header) == []


def test_a_warning_gives_a_terminal_no_orders() -> None:
    assert warnings_in('299 - "\x1b[2Jred\x07"') == ["[2Jred"]


async def test_a_client_hears_what_comes_with_an_answer(tmp_path: Path, nursery: trio.Nursery) -> None:
    heard: list[str] = []
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(tmp_path / "s"))
    listener.listen()

    async def answer() -> None:
        async with trio.SocketStream((await listener.accept())[0]) as stream:
            await stream.receive_some()
            await stream.send_all(
                b'HTTP/1.1 200 OK\r\nWarning: 299 - "web has no limit", 299 - "a \\"b\\" \\\\c"\r\n'
                b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
            )

    nursery.start_soon(answer)
    await wait_all_tasks_blocked()
    assert (await ApiClient(SocketPeer(tmp_path / "s", warned=heard.append)).ask("GET", "/")).data == {}
    assert heard == ["web has no limit", 'a "b" \\c']
    listener.close()
