"""Real orchestrators on real processes, as users run them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PIPELINE = """
    volumes: {parts: {}}
    workloads:
      count:
        kind: batch
        completions: 3
        containers:
          - name: mapper
            command: [sh, -c, "echo part $ORCHESTRION_INDEX > $VOLUME_PARTS/$ORCHESTRION_INDEX; echo wrote one"]
            volumes: [parts]
      total:
        kind: batch
        after: {count: succeeded}
        containers:
          - name: reducer
            command: [sh, -c, "cat $VOLUME_PARTS/*; echo to the side >&2"]
            volumes: [parts]
    """

SERVICE = """
    workloads:
      web:
        kind: service
        replicas: 2
        containers:
          - name: main
            command: [sh, -c, "echo $$ >> @/pids; echo ready; trap 'exit 0' TERM; while :; do sleep 0.1; done"]
            stop_grace: 3s
    """


def service(shell: Any) -> str:
    return str(shell.write("web.yaml", SERVICE.replace("@", str(shell.folder)).replace("$$", "$$$$")))


def pids(shell: Any) -> list[str]:
    path: Path = shell.folder / "pids"
    return sorted(path.read_text().split()) if path.exists() else []


def up_and_ready(shell: Any, path: str) -> Any:
    """Run `up` until both instances of the service have written down their pids, which is after they count as up."""
    up = shell.up(path, "--logs", "all")
    up.wait_for("web: Healthy")
    while sum("| ready" in line for line in up.out) < 2:
        up.wait_for("| ready")
    return up


def test_a_pipeline_runs_to_its_end_and_its_output_is_the_output(shell: Any) -> None:
    done = shell.run("up", str(shell.write("app.yaml", PIPELINE)))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sorted(lines[:3]) == ["count.0 | wrote one", "count.1 | wrote one", "count.2 | wrote one"]
    assert lines[3:] == ["total.0 | part 0", "total.0 | part 1", "total.0 | part 2"]
    assert "total.0 | to the side" in done.stderr.splitlines()
    assert "total: Succeeded" in done.stderr
    assert "\x1b[" not in done.stdout + done.stderr
    assert shell.strays() == []


def test_the_state_can_be_read_when_nobody_runs(shell: Any) -> None:
    shell.run("up", str(shell.write("app.yaml", PIPELINE)))
    machine = shell.run("status", "-o", "json")
    assert machine.stderr == ""
    status = json.loads(machine.stdout)
    assert [(one["workload"]["definition"]["metadata"]["name"], one["workload"]["phase"]) for one in status] == [
        ("count", "Succeeded"),
        ("total", "Succeeded"),
    ]
    assert shell.run("status", "total", "-o", "name").stdout == "total\n"
    assert shell.run("logs", "total").stdout.splitlines() == [
        "total.0 | part 0",
        "total.0 | part 1",
        "total.0 | part 2",
    ]
    assert shell.run("logs", "count.1").stdout == "count.1 | wrote one\n"
    records = [json.loads(line) for line in shell.run("logs", "total", "-o", "jsonl").stdout.splitlines()]
    assert {record["instance"] for record in records} == {"total.0.1"}
    assert "part 0\n" in "".join(record["data"] for record in records)
    events = [json.loads(line) for line in shell.run("events", "-o", "jsonl").stdout.splitlines()]
    assert "workload/count" in {event["subject"] for event in events}
    for form in ("table", "yaml"):
        assert "Succeeded" in shell.run("status", "-o", form).stdout
    (told,) = shell.run("status").stderr.splitlines()
    assert "no orchestrator runs on " in told
    assert "orchestrion up FILE" in told
    assert shell.run("status", "nope").returncode == 3
    assert shell.run("logs", "nope").returncode == 3
    assert shell.run("logs", "count.9").returncode == 3
    assert shell.run("status", "count.9").returncode == 3
    assert "count.1.1" in shell.run("status", "count.1").stdout
    assert "count.0.1" not in shell.run("status", "count.1").stdout
    unknown = shell.run("logs", "total", "-c", "nope")
    assert (unknown.returncode, "It has: reducer" in unknown.stderr) == (3, True)
    of_one = [
        json.loads(line)["subject"]
        for line in shell.run("events", "--for", "count.1", "-o", "jsonl").stdout.splitlines()
    ]
    assert set(of_one) <= {"instance/count.1.1"}


def test_changing_needs_an_owner_and_says_how_to_get_one(shell: Any) -> None:
    path = str(shell.write("app.yaml", PIPELINE))
    assert shell.run("status").returncode == 3
    shell.run("up", path)
    for arguments in (["apply", path], ["scale", "total", "2"], ["exec", "total.0", "--", "true"]):
        done = shell.run(*arguments)
        assert done.returncode == 9
        assert "orchestrion up FILE" in done.stderr


def test_a_failed_batch_ends_with_1_and_says_why(shell: Any) -> None:
    manifest = """
        workloads:
          bad: {kind: batch, containers: [{name: main, command: [sh, -c, "echo last words; exit 3"]}]}
          never: {kind: batch, after: {bad: succeeded}, containers: [{name: main, command: [echo, never]}]}
        """
    done = shell.run("up", str(shell.write("bad.yaml", manifest)))
    assert done.returncode == 1
    assert "bad.0 | last words" in done.stdout
    assert "bad failed" in done.stderr
    assert "code 3" in done.stderr
    assert "never failed" in done.stderr
    assert "never.0 |" not in done.stdout


def test_batch_work_that_has_ended_runs_again_when_it_is_upped_again(shell: Any) -> None:
    path = str(shell.write("app.yaml", PIPELINE))
    first, second = shell.run("up", path), shell.run("up", path)
    assert (first.returncode, second.returncode) == (0, 0)
    again = [line.replace(".2 |", " |") for line in second.stdout.splitlines()]
    assert sorted(again) == sorted(first.stdout.splitlines())
    assert "count: Succeeded before, and runs again" in second.stderr


def test_a_service_is_looked_at_spoken_to_scaled_and_drained(shell: Any) -> None:
    path = service(shell)
    up = up_and_ready(shell, path)
    assert "web.0.1" in shell.run("status").stdout
    assert "web.1.1" in shell.run("status", "web").stdout
    assert shell.run("logs", "web.0").stdout == "web.0 | ready\n"
    done = shell.run("exec", "web.0", "--", "sh", "-c", "cat; echo aside >&2; exit 5", input="through")
    assert (done.returncode, done.stdout, done.stderr) == (5, "through", "aside\n")
    assert shell.run("explain", "web").returncode == 0
    assert shell.run("explain", "web.1").stdout.startswith("web.1.1: on ")
    assert shell.run("explain", "web.7").returncode == 3
    assert shell.run("logs", "web", "-c", "nope").returncode == 3
    missing = shell.run("exec", "web.0", "--", "no-such-program")
    assert (missing.returncode, "No such file or directory" in missing.stderr) == (127, True)
    refused = shell.run("exec", "web.0", "--", "/etc/passwd")
    assert (refused.returncode, "Permission denied" in refused.stderr) == (126, True)
    assert "name one of them" in shell.run("exec", "web", "--", "true").stderr.lower()
    assert shell.run("scale", "web", "3").returncode == 0
    up.wait_for("web: Healthy (3/3 up, scaled)")
    while not any("web.2 | ready" in line for line in up.out):
        up.wait_for("web.2 | ready")
    same = shell.run("plan", path)
    assert same.returncode == 0
    assert "scale keeps it at 3" in same.stdout
    assert shell.run("apply", path).returncode == 0
    assert len(pids(shell)) == 3
    other = shell.write(
        "other.yaml", Path(path).read_text().replace("replicas: 2", "replicas: 2\n        labels: {a: b}")
    )
    assert shell.run("plan", str(other)).returncode in (1, 2)
    assert shell.run("scale", "web", "--reset").returncode == 0
    up.wait_for("web: Healthy (2/2 up)")
    up.interrupt()
    assert up.end() == 130
    assert any("stopping everything" in line for line in up.err)
    assert shell.strays() == []
    assert "Stopped" in shell.run("status").stdout


def test_an_up_takes_objects_of_any_kind(shell: Any) -> None:
    up = shell.up(service(shell))
    up.wait_for("web: Healthy")
    settings = "kind: ConfigMap\nmetadata: {name: settings}\nspec: {data: {colour: blue}}\n"
    applied = shell.run("apply", str(shell.write("settings.yaml", settings)))
    assert (applied.returncode, applied.stdout) == (0, "configmap/settings: created\n"), applied.stderr
    assert shell.run("get", "configmaps", "-o", "name").stdout == "configmap/settings\n"
    up.interrupt()
    assert up.end() == 130


def test_sigterm_drains_as_ctrl_c_does(shell: Any) -> None:
    up = shell.up(service(shell))
    up.wait_for("web: Healthy")
    up.send(signal.SIGTERM)
    assert up.end() == 130
    assert shell.strays() == []


def test_a_stopped_service_runs_again_when_it_is_upped_again(shell: Any) -> None:
    path = service(shell)
    for _ in range(2):
        up = up_and_ready(shell, path)
        up.interrupt()
        assert up.end() == 130
    assert len(pids(shell)) == 4


def test_a_second_ctrl_c_does_not_wait_and_the_next_owner_goes_on(shell: Any) -> None:
    manifest = """
        workloads:
          deaf:
            containers:
              - name: main
                command: [sh, -c, "trap '' TERM; echo $$$$ > @/pids; echo up; while :; do sleep 0.1; done"]
                stop_grace: 300s
        """
    path = shell.write("deaf.yaml", manifest.replace("@", str(shell.folder)))
    up = shell.up(str(path), "--logs", "all")
    up.wait_for("deaf.0 | up")
    up.interrupt()
    up.wait_for("stopping everything")
    up.interrupt()
    assert up.end() == 130
    assert any("not waiting any longer" in line for line in up.err)
    assert "Stopping" in shell.run("status").stdout
    (pid,) = pids(shell)
    os.kill(int(pid), signal.SIGKILL)
    assert shell.run("rm", "--yes", "deaf").returncode == 0


def test_a_killed_owner_loses_nothing_and_the_next_takes_all_up(shell: Any) -> None:
    path = service(shell)
    up = up_and_ready(shell, path)
    before = pids(shell)
    up.process.kill()
    up.end()
    assert json.loads(shell.run("status", "-o", "json").stdout)[0]["workload"]["phase"] == "Healthy"
    again = shell.up(path)
    again.wait_for("web: Healthy")
    assert pids(shell) == before
    assert shell.run("exec", "web.1", "--", "true").returncode == 0
    again.interrupt()
    assert again.end() == 130
    assert shell.strays() == []


def test_stop_and_remove_act_without_an_owner(shell: Any) -> None:
    up = shell.up(service(shell))
    up.wait_for("web: Healthy")
    up.process.kill()
    up.end()
    assert shell.run("rm", "web").returncode == 2
    stopped = shell.run("stop", "web")
    assert stopped.returncode == 0, stopped.stderr
    assert "Stopped" in shell.run("status").stdout
    removed = shell.run("rm", "--yes", "web")
    assert removed.returncode == 0, removed.stderr
    assert "web.0.1" in removed.stderr
    assert shell.run("status", "-o", "json").stdout == "[]\n"
    assert shell.strays() == []
    assert shell.run("rm", "--yes", "web").returncode == 3


CHAIN = """
    workloads:
      dropped:
        kind: service
        replicas: 0
        containers: [{name: main, command: [sleep, "1000"]}]
      follows:
        kind: service
        after: {dropped: started}
        containers: [{name: main, command: [sleep, "1000"]}]
      high:
        kind: service
        containers: [{name: main, command: [sleep, "1000"]}]
    """


def test_what_waits_for_others_is_removed_with_them_or_nothing_is(shell: Any) -> None:
    up = shell.up(service(shell))
    up.wait_for("web: Healthy")
    chain = shell.write("chain.yaml", CHAIN)
    assert shell.run("apply", str(chain)).returncode == 0
    alone = shell.run("rm", "--yes", "high", "dropped")
    assert alone.returncode == 4
    assert "nothing was removed" in alone.stderr
    assert sorted(shell.run("status", "-o", "name").stdout.split()) == ["dropped", "follows", "high", "web"]
    together = shell.run("rm", "--yes", "high", "dropped", "web", "follows")
    assert together.returncode == 0, together.stderr
    assert shell.run("status", "-o", "name").stdout == ""


def test_a_plan_without_an_owner_starts_and_writes_nothing(shell: Any) -> None:
    path = service(shell)
    up = up_and_ready(shell, path)
    up.process.kill()
    up.end()
    before = pids(shell)
    os.kill(int(before[0]), signal.SIGKILL)
    events = shell.run("events", "-o", "json").stdout
    assert shell.run("plan", path).returncode == 0
    assert shell.run("explain", "web").returncode == 0
    assert pids(shell) == before
    assert shell.run("events", "-o", "json").stdout == events


def test_a_stop_that_leaves_nothing_running_ends_the_owner(shell: Any) -> None:
    up = shell.up(service(shell))
    up.wait_for("web: Healthy")
    stopped = shell.run("stop", "web")
    assert stopped.returncode == 0, stopped.stderr
    assert up.end() == 0


def test_a_second_up_applies_to_the_first_and_follows_its_own_file(shell: Any) -> None:
    up = shell.up(service(shell))
    up.wait_for("web: Healthy")
    second = shell.run("up", str(shell.write("app.yaml", PIPELINE)))
    assert second.returncode == 0, second.stderr
    assert second.stdout.splitlines()[-1] == "total.0 | part 2"
    assert "applied to the orchestrator that runs here already: 2 of 2 changed" in second.stderr
    assert "web" not in second.stdout
    following = shell.up(str(shell.folder / "web.yaml"))
    following.wait_for("web: Healthy")
    following.interrupt()
    assert following.end() == 130
    assert up.process.poll() is None
    assert shell.run("exec", "web.0", "--", "true").returncode == 0
    up.interrupt()
    assert up.end() == 130


def test_a_second_up_shows_all_output_though_the_first_has_nothing_left_to_do(shell: Any) -> None:
    until = 'workloads: {first: {kind: batch, containers: [{name: m, command: [sh, -c, "cat @"]}]}}'
    os.mkfifo(shell.folder / "go")
    first = shell.up(str(shell.write("first.yaml", until.replace("@", str(shell.folder / "go")))))
    first.wait_for("first: Running")
    many = 'workloads: {many: {kind: batch, containers: [{name: m, command: [sh, -c, "echo begun; seq 300000"]}]}}'
    second = shell.up(str(shell.write("many.yaml", many)))
    second.wait_for("many.0 | begun")
    second.send(signal.SIGSTOP)
    first.wait_for("many: Succeeded")
    (shell.folder / "go").write_text("")
    with pytest.raises(subprocess.TimeoutExpired):
        first.process.wait(timeout=1)
    second.send(signal.SIGCONT)
    assert second.end() == 0
    assert second.out == [f"many.0 | {line}" for line in ("begun", *range(1, 300_001))]
    assert first.end() == 0


def test_what_no_node_could_run_is_refused_and_changes_nothing(shell: Any) -> None:
    manifest = """
        workloads:
          fits: {kind: batch, containers: [{name: main, command: [echo, "no"]}]}
          huge: {kind: batch, containers: [{name: main, command: [echo, "no"], resources: {cpu: 90000}}]}
        """
    path = str(shell.write("huge.yaml", manifest))
    done = shell.run("up", path)
    assert done.returncode == 7
    assert done.stderr.startswith(f"error: {path}: no node could ever run workload 'huge'")
    assert f"on node {os.uname().nodename} (" in done.stderr
    assert "Traceback" not in done.stderr
    assert not shell.state.exists()
    shell.state.mkdir()
    assert shell.run("up", path).returncode == 7
    assert shell.run("status", "-o", "json").stdout == "[]\n"
    planned = shell.run("plan", path)
    assert planned.returncode == 1
    assert "huge.0: nowhere" in planned.stdout
    assert "it would fit" in planned.stdout


def test_a_plan_before_the_first_run_leaves_nothing_behind(shell: Any) -> None:
    planned = shell.run("plan", str(shell.write("app.yaml", PIPELINE)), "-o", "json")
    assert planned.returncode == 1, planned.stderr
    plan = json.loads(planned.stdout)
    assert [change["action"] for change in plan["changes"]] == ["create", "create"]
    assert not shell.state.exists()


def test_a_manifest_may_come_from_stdin_or_be_a_folder(shell: Any) -> None:
    done = shell.run(
        "up",
        "-",
        input='{"workloads": {"a": {"kind": "batch", "containers": [{"name": "m", "command": ["echo", "hi"]}]}}}',
    )
    assert (done.returncode, done.stdout) == (0, "a.0 | hi\n"), done.stderr
    folder = shell.folder / "many"
    folder.mkdir()
    for name, suffix in (("b", "yaml"), ("c", "yml"), ("d", "json")):
        text = json.dumps(
            {"workloads": {name: {"kind": "batch", "containers": [{"name": "m", "command": ["echo", name]}]}}}
        )
        (folder / f"{name}.{suffix}").write_text(text)
    (folder / "notes.txt").write_text("not a manifest")
    done = shell.run("up", "many")
    assert sorted(done.stdout.split()) == ["b", "b.0", "c", "c.0", "d", "d.0", "|", "|", "|"]


def test_a_state_directory_with_a_long_path_works(shell: Any) -> None:
    shell.state = shell.folder / ("x" * 100) / ("y" * 60)
    shell.environment["ORCHESTRION_STATE"] = str(shell.state)
    up = shell.up(service(shell))
    up.wait_for("web: Healthy")
    assert shell.run("status").returncode == 0
    assert shell.run("exec", "web.0", "--", "true").returncode == 0
    up.interrupt()
    assert up.end() == 130


def test_events_and_logs_can_be_followed(shell: Any) -> None:
    up = shell.up(service(shell))
    up.wait_for("web: Healthy")
    following = shell.up(str(shell.folder / "web.yaml"), "--logs", "all")
    following.wait_for("web.0 | ready")
    assert shell.run("stop", "web").returncode == 0
    assert following.end() == 0, following.err
    assert up.end() == 0


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--store", "nope"], 3, "no store 'nope' is installed; there are: sqlite"),
        (["--scheduler", "nope"], 3, "no scheduler 'nope' is installed"),
        (["--state", "/proc/nowhere"], 9, "can't make the state directory"),
    ],
)
def test_what_it_can_not_start_with_is_told(shell: Any, options: list[str], code: int, told: str) -> None:
    done = shell.run("up", str(shell.write("app.yaml", PIPELINE)), *options)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_error(shell: Any) -> None:
    manifest = """
        workloads:
          much: {kind: batch, containers: [{name: main, command: [sh, -c, "seq 1 100000"]}]}
        """
    shell.run("up", str(shell.write("much.yaml", manifest)), "--logs", "none")
    line = f"{sys.executable} -m orchestrion.cli logs much | head -n 1"
    done = subprocess.run(line, shell=True, env=shell.environment, capture_output=True, text=True, check=True)
    assert done.stdout == "much.0 | 1\n"
    assert done.stderr == ""


MUCH = """
    workloads:
      much: {kind: batch, containers: [{name: main, command: [sh, -c, "seq 1 100000; touch @/done"]}]}
    """


@pytest.mark.slow
@pytest.mark.parametrize(
    "into", ["| head -n 1", "2>&1 | head -n 1", "> /dev/full", "> /dev/full 2>&1", ">&-", ">&- 2>&- <&-"]
)
def test_what_runs_is_not_ended_by_output_that_nobody_takes(shell: Any, into: str) -> None:
    path = shell.write("much.yaml", MUCH.replace("@", str(shell.folder)))
    line = f"set -o pipefail; {sys.executable} -m orchestrion.cli up {path} {into}"
    done = subprocess.run(["bash", "-c", line], env=shell.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (shell.folder / "done").exists()
    assert "Succeeded" in shell.run("status").stdout


@pytest.mark.slow
def test_output_that_can_not_be_written_is_told(shell: Any) -> None:
    shell.run("up", str(shell.write("much.yaml", MUCH.replace("@", str(shell.folder)))), "--logs", "none")
    for command in ("status", "logs much", "up --help"):
        line = f"{sys.executable} -m orchestrion.cli {command} > /dev/full"
        done = subprocess.run(line, shell=True, env=shell.environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.splitlines()[0]) == (
            1,
            "error: no space is left on the device to which this command writes",
        )
