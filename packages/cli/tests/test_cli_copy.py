"""`cp`: where files go, here and in an instance, and what is never replaced."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import IO, Any, cast

import pytest
import trio
from orchestrion.cli import run
from orchestrion.cli._copy import CopyFailed, _Inside, _pack, _unpack, _write_out
from orchestrion.shared_types import ConfigInvalid, NotFound, OrchestrationError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def packed(source: Path) -> io.BytesIO:
    stream = io.BytesIO()
    _pack(source, stream)
    return stream


def words(path: Path, text: str = "words") -> Path:
    path.write_text(text)
    return path


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for pipe in (tmp_path / "pipe", tmp_path / "out" / "note"):
        os.mkfifo(pipe)
        with pytest.raises(ConfigInvalid, match="is a pipe"):
            _unpack(packed(words(tmp_path / "note")), "note", pipe if pipe.name == "pipe" else pipe.parent)
        assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_a_link_that_is_named_is_followed_to_a_file(tmp_path: Path) -> None:
    source, target, link = words(tmp_path / "note"), words(tmp_path / "there", "before"), tmp_path / "link"
    link.symlink_to(target)
    _unpack(packed(source), "note", link)
    assert link.is_symlink()
    assert target.read_text() == "words"


def test_a_link_to_nothing_or_to_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("nothing", "pipe"):
        link = tmp_path / f"to-{name}"
        link.symlink_to(tmp_path / name)
        with pytest.raises(ConfigInvalid):
            _unpack(packed(words(tmp_path / "note")), "note", link)
        assert link.is_symlink()
    assert not (tmp_path / "nothing").exists()


def test_a_link_in_a_folder_leads_nothing_out_of_it(tmp_path: Path) -> None:
    """What an instance gives twice, first a link and then a file of its name, stays in the folder that was named."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note").symlink_to("other")
    words(tmp_path / "out" / "other", "before")
    with pytest.raises(ConfigInvalid, match="is a link"):
        _unpack(packed(words(tmp_path / "note")), "note", tmp_path / "out")
    assert (tmp_path / "out" / "other").read_text() == "before"


def test_nothing_of_a_folder_is_written_where_a_part_of_it_can_not_be(tmp_path: Path) -> None:
    site, out = tmp_path / "site", tmp_path / "out"
    site.mkdir()
    words(site / "a")
    words(site / "b")
    (out / "site").mkdir(parents=True)
    os.mkfifo(out / "site" / "b")
    with pytest.raises(ConfigInvalid, match="nothing was written"):
        _unpack(packed(site), "site", out)
    assert [path.name for path in (out / "site").iterdir()] == ["b"]
    with pytest.raises(ConfigInvalid, match="is a folder"):
        _unpack(packed(words(site / "site")), "site", out)


@pytest.mark.parametrize(("target", "told"), [("nodir/x", "nodir is not there"), ("file/x", "file is no folder")])
def test_a_folder_that_is_not_there_is_told_before_anything_is_asked(
    target: str, told: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words(folder / "file")
    assert run(["cp", "web.0:/etc/hosts", target]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error


def test_a_file_goes_to_the_standard_output(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    _write_out(packed(words(tmp_path / "note", "a\0b")), "note")
    assert capfdbinary.readouterr().out == b"a\0b"
    with pytest.raises(ConfigInvalid, match="takes one file"):
        _write_out(packed(tmp_path), tmp_path.name)


def test_a_dash_is_a_stream_only_where_a_command_reads_or_writes_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", "-"]) == 0
    assert "\nworkloads:\n" in capsys.readouterr().out
    assert run(["cp", "-", "web.0:/tmp/x"]) == 2
    assert "standard input" in capsys.readouterr().err
    assert run(["certificate", "create", "--file", "-"]) == 2
    assert run(["debug", "bundle", "-"]) == 2
    assert "/dev/" not in capsys.readouterr().err
    assert list(folder.iterdir()) == []


class Here(_Inside):
    """Runs commands on this machine, as if it were the instance."""

    async def run(self, command: list[str], given: IO[bytes] | None, wanted: IO[bytes] | None) -> None:
        done = await trio.run_process(command, stdin=given, capture_stdout=True)
        if wanted is not None:
            wanted.write(done.stdout)


def brought(source: Path, target: str) -> None:
    """Copy something to a path of this machine as if that were in an instance."""
    inside = Here(cast("Any", None), "web.0", "default", None)

    async def bring() -> None:
        folder, name = await inside.landing(source, target)
        archive = io.BytesIO()
        _pack(source, archive, name)
        subprocess.run(["tar", "-xf", "-", "-C", folder], input=archive.getvalue(), check=True)

    trio.run(bring)


def test_what_is_not_there_is_the_new_name_in_an_instance(tmp_path: Path) -> None:
    inner, site = tmp_path / "instance", tmp_path / "site"
    inner.mkdir()
    site.mkdir()
    words(site / "page")
    brought(words(tmp_path / "note"), str(inner))
    brought(tmp_path / "note", f"{inner}/new")
    brought(words(tmp_path / "other", "later"), f"{inner}/new")
    brought(site, str(inner))
    brought(site, f"{inner}/renamed")
    assert (inner / "note").read_text() == "words"
    assert (inner / "new").read_text() == "later"
    assert (inner / "site" / "page").read_text() == (inner / "renamed" / "page").read_text() == "words"


def test_what_is_no_file_is_not_replaced_in_an_instance(tmp_path: Path) -> None:
    note, site = words(tmp_path / "note"), tmp_path / "site"
    inner = tmp_path / "instance"
    for each in (site, inner, inner / "folder", inner / "folder" / "note"):
        each.mkdir()
    os.mkfifo(inner / "pipe")
    os.mkfifo(inner / "site")
    (inner / "link").symlink_to("elsewhere")
    words(inner / "file")
    refused = [(note, "pipe"), (note, "link"), (note, "folder"), (site, "file"), (site, "")]
    for source, name in refused:
        with pytest.raises(ConfigInvalid):
            brought(source, f"{inner}/{name}" if name else str(inner))
    missing = [(note, "nodir/x"), (note, "file/x"), (note, "new/"), (tmp_path / "nothing", "x")]
    for source, name in missing:
        with pytest.raises(NotFound):
            brought(source, f"{inner}/{name}")
    assert stat.S_ISFIFO((inner / "pipe").lstat().st_mode)
    assert sorted(path.name for path in inner.iterdir()) == ["file", "folder", "link", "pipe", "site"]


def test_a_target_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OrchestrationError):
        _unpack(packed(words(tmp_path / "note")), "note", tmp_path / ("x" * 300))


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w"):
        pass
    with pytest.raises(ConfigInvalid):
        _write_out(stream, "x")
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_is_copied_out_says_what_it_leads_to(tmp_path: Path) -> None:
    archive, link = io.BytesIO(), tarfile.TarInfo("ok")
    link.type, link.linkname = tarfile.SYMTYPE, "there.txt"
    with tarfile.open(fileobj=archive, mode="w") as out:
        out.addfile(link)
    with pytest.raises(CopyFailed, match="leads to: there"):
        _unpack(archive, "ok", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def archive_of(*members: tuple[str, bytes, str]) -> io.BytesIO:
    """Return an archive of members: the name of each, its type, and what it leads to or holds."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as out:
        for name, kind, more in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                member.linkname = more
                out.addfile(member)
            else:
                member.mode, member.size = 0o755, len(more)
                out.addfile(member, io.BytesIO(more.encode()))
    return stream


def test_links_that_lead_elsewhere_are_left_out_and_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = archive_of(
        ("site", tarfile.DIRTYPE, ""),
        ("site/words", tarfile.REGTYPE, "hello"),
        ("site/within", tarfile.SYMTYPE, "words"),
        ("site/etc\x1b", tarfile.SYMTYPE, "/etc"),
        ("site/up", tarfile.SYMTYPE, "../../else"),
        ("site/hard", tarfile.LNKTYPE, "/etc/passwd"),
        ("site/again", tarfile.LNKTYPE, "site/./up"),
        ("site/once-more", tarfile.LNKTYPE, "site/again"),
        ("aside", tarfile.LNKTYPE, "site/within"),
        ("site/same", tarfile.LNKTYPE, "site/words"),
    )
    _unpack(archive, "site", folder / "out")
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["same", "within", "words"]
    assert (folder / "out" / "within").readlink() == Path("words")
    assert (folder / "out" / "same").read_text() == "hello"
    assert capsys.readouterr().err.splitlines() == [
        "6 links lead elsewhere, and were left out:",
        "  'site/etc\\x1b' -> '/etc'",
        "  'site/up' -> '../../else'",
        "  'site/hard' -> '/etc/passwd'",
        "  'site/again' -> 'site/./up'",
        "  'site/once-more' -> 'site/again'",
        "  and 1 more",
    ]


def test_of_many_links_that_lead_out_a_few_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    links = [(f"site/{number}{'x' * 300}", tarfile.SYMTYPE, f"/{'y' * 300}") for number in range(20)]
    _unpack(archive_of(("site", tarfile.DIRTYPE, ""), *links), "site", folder / "out")
    head, *lines, last = capsys.readouterr().err.splitlines()
    assert head == "20 links lead elsewhere, and were left out:"
    assert (len(lines), last, max(map(len, lines)) < 250) == (5, "  and 15 more", True)


def test_a_named_link_that_leads_out_says_what_it_leads_to(folder: Path) -> None:
    with pytest.raises(CopyFailed, match="is a link there; name what it leads to: /etc/hosts"):
        _unpack(archive_of(("hosts", tarfile.SYMTYPE, "/etc/hosts")), "hosts", folder / "out")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "member", [("site/null", tarfile.CHRTYPE, ""), ("site/../../out", tarfile.REGTYPE, "words")], ids=["device", "path"]
)
def test_what_is_no_link_and_must_not_be_unpacked_still_fails_the_whole(
    folder: Path, member: tuple[str, bytes, str]
) -> None:
    with pytest.raises(CopyFailed, match="can't be unpacked"):
        _unpack(archive_of(("site", tarfile.DIRTYPE, ""), member), "site", folder / "out")
    assert list(folder.iterdir()) == []
