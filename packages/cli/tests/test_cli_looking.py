"""Commands that only look: what they leave alone, and what they can look at."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from orchestrion.cli import run
from orchestrion.cli._reach import owner_or_lock
from orchestrion.cli._read_only import looked_into
from orchestrion.cli._state_directory import Ownership, StateDirectory
from orchestrion.shared_types import StateFailure

from .conftest import Shell
from .running_command import COMMAND

_LOOKING = [
    ("status",),
    ("status", "--watch"),
    ("events",),
    ("logs", "web"),
    ("logs", "--all"),
    ("explain", "web"),
    ("stop", "--dry-run", "web"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is no state directory, with something in it."""
    for name in ("URL", "TOKEN", "CONTEXT", "STATE"):
        monkeypatch.delenv(f"ORCHESTRION_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    return folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("command", _LOOKING, ids=" ".join)
def test_a_folder_that_is_no_state_directory_is_told_as_such_and_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    (folder / "lock").touch()  # others have files of that name too
    code = run([*command, "--state", str(folder)])
    said = capsys.readouterr().err
    assert (code, names_in(folder)) == (3, ["hosts", "lock"])
    assert f"{folder} is no state directory" in said
    assert "next:  `orchestrion up FILE` makes it one; --state names another." in said


@pytest.mark.parametrize("command", [("get", "nodes"), ("top", "nodes"), ("whoami",)], ids=" ".join)
def test_what_needs_an_owner_finds_none_in_it_and_leaves_it_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    code = run([*command, "--state", str(folder)])
    assert (code, names_in(folder)) == (9, ["hosts"])
    assert f"no orchestrator runs on {folder}" in capsys.readouterr().err


def test_a_plan_for_it_is_that_of_a_first_up_and_leaves_it_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "web.yaml"
    manifest.write_text("{workloads: {web: {containers: [{name: main, command: [sleep, '9']}]}}}")
    code = run(["plan", str(manifest), "--state", str(folder)])
    assert (code, names_in(folder)) == (1, ["hosts"])
    assert "web" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["status", "up web.yaml", "server", "mcp"])
def test_an_empty_name_of_a_state_directory_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.chdir(folder)
    code = run([*command.split(), "--state", ""])
    assert (code, names_in(folder)) == (2, ["hosts"])
    assert "--state" in capsys.readouterr().err


async def test_a_lock_file_alone_is_of_somebody_else_and_that_of_an_owner_is_known(tmp_path: Path) -> None:
    place = StateDirectory(tmp_path)
    assert not place.is_used()
    with place.owned() as ownership:
        assert ownership is not None
        assert not place.is_used()
        ownership.begin({"store": "acme"})
    assert place.is_used()
    (tmp_path / "lock").unlink()
    place.make_part("store", "acme")
    assert place.is_used(), "a copy need not have the lock"


def _mounts() -> bool:
    """Whether this machine lets a test mount something in a name space of its own."""
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        ["unshare", "-rm", "sh", "-c", "mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp"],
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


def on_read_only(shell: Shell, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command where the state directory is mounted so that nothing can be written to it."""
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, str(shell.state), *COMMAND, *arguments],
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.skipif(not _mounts(), reason="nothing can be mounted here")
def test_a_read_only_state_directory_can_be_looked_at(shell: Shell) -> None:
    shell.write("job.yaml", "{workloads: {job: {kind: batch, containers: [{name: main, command: [echo, 'done']}]}}}")
    up = shell.run("up", "job.yaml")
    assert up.returncode == 0, up.stderr
    shell.run("status")
    before = sorted(str(path) for path in shell.state.rglob("*"))
    status = on_read_only(shell, "status", "-o", "json")
    assert (status.returncode, '"job"' in status.stdout) == (0, True), status.stderr
    events = on_read_only(shell, "events")
    assert (events.returncode, "job" in events.stdout) == (0, True), events.stderr
    explain = on_read_only(shell, "explain", "job")
    assert explain.returncode == 0, explain.stderr
    logs = on_read_only(shell, "logs", "job")
    assert (logs.returncode, logs.stdout) == (9, "")
    assert f"the output in {shell.state} can't be read: its file system is read-only" in logs.stderr
    assert "next:  " in logs.stderr
    for command in (("stop", "job"), ("rm", "--yes", "job"), ("up", "job.yaml")):
        told = on_read_only(shell, *command)
        assert (told.returncode, "Read-only file system" in told.stderr) == (9, True), told.stderr
    assert sorted(str(path) for path in shell.state.rglob("*")) == before


async def test_what_is_read_only_is_looked_into_in_a_copy_that_goes_again(tmp_path: Path) -> None:
    place = StateDirectory(tmp_path / "state")
    place.make()
    (place.make_part("store", "acme") / "data").write_text("kept")
    (place.make_part("runtime", "acme") / "output").write_text("large")
    async with owner_or_lock(place) as found:
        assert isinstance(found, Ownership)
        async with looked_into(found) as same:
            assert same == place
        async with looked_into(Ownership(found.descriptor, place, is_read_only=True)) as copy:
            assert (copy.part("store", "acme") / "data").read_text() == "kept"
            assert not copy.part("runtime", "acme").exists()
            (copy.part("store", "acme") / "data").write_text("changed")
        assert not copy.path.exists()
    assert (place.part("store", "acme") / "data").read_text() == "kept"


async def test_one_that_cannot_be_copied_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = StateDirectory(tmp_path / "state")
    place.make()
    place.make_part("store", "acme")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    async with owner_or_lock(place) as found:
        assert isinstance(found, Ownership)
        with pytest.raises(StateFailure, match="read-only") as caught:
            async with looked_into(Ownership(found.descriptor, place, is_read_only=True)):
                pytest.fail("it was copied")
    assert "TMPDIR" in caught.value.remedy
