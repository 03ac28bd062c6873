"""Sealed secrets: only who has the keys opens them, and only for what they were sealed for."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._identity.sealing import SealBroken, Sealer
from orchestrion.shared_types import StateFailure

NAME = "/secret/default/db/password"
SEALER = Sealer(Path("nowhere"), "0" * 16, {"0" * 16: bytes(32)})


@given(st.text(), st.text())
def test_what_was_sealed_opens_for_its_name_and_for_no_other(text: str, name: str) -> None:
    sealed = SEALER.seal(text, name=name)
    assert SEALER.unseal(sealed, name=name) == text
    with pytest.raises(SealBroken):
        SEALER.unseal(sealed, name=f"{name}x")


def test_the_same_text_is_sealed_differently_each_time() -> None:
    assert SEALER.seal("hunter2", name=NAME) != SEALER.seal("hunter2", name=NAME)


def test_what_is_sealed_does_not_show_the_text() -> None:
    assert "hunter2" not in SEALER.seal("hunter2", name=NAME)
    assert SEALER.is_sealed(SEALER.seal("hunter2", name=NAME))
    assert not SEALER.is_sealed("hunter2")


def test_a_change_of_any_character_is_found() -> None:
    sealed = SEALER.seal("hunter2", name=NAME)
    for place, letter in enumerate(sealed):
        for other in {*"A0b/=", chr(ord(letter) + 1)}:
            changed = sealed[:place] + other + sealed[place + 1 :]
            if letter != other:
                with pytest.raises(SealBroken):
                    SEALER.unseal(changed, name=NAME)


@given(st.text())
def test_what_was_never_sealed_does_not_open(text: str) -> None:
    for given_text in (text, f"orc-sealed:1:{text}", f"orc-sealed:1:{'0' * 16}:{text}"):
        with pytest.raises(SealBroken):
            SEALER.unseal(given_text, name=NAME)


def test_the_keys_are_made_once_in_a_file_of_the_servers_own(tmp_path: Path) -> None:
    sealed = Sealer.open(tmp_path).seal("hunter2", name=NAME)
    assert Sealer.open(tmp_path).unseal(sealed, name=NAME) == "hunter2"
    assert [one.name for one in tmp_path.iterdir()] == ["secrets.key"]
    assert stat.S_IMODE((tmp_path / "secrets.key").stat().st_mode) == 0o600


def test_a_new_key_seals_and_the_old_ones_open(tmp_path: Path) -> None:
    old = Sealer.open(tmp_path)
    sealed = old.seal("hunter2", name=NAME)
    new = old.rotated()
    assert new.unseal(sealed, name=NAME) == "hunter2"
    assert not new.is_current(sealed)
    again = new.reseal(sealed, name=NAME)
    assert new.is_current(again)
    assert new.reseal(again, name=NAME) == again
    assert Sealer.open(tmp_path).unseal(again, name=NAME) == "hunter2"
    assert Sealer.open(tmp_path).key_ids == new.key_ids == (old.current, new.current)
    with pytest.raises(SealBroken, match="needs the key"):
        old.unseal(again, name=NAME)


def test_a_key_goes_when_nothing_is_sealed_with_it_any_longer(tmp_path: Path) -> None:
    old = Sealer.open(tmp_path)
    sealed = old.seal("hunter2", name=NAME)
    new = old.rotated().without(old.current)
    assert Sealer.open(tmp_path).key_ids == (new.current,)
    with pytest.raises(SealBroken):
        new.unseal(sealed, name=NAME)
    with pytest.raises(StateFailure, match="seals what is new"):
        new.without(new.current)


def test_one_object_can_not_be_resealed_as_another(tmp_path: Path) -> None:
    old = Sealer.open(tmp_path)
    sealed = old.seal("hunter2", name=NAME)
    with pytest.raises(SealBroken):
        old.rotated().reseal(sealed, name="/secret/default/other/password")


def test_keys_that_others_can_read_are_not_used(tmp_path: Path) -> None:
    Sealer.open(tmp_path)
    (tmp_path / "secrets.key").chmod(0o640)
    with pytest.raises(StateFailure, match="0640"):
        Sealer.open(tmp_path)


def test_a_link_in_the_place_of_the_keys_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Sealer.open(elsewhere)
    (tmp_path / "secrets.key").symlink_to(elsewhere / "secrets.key")
    with pytest.raises(StateFailure, match="reading"):
        Sealer.open(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(version=2),
        lambda data: data.update(current="f" * 16),
        lambda data: data.update(keys=[]),
        lambda data: data["keys"].update({"f" * 16: "AAAA"}),
        lambda data: data["keys"].update({"f" * 16: "?"}),
        lambda data: data["keys"].update(short=data["keys"][data["current"]]),
    ],
)
def test_damaged_keys_are_refused_and_not_shown(tmp_path: Path, change: object) -> None:
    path = Sealer.open(tmp_path).path
    data = json.loads(path.read_text())
    key = data["keys"][data["current"]]
    change(data)  # type: ignore[operator] # all of them can be called
    path.write_text(json.dumps(data))
    with pytest.raises(StateFailure, match="damaged") as caught:
        Sealer.open(tmp_path)
    assert caught.value.__suppress_context__
    assert key not in str(caught.value)
    assert json.loads(path.read_text()) == data


def test_a_sealer_does_not_show_its_keys(tmp_path: Path) -> None:
    sealer = Sealer.open(tmp_path)
    assert repr(sealer) == f"Sealer({str(sealer.path)!r}, current={sealer.current!r})"
