"""`cp`: files into an instance, or out of one, by the `tar` that is there."""

from __future__ import annotations

import shlex
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Final

import trio
from attrs import field, frozen
from orchestrion.control_plane import Control
from orchestrion.runtime_interface import LogStream, RuntimeFailure
from orchestrion.shared_types import ConfigInvalid, NotFound, OrchestrationError, Problem

from ._output import note
from ._places import Place, namespace_of, place_of
from ._put import put, target_of
from ._reach import reach_owner
from ._running import run_async
from ._subjects import runnable
from ._where import Where

_CHUNK_BYTES: Final = 65536
_MAX_WORDS: Final = 4096
"""How much of what the other side complains about is told."""

_SHOWN: Final = 5
"""How many links that are left out are named."""

STDIN: Final = "/dev/stdin"
"""What `-` as a source is."""

STDOUT: Final = "/dev/stdout"
"""What `-` as a target is."""

_KINDS: Final = """
kind() {
    if [ -d "$1" ]; then echo folder; elif [ -L "$1" ]; then echo link; elif [ -f "$1" ]; then echo file
    elif [ -e "$1" ]; then echo other; else echo nothing; fi
}
for path; do kind "$path"; done
"""
"""Says of paths what is there."""


@frozen
class Spot:
    """A path, here or in an instance.

    Attributes:
        instance: The instance or the workload; empty for here.
        path: The path there.
    """

    instance: str
    path: str

    @classmethod
    def read(cls, text: str) -> Spot:
        """Return what a text such as "web.0:/etc/hosts" or "./hosts" means."""
        head, colon, path = text.partition(":")
        if not colon or not head or "/" in head:
            return cls("", text)
        return cls(head, path)


def run_copy(source: str, target: str, container: str | None, where: Where) -> int:
    """Copy a file or a folder."""
    from_, to = Spot.read(source), Spot.read(target)
    if bool(from_.instance) is bool(to.instance):
        problem = Problem("one of the two is in an instance, the other one is not")
        raise ConfigInvalid((problem,), remedy="orchestrion cp web.0:/tmp/report.txt .")
    if from_.instance and PurePosixPath(from_.path).name in ("", ".."):
        raise ConfigInvalid(
            (Problem(f"{from_.path!r} names no file and no folder"),), remedy="Name it by its own name."
        )
    if not (from_.path and to.path):
        raise ConfigInvalid((Problem("both paths are said, as in web.0:/tmp"),))
    if not from_.instance and from_.path == STDIN:
        problem = Problem("the standard input has no name, and is not copied")
        raise ConfigInvalid((problem,), remedy="orchestrion exec -i web.0 -- sh -c 'cat > /tmp/words'")
    if from_.instance and to.path != STDOUT:
        target_of(Path(to.path))
    place = place_of(where)
    run_async(_copy, place, namespace_of(where, place), from_, to, container)
    return 0


async def _copy(place: Place, namespace: str, from_: Spot, to: Spot, container: str | None) -> None:
    async with reach_owner(place) as control:
        instance = await runnable(from_.instance or to.instance, namespace, control)
        inside = _Inside(control, instance, namespace, container)
        with tempfile.TemporaryFile(prefix="orchestrion-cp-") as archive:
            if from_.instance:
                path = PurePosixPath(from_.path)
                await inside.run(["tar", "-cf", "-", "-C", str(path.parent), "--", path.name], None, archive)
                write = _write_out if to.path == STDOUT else partial(_unpack, to=Path(to.path))
                await trio.to_thread.run_sync(write, archive, path.name)
            else:
                source = Path(from_.path)
                folder, name = await inside.landing(source, to.path)
                await trio.to_thread.run_sync(_pack, source, archive, name)
                await inside.run(["tar", "-xf", "-", "-C", folder], archive, None)
    note(f"copied {from_.path} to {'the standard output' if to.path == STDOUT else to.path}")


@frozen
class _Inside:
    """Runs commands in an instance."""

    control: Control
    instance: str
    namespace: str
    container: str | None

    async def run(self, command: list[str], given: IO[bytes] | None, wanted: IO[bytes] | None) -> None:
        """Run a command with a file as its input, and its output into another.

        Raises:
            CopyFailed: It has failed; the message is what it said.
        """
        words = b""
        async with (
            self.control.exec(self.instance, command, namespace=self.namespace, container=self.container) as session,
            trio.open_nursery() as nursery,
        ):

            async def feed() -> None:
                while given is not None:
                    data = await trio.to_thread.run_sync(given.read, _CHUNK_BYTES)
                    if not data:
                        break
                    await session.send_stdin(data)
                await session.close_stdin()

            nursery.start_soon(feed)
            async for output in session.output():
                if output.stream is LogStream.STDERR:
                    words = (words + output.data)[-_MAX_WORDS:]
                elif wanted is not None:
                    await trio.to_thread.run_sync(wanted.write, output.data)
            status = await session.wait()
            nursery.cancel_scope.cancel()
        if not status.succeeded:
            told = words.decode(errors="replace").strip() or f"{command[0]} ended with {status.code}"
            raise CopyFailed(f"copying failed in {self.instance}: {told}")

    async def landing(self, source: Path, target: str) -> tuple[str, str]:
        """Return the folder in which a file or a folder of here is to be, and its name there.

        Raises:
            NotFound: It is not here, or the folder is not there.
            ConfigInvalid: What is there under that name is not to be replaced.
        """
        own, wanted = await trio.to_thread.run_sync(_name_and_kind, source)
        path = PurePosixPath(target)
        known = await self._kinds(target, f"{path / own}", f"{path.parent}")
        if known is None:
            # Where there is no shell to ask, `tar` says what is wrong.
            return target, own
        is_folder = known[0] == "folder"
        if not is_folder and target.endswith("/"):
            raise NotFound(f"there is no folder {target} in {self.instance}")
        if not is_folder and known[2] != "folder":
            msg = f"there is no folder {path.parent} in {self.instance}"
            raise NotFound(msg, remedy=f"orchestrion exec {self.instance} -- mkdir -p {shlex.quote(str(path.parent))}")
        folder, name = (target, own) if is_folder else (str(path.parent), path.name)
        there = known[1 if is_folder else 0]
        if there not in (wanted, "nothing"):
            told = {"other": "a pipe or a device"}.get(there, f"a {there}")
            problem = Problem(f"{PurePosixPath(folder) / name} in {self.instance} is {told}, and not a {wanted}")
            raise ConfigInvalid((problem,), remedy="Remove it, or name another place.")
        return folder, name

    async def _kinds(self, *paths: str) -> list[str] | None:
        """Return of each path what is there; None where nobody can say."""
        with tempfile.TemporaryFile(prefix="orchestrion-cp-") as words:
            try:
                await self.run(["sh", "-c", _KINDS, "sh", *paths], None, words)
            except (CopyFailed, RuntimeFailure):
                return None
            words.seek(0)
            told = words.read().decode(errors="replace").split()
            return told if len(told) == len(paths) else None


class CopyFailed(OrchestrationError):
    """Files could not be copied; some of them may be there."""

    code = "copy-failed"


def _name_and_kind(path: Path) -> tuple[str, str]:
    if not path.exists():
        raise NotFound(f"there is no {path}")
    return path.resolve().name, "folder" if path.is_dir() else "file"


def _pack(path: Path, archive: IO[bytes], name: str = "") -> None:
    if not path.exists():
        raise NotFound(f"there is no {path}")
    with tarfile.open(fileobj=archive, mode="w") as packed:
        # A link is followed: it would lead nowhere in the instance.
        packed.add(path.resolve(), arcname=name or path.resolve().name)
    archive.seek(0)


@frozen
class _Links:
    """Leaves links out that lead elsewhere, as images have many of them: here they would lead to this machine's files.

    Attributes:
        name: What is copied, which must not be left out itself.
    """

    name: str
    _left_out: list[str] = field(factory=list, init=False)

    def filtered(self, member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
        """Return a member as it may be unpacked, or None where it is to be left out.

        Raises:
            FilterError: It must not be unpacked, and is no link.
            CopyFailed: What is copied is such a link itself.
        """
        try:
            allowed = tarfile.data_filter(member, folder)
        except (tarfile.AbsoluteLinkError, tarfile.LinkOutsideDestinationError) as err:
            if member.issym() and member.name == self.name:
                raise _is_link(self.name, member.linkname) from err
            allowed = None
        # `tarfile` unpacks in place of a hard link what that leads to where it can't be linked, and asks no filter.
        target = Path(folder) / member.linkname
        if allowed is None or (member.islnk() and (target.is_symlink() or not target.is_file())):
            self._left_out.append(f"{member.name!r:.100} -> {member.linkname!r:.100}")
            return None
        return allowed

    def tell(self) -> None:
        """Tell what was left out."""
        if not self._left_out:
            return
        number, more = len(self._left_out), len(self._left_out) - _SHOWN
        are = "1 link leads elsewhere, and was" if number == 1 else f"{number} links lead elsewhere, and were"
        note(f"{are} left out:")
        for line in self._left_out[:_SHOWN]:
            note(f"  {line}")
        if more > 0:
            note(f"  and {more} more")


def _is_link(name: str, target: object) -> CopyFailed:
    return CopyFailed(f"{name!r} is a link there; name what it leads to: {target}")


def _unpack(archive: IO[bytes], name: str, to: Path) -> None:
    """Write what an archive holds: below a folder that is there, or else under the name that was said."""
    archive.seek(0)
    to = target_of(to)
    try:
        with tempfile.TemporaryDirectory(
            prefix="orchestrion-cp-", dir=to if to.is_dir() else to.absolute().parent
        ) as folder:
            links = _Links(name)
            with _opened(archive) as packed:
                packed.extractall(folder, filter=links.filtered)  # noqa: S202 # what it lets in, `data` does
            found = Path(folder) / name
            if found.is_symlink():
                raise _is_link(name, found.readlink())
            if not found.exists():
                raise CopyFailed(f"what came out of the instance is not {name!r}")
            put(found, to / name if to.is_dir() else to)
            links.tell()
    except OSError as err:
        raise CopyFailed(f"{err.filename or to} can't be written: {err.strerror}") from err


def _write_out(archive: IO[bytes], name: str) -> None:
    """Write the one file that an archive holds to the standard output."""
    archive.seek(0)
    with _opened(archive) as packed:
        first = packed.next()
        content = packed.extractfile(first) if first is not None and first.isreg() else None
        if content is None:
            problem = Problem(f"{name!r} is no file, and the standard output takes one file")
            raise ConfigInvalid((problem,), remedy="Name a folder of this machine instead of -.")
        sys.stdout.flush()
        shutil.copyfileobj(content, sys.stdout.buffer)
        sys.stdout.buffer.flush()


@contextmanager
def _opened(archive: IO[bytes]) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(fileobj=archive) as packed:
            yield packed
    except tarfile.TarError as err:
        msg = f"what came out of the instance can't be unpacked: {err}"
        raise CopyFailed(msg, remedy="A device, or what is to be outside of the folder, is not copied.") from err
