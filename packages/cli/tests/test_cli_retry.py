"""`retry`: what waits after a failure is tried again at once, with an owner of one's own and at a server."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow  # commands of their own, and processes that fail

FAILING = """
    workloads:
      web:
        containers: [{name: main, command: [sh, -c, 'test -e cured && exec sleep 1000; exit 1'], working_dir: .}]
        restart: {initial_delay: 1h, max_delay: 2h}
    """


@pytest.mark.parametrize(("owner", "told"), [(("up", "web.yaml"), "next try in"), (("server",), "serving at")])
def test_what_is_cured_runs_at_once(owner: tuple[str, ...], told: str, shell: Any) -> None:
    path = str(shell.write("web.yaml", FAILING))
    begun = shell.begin(*owner, *(("--port", "0") if owner == ("server",) else ()))
    begun.wait_for(told)
    if owner == ("server",):
        assert shell.run("apply", path).returncode == 0
        waiting = shell.run("wait", "workload", "web", "--for", "status.phase=Degraded", "--timeout", "50s")
        assert waiting.returncode == 0, waiting.stderr
    (shell.folder / "cured").touch()
    done = shell.run("retry", "web.0", "-o", "name")
    assert (done.returncode, done.stdout) == (0, "web.0.1\n")
    assert shell.run("rollout", "status", "web", "--timeout", "50s").returncode == 0
    assert shell.run("retry", "web").stderr == "web: nothing waits for another try\n"
    assert shell.run("stop", "web").returncode == 0
    begun.interrupt()
    begun.end()
