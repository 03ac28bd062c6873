"""`logs` of a workload shows what runs or is of its newest generation, and with `--replaced` what was before."""

from __future__ import annotations

from pathlib import Path

import pytest

from .served_directory import Do

PRINTS = 'workloads: {web: {containers: [{name: main, command: [print, stdout, "%s\\n"]}]}}'


@pytest.mark.slow
def test_what_was_replaced_is_shown_where_it_is_wanted(do: Do) -> None:
    for text in ("first", "second"):
        Path("app.yaml").write_text(PRINTS % text)
        assert do("apply", "app.yaml", "--wait")[0] == 0
    assert do("wait", "workload", "web", "--for", "status.placed=1", "--timeout", "50s")[0] == 0
    (latest,) = (line.split(" | ")[0] for line in do("logs", "web")[1].splitlines() if line.endswith("second"))
    assert do("logs", "web")[1] == f"{latest} | second\n"
    assert do("logs", "--all")[1] == f"{latest} | second\n"
    assert sorted(line.split(" | ")[1] for line in do("logs", "web", "--replaced")[1].splitlines()) == [
        "first",
        "second",
    ]
    assert do("logs", "web.0.1")[1].endswith(" | first\n")
