"""What `top` makes of looks at containers, and how it draws on a terminal."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.cli._top import Looks, redrawn
from orchestrion.control_plane.usage import ContainerUsage, Used
from orchestrion.shared_types import NodeId

START = datetime(2026, 1, 1, tzinfo=UTC)


def look(seconds: float = 0.0, cpu: float = 0.0, container: str = "main", attempt: int = 0) -> ContainerUsage:
    return ContainerUsage(
        namespace="default",
        instance="web.0.1",
        node_id=NodeId("n1"),
        container=container,
        attempt=attempt,
        sampled_at=START + timedelta(seconds=seconds),
        cpu_nanoseconds=int(cpu * 1e9),
        memory_bytes=10,
        processes=2,
    )


def looks(*found: ContainerUsage) -> Looks:
    return Looks({one.key: one for one in found}, frozenset())


def used(before: Looks, now: Looks) -> Used:
    return now.used(before)["default", "web.0.1"]


def test_containers_of_an_instance_are_added_up() -> None:
    before = looks(look(), look(container="side"))
    now = looks(look(2.0, 1.0), look(2.0, 0.5, "side"))
    assert used(before, now) == Used(cpu_millicores=750, memory_bytes=20, processes=4)


def test_of_what_was_not_there_before_no_processor_time_is_known() -> None:
    assert used(looks(look(attempt=0)), looks(look(1.0, 5.0, attempt=1))).cpu_millicores is None
    assert used(looks(), looks(look(1.0, 5.0))).memory_bytes == 10


@given(st.floats(-10, 10), st.floats(0, 100), st.floats(0, 100))
def test_whatever_the_clocks_do_nothing_negative_is_shown(seconds: float, before: float, now: float) -> None:
    assert (used(looks(look(0.0, before)), looks(look(seconds, now))).cpu_millicores or 0) >= 0


class Screen(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_takes_the_place_of_the_one_before_and_is_cut_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen: Any = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((80, 4)))
    for number in (1, 2):
        with redrawn():
            assert sys.stdout.isatty()
            print("\n".join(f"{number}{line}" for line in "abcdef"))
    drawn = screen.getvalue().split("\x1b[H\x1b[J")
    assert drawn == ["", "1a\n1b\n1c\n", "2a\n2b\n2c\n"]
