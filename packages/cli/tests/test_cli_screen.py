"""A terminal shows what containers write, with their colours, and obeys them in nothing else."""

from __future__ import annotations

import io
import itertools
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from orchestrion.cli._attach import Shower
from orchestrion.cli._display import LiveDisplay
from orchestrion.cli._lines import print_lines
from orchestrion.cli._screen import Screen, line_shown
from orchestrion.orchestrator_core import LogRecord
from orchestrion.runtime_interface import LogStream
from rich.console import Console
from rich.live import Live

EVIL = b"\x1b]0;evil\x07\x1b[2J\x1b[31mX\ty"
SHOWN = b" ]0;evil  [2J\x1b[31mX\ty\x1b[0m"
COLOURLESS = b" ]0;evil  [2JX\ty"


class Terminal(io.TextIOWrapper):
    """A terminal that keeps what it is told."""

    def __init__(self) -> None:
        self.told = io.BytesIO()
        super().__init__(self.told, write_through=True)

    def isatty(self) -> bool:
        return True

    def read_new(self) -> bytes:
        """Return what was told since the last look."""
        new = self.told.getvalue()
        self.told.seek(0)
        self.told.truncate()
        return new


@contextmanager
def at_terminal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Iterator[Terminal]:
    """Make stdout and stderr a terminal."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in {"TERM": "xterm-256color", **environment}.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal()
    # Within the test: between the fixtures and the test pytest sets them anew.
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    yield terminal
    monkeypatch.undo()


def record(data: bytes, stream: LogStream = LogStream.STDOUT) -> LogRecord:
    return LogRecord(instance="web.0.1", container="main", attempt=0, stream=stream, offset=0, data=data)


@pytest.mark.parametrize("stream", LogStream)
def test_logs_at_a_terminal_show_colours_to_the_end_of_each_line_and_obey_nothing(
    monkeypatch: pytest.MonkeyPatch, stream: LogStream
) -> None:
    with at_terminal(monkeypatch) as terminal:
        print_lines(stream, "web.0", (EVIL, b"plain"))
    found = re.fullmatch(rb"(.*?web.0 \| \x1b\[0m)(.*)\n\1(.*)\n", terminal.read_new())
    assert found is not None
    assert found.groups()[1:] == (SHOWN, b"plain")


def test_without_colours_nothing_is_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_terminal(monkeypatch, NO_COLOR="1") as terminal:
        print_lines(LogStream.STDOUT, "web.0", (EVIL,))
    assert terminal.read_new() == b"web.0 | " + COLOURLESS + b"\n"


def test_what_is_no_terminal_gets_the_bytes_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", written)
    print_lines(LogStream.STDOUT, "web.0", (EVIL, b"\xff\x9b"))
    with Shower() as shower:
        shower.show(record(EVIL + b"\xff"))
    buffer: Any = written.buffer
    assert buffer.getvalue() == b"web.0 | " + EVIL + b"\nweb.0 | \xff\x9b\n" + EVIL + b"\xff"


def test_attach_at_a_terminal_shows_parts_of_lines_at_once_and_leaves_no_colour_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with at_terminal(monkeypatch) as terminal:
        with Shower() as shower:
            for stream, data, shown in (
                (LogStream.STDOUT, b"name? \x1b[3", b"name? "),
                (LogStream.STDOUT, b"1mred", b"\x1b[31mred"),
                (LogStream.STDERR, b"other\x1bc\n", b"other c\n"),
                (LogStream.STDOUT, b"\x1b[2Jred\r\nplain\n", b" [2Jred\x1b[0m\nplain\n"),
                (LogStream.STDOUT, b"\x1b[32mgreen\x1b", b"\x1b[32mgreen"),
            ):
                shower.show(record(data, stream))
                assert terminal.read_new() == shown
        assert terminal.read_new() == b" \x1b[0m"


def test_the_live_table_of_up_is_not_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    display = LiveDisplay(lambda: pytest.fail("no time is told"), Live(console=console))
    with at_terminal(monkeypatch):
        display.line(LogStream.STDOUT, "web.0", b"\x1bc\x9bX\x1b[31mred")
    file: Any = console.file
    assert "web.0 |  c\ufffdX" in re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"\x1b[1;38:2::1:2:3mbold\x1b[m", b"\x1b[1;38:2::1:2:3mbold\x1b[m"),
        (b"\x1b[31mred\x1b[0m and more", b"\x1b[31mred\x1b[0m and more"),
        (b"\x1b[>4;2m", b" [>4;2m"),
        (b"10%\r20%\b\x7f", b"10% 20%  "),
        ("\u00fc \u200d \u202eevil \x9b2J".encode(), "\u00fc \u200d  evil  2J".encode()),
        (b"\xff\x9b2J", "\ufffd\ufffd2J".encode()),
        (b"\x1b\x1b[0m[2J", b" \x1b[0m[2J"),
    ],
)
def test_of_what_terminals_obey_only_colours_are_left(line: bytes, shown: bytes) -> None:
    assert line_shown(line, colours=True) == shown


ALPHABET = [
    b"\x1b",
    b"[",
    b"3",
    b"1",
    b"m",
    b"0",
    b";",
    b"\n",
    b"\r",
    b"\t",
    b"x",
    b"\x9b",
    b"\xc3",
    b"\xbc",
    b"\x1b[31m",
    b"]",
]


@given(st.lists(st.sampled_from(ALPHABET)).map(b"".join), st.lists(st.integers(0, 60)), st.booleans())
@example(b"x\r\n", [2], True)
def test_pieces_are_shown_as_the_whole_however_they_were_cut(data: bytes, cuts: list[int], colours: bool) -> None:
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    screen = Screen(colours)
    told = b"".join(screen.take(data[start:end]) for start, end in itertools.pairwise(places)) + screen.end()
    whole = Screen(colours)
    assert told == whole.take(data) + whole.end()
    left = re.sub(r"\x1b\[[0-9;:]*m", "", told.decode())
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", left)
