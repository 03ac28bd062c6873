"""`attach`: what a main process writes from now on, how it ends, and that it outlives who looks on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # commands of their own, and processes that they look at

SERVICE = """
    workloads:
      web:
        containers:
          - name: main
            working_dir: .
            stop_grace: 1s
            command:
              - sh
              - -c
              - echo before; until [ -e go ]; do sleep 0.05; done; while echo after; do echo told >&2; sleep 0.05; done
          - {name: side, command: [sh, -c, 'echo aside; exec sleep 1000'], stop_grace: 1s}
    """

JOB = """
    workloads:
      job:
        kind: batch
        containers:
          - name: main
            working_dir: .
            command: [sh, -c, 'until [ -e go ]; do sleep 0.05; done; exit 7']
    """


@pytest.fixture
def served(shell: Any) -> Iterator[Any]:
    """A server on a state directory, and who runs commands there."""
    server = shell.begin("server", "--port", "0")
    server.wait_for("serving at")
    yield shell
    assert shell.run("stop", "web", "--no-wait").returncode in (0, 3)
    server.interrupt()
    server.end()


def test_what_is_written_from_now_on_is_shown_and_ctrl_c_leaves_it_running(shell: Any) -> None:
    up = shell.up(str(shell.write("web.yaml", SERVICE)))
    up.wait_for("web: Healthy")
    attached = shell.begin("attach", "web")
    attached.wait_for("attached to web.0.1, container main, whose output is shown; it has no input")
    (shell.folder / "go").touch()
    attached.wait_for("after")
    attached.wait_for("told")
    attached.interrupt()
    assert attached.end() == 130
    assert "before" not in attached.out
    assert "aside" not in attached.out
    assert "Healthy" in shell.run("status", "web").stdout


def test_it_ends_with_what_the_process_ends_with(shell: Any) -> None:
    up = shell.up(str(shell.write("job.yaml", JOB)))
    up.wait_for("job.0.1: Running")
    attached = shell.begin("attach", "job.0")
    attached.wait_for("attached to job.0.1")
    (shell.folder / "go").touch()
    assert attached.end() == 7
    assert "job.0.1: it exited with 7" in attached.err


def test_at_a_server_a_process_that_is_stopped_ends_it_with_the_signal(served: Any) -> None:
    assert served.run("apply", str(served.write("web.yaml", SERVICE))).returncode == 0
    assert served.run("rollout", "status", "web", "--timeout", "50s").returncode == 0
    attached = served.begin("attach", "web.0", "-c", "side")
    attached.wait_for("attached to web.0.1, container side")
    assert served.run("stop", "web").returncode == 0
    assert attached.end() == 143


def test_what_does_not_run_or_is_not_there_says_so(served: Any) -> None:
    assert served.run("apply", str(served.write("web.yaml", SERVICE))).returncode == 0
    assert served.run("rollout", "status", "web", "--timeout", "50s").returncode == 0
    assert served.run("attach", "nobody").returncode == 3
    assert served.run("attach", "web.9").returncode == 3
    none = served.run("attach", "web", "-c", "other")
    assert (none.returncode, "It has: main, side." in none.stderr) == (3, True)
    assert served.run("stop", "web").returncode == 0
    assert served.run("attach", "web").returncode == 3
