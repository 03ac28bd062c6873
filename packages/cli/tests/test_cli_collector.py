"""Python's collector is kept from walking over all that an orchestrator knows."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from orchestrion.cli import _owner


@pytest.fixture
def collector() -> Iterator[None]:
    """Give the collector back as it was."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
def test_what_is_there_when_the_work_begins_is_spared_and_the_rest_is_seldom_looked_at() -> None:
    there = len(gc.get_objects())

    _owner.spare_what_stays()

    assert gc.get_freeze_count() >= there
    assert gc.get_threshold()[0] >= 10_000
