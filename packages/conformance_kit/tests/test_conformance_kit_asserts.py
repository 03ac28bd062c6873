"""A kit's asserts say what they compared, where pytest runs."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

PACKAGE = """
from orchestrion.conformance_kit import explain_asserts
{call}
from .checks import check
"""
CHECKS = """
def check(found):
    assert found == [1, 2]
"""


@pytest.mark.parametrize(
    ("name", "call", "explained"),
    [("explained_kit", "explain_asserts(__name__, __path__)", True), ("plain_kit", "", False)],
)
def test_an_assert_without_words_says_what_it_compared(
    name: str, call: str, explained: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text(PACKAGE.format(call=call))
    (folder / "checks.py").write_text(CHECKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    kit = importlib.import_module(name)
    with pytest.raises(AssertionError) as raised:
        kit.check([1])
    assert ("assert [1] == [1, 2]" in str(raised.value)) is explained
