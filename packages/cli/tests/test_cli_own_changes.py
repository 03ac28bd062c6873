"""What the owner of a state directory changes itself: under the same rules, and on the same record, as at a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from orchestrion.control_plane._rules import AUDIT_FOLDER

pytestmark = pytest.mark.slow

WEB = """
    workloads:
      web:
        containers:
          - name: main
            command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
            resources: {cpu: %s}
    """

QUOTA = """
    kind: ResourceQuota
    metadata: {name: small}
    spec: {hard: {cpu: 200m}}
    """


def records(shell: Any) -> list[tuple[str, str, str, str]]:
    """Return what is on record: who came how, what they did, and what came of it."""
    log: Path = shell.state / "server-api" / AUDIT_FOLDER
    lines = [json.loads(line) for path in sorted(log.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [(line["via"], line["verb"], line["name"], line["outcome"]) for line in lines]


def test_up_keeps_to_the_quota_that_is_there_and_goes_on_with_the_log_that_is_kept(shell: Any) -> None:
    small, large = (str(shell.write(f"{cpu}.yaml", WEB % cpu)) for cpu in ("100m", "900m"))
    up = shell.up(small)
    up.wait_for("web: Healthy")
    assert shell.run("create", "-f", str(shell.write("quota.yaml", QUOTA))).returncode == 0
    up.interrupt()
    up.end()
    assert shell.run("audit", "verify").returncode == 3  # where no server has run, nobody begins a log
    refused = shell.run("up", large)
    assert refused.returncode == 6
    assert "quota 'small' of namespace 'default' grants 200m of cpu" in refused.stderr
    (shell.state / "server-api" / AUDIT_FOLDER).mkdir(mode=0o700)
    assert shell.run("up", large).returncode == 6
    assert shell.run("rm", "web", "--yes").returncode == 0
    assert records(shell) == [("unix", "apply", "web", "failed"), ("unix", "delete", "web", "done")]
    assert shell.run("audit", "verify").returncode == 0
    assert shell.strays() == []
