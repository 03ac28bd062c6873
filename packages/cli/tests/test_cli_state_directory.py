"""The state directory: who owns it, and what was left in it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from orchestrion.cli._state_directory import StateDirectory, at
from orchestrion.shared_types import ConfigInvalid, NotFound, StateFailure

_NOBODY = 65534


@pytest.fixture
def place(tmp_path: Path) -> StateDirectory:
    place = StateDirectory(tmp_path / "deep" / "state")
    place.make()
    return place


@pytest.fixture(params=[0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_others_can_pass_through_it_and_not_list_it(tmp_path: Path) -> None:
    place = StateDirectory(tmp_path / "deep" / "state")
    place.make()
    assert (mode_of(place.path), mode_of(place.path.parent)) == (0o711, 0o711)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(("interface", "mode"), [("runtime", 0o711), ("store", 0o700), ("cluster", 0o700)])
def test_only_a_runtimes_folder_can_be_passed_through(interface: str, mode: int, place: StateDirectory) -> None:
    folder = place.make_part(interface, "acme")
    assert folder == place.path / f"{interface}-acme"
    assert mode_of(folder) == mode
    place.make_part(interface, "acme")


def test_it_is_there_after_a_power_failure_with_the_way_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = set()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr("orchestrion.cli._state_directory.os.fsync", fsync)
    place = StateDirectory(tmp_path / "deep" / "state")
    place.make()
    place.make_part("store", "acme")
    assert {tmp_path, place.path.parent, place.path} == synced, "each holds the name of the next"


def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    StateDirectory(tmp_path / "state").make()
    assert mode_of(tmp_path / "state") == 0o700


def test_what_is_private_in_one_that_was_open_to_all_is_so_for_its_owner(tmp_path: Path) -> None:
    place = StateDirectory(tmp_path / "state")
    modes = {
        "runtime-process": 0o711,
        "store-sqlite": 0o700,
        "cluster-acme": 0o700,
        "volumes": 0o711,
        "notes-of-somebody": 0o777,
    }
    for one in (place.path, *(place.path / name for name in modes)):
        one.mkdir()
        one.chmod(0o755 if one == place.path else 0o777)
    (place.path / "lock").touch(0o666)
    (place.path / "lock").chmod(0o666)
    (tmp_path / "elsewhere").mkdir(0o755)
    (place.path / "store-elsewhere").symlink_to(tmp_path / "elsewhere")
    place.make()
    with place.owned() as ownership:
        assert ownership is not None
        assert {name: mode_of(place.path / name) for name in modes} == modes
        assert mode_of(place.path / "lock") == 0o600
        assert (mode_of(place.path), mode_of(tmp_path / "elsewhere")) == (0o755, 0o755)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o703])
def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(mode)
    with (
        pytest.raises(StateFailure, match="others can write to the state directory") as caught,
        StateDirectory(tmp_path / "state").owned(),
    ):
        pytest.fail("it was owned")
    assert f"chmod go-w {tmp_path / 'state'}" in caught.value.remedy
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", _NOBODY, -1)
    with pytest.raises(StateFailure, match="belongs to another user"), StateDirectory(tmp_path / "state").owned():
        pytest.fail("it was owned")


def test_what_is_more_private_than_it_has_to_be_stays_so(place: StateDirectory) -> None:
    folder = place.make_part("runtime", "process")
    folder.chmod(0o500)
    with place.owned():
        assert mode_of(folder) == 0o500


def test_the_lock_is_its_owners_alone(place: StateDirectory) -> None:
    with place.owned():
        assert mode_of(place.path / "lock") == 0o600


def test_it_is_in_the_current_folder_unless_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert at(None).path == tmp_path / ".orchestrion"
    assert at(Path("other")).path == tmp_path / "other"


def test_a_path_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="has to be UTF-8"):
        at(Path(os.fsdecode(b"st\xff")))


def test_it_has_one_owner_at_a_time(place: StateDirectory) -> None:
    with place.owned() as first, place.owned() as second:
        assert first is not None
        assert second is None
    with place.owned() as third:
        assert third is not None


def test_an_owner_that_dies_leaves_it_free(place: StateDirectory) -> None:
    code = (
        "import os, sys; from pathlib import Path; from orchestrion.cli._state_directory import StateDirectory\n"
        "with StateDirectory(Path(sys.argv[1])).owned() as ownership:\n"
        "    ownership.begin({}); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(place.path)], check=False)
    with place.owned() as ownership:
        assert ownership is not None
        assert ownership.was_cut_short


def test_an_owner_that_ended_in_good_order_says_so(place: StateDirectory) -> None:
    with place.owned() as ownership:
        assert ownership is not None
        assert not ownership.was_cut_short
        ownership.begin({"store": "acme"})
    with place.owned() as ownership:
        assert ownership is not None
        assert ownership.was_cut_short
        ownership.end()
    with place.owned() as ownership:
        assert ownership is not None
        assert not ownership.was_cut_short
        assert ownership.plugins == {"runtime": "process", "cluster": "local", "scheduler": "packing", "store": "acme"}


def test_a_directory_keeps_the_scheduler_that_it_was_used_with(place: StateDirectory) -> None:
    with place.owned() as ownership:
        assert ownership is not None
        ownership.begin({"scheduler": "simple"})
        ownership.end()
    with place.owned() as ownership:
        assert ownership is not None
        assert ownership.plugins["scheduler"] == "simple"


def test_a_note_that_can_not_be_read_counts_as_cut_short(place: StateDirectory) -> None:
    (place.path / "lock").write_text("{half")
    with place.owned() as ownership:
        assert ownership is not None
        assert ownership.was_cut_short


def test_a_child_does_not_inherit_the_lock(place: StateDirectory) -> None:
    with place.owned():
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        with place.owned() as ownership:
            assert ownership is not None
    finally:
        child.communicate()


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StateFailure, match="can't make the state directory") as caught:
        StateDirectory(tmp_path / "state").make()
    assert "--state" in caught.value.remedy


@pytest.fixture
def nobody_special(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gives up what root may do, to which nothing is forbidden; the folder of the test can be entered all the same."""
    tmp_path.chmod(0o711)
    monkeypatch.chdir(tmp_path)
    before = os.geteuid()
    if before == 0:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_directory_that_is_not_ours_is_told(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "state").mkdir(mode=0o555)
    request.getfixturevalue("nobody_special")
    with (
        pytest.raises(StateFailure, match="can't use the state directory state: Permission denied"),
        StateDirectory(Path("state")).owned(),
    ):
        pytest.fail("it was owned")


def test_a_directory_that_is_missing_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"orchestrion up FILE"):
        StateDirectory(tmp_path / "nowhere").must_exist()
