"""A tool that knows nothing but the description of the API makes up requests: no answer may be one not described."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent

SECONDS = 900
"""How long it may take at most."""

NOT_SAID_BY_SCHEMAS = (
    "negative_data_rejection",  # what is passed over, such as a parameter of another operation, is not refused
    "positive_data_acceptance",  # much that schemas allow is refused, as a workload whose volumes are not declared
    "ignored_auth",  # without a token it is let in nowhere; every cell of that is in the matrix of roles
)


@pytest.fixture
def url() -> Iterator[str]:
    """Give the address of a server."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, str(HERE / "attacked_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.kill()


def test_no_answer_is_one_that_is_not_described(url: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "attack_hooks"}
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json"),
        *("--header", "Authorization: Bearer admin", "--phases", "examples,coverage,fuzzing,stateful"),
        *("--max-examples", "4", "--seed", "7", "--request-timeout", "30", "--no-shrink"),
        *("--continue-on-failure", "--suppress-health-check", "all", "--warnings", "off"),
        *("--exclude-checks", ",".join(NOT_SAID_BY_SCHEMAS)),
    ]
    # It keeps what it has found where it runs, and would begin with that the next time.
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout
