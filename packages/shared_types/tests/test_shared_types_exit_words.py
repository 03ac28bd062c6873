"""How a container ended, in words."""

from __future__ import annotations

import pytest
from orchestrion.shared_types import ExitStatus


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (ExitStatus(code=3), "exited with 3"),
        (ExitStatus(signal=9), "ended by SIGKILL"),
        (ExitStatus(signal=99), "ended by signal 99"),
        (ExitStatus(signal=9, out_of_memory=True), "out of memory"),
        (ExitStatus(reason="shim-lost", message="it is gone"), "shim-lost (it is gone)"),
        (ExitStatus(), "ended"),
    ],
)
def test_an_end_is_told_in_words(status: ExitStatus, words: str) -> None:
    assert status.words == words
