"""`cp`: files into an instance, or out of one, by the `tar` that is there."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO, Final

import trio
from attrs import frozen
from orchestrion.control_plane import Control
from orchestrion.runtime_interface import LogStream
from orchestrion.shared_types import ConfigInvalid, NotFound, OrchestrationError, Problem

from ._output import note
from ._places import Place, namespace_of, place_of
from ._reach import reach_owner
from ._running import run_async
from ._subjects import runnable
from ._where import Where

_CHUNK_BYTES: Final = 65536
_MAX_WORDS: Final = 4096
"""How much of what the other side complains about is told."""


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
                await trio.to_thread.run_sync(_unpack, archive, path.name, Path(to.path))
            else:
                await trio.to_thread.run_sync(_pack, Path(from_.path), archive)
                await inside.run(["tar", "-xf", "-", "-C", to.path], archive, None)
    note(f"copied {from_.path} to {to.path}")


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


class CopyFailed(OrchestrationError):
    """Files could not be copied; some of them may be there."""

    code = "copy-failed"


def _pack(path: Path, archive: IO[bytes]) -> None:
    if not path.exists():
        raise NotFound(f"there is no {path}")
    with tarfile.open(fileobj=archive, mode="w") as packed:
        packed.add(path, arcname=path.resolve().name)
    archive.seek(0)


def _unpack(archive: IO[bytes], name: str, to: Path) -> None:
    """Write what an archive holds: below a folder that is there, or else under the name that was said."""
    archive.seek(0)
    with tempfile.TemporaryDirectory(
        prefix="orchestrion-cp-", dir=to if to.is_dir() else to.absolute().parent
    ) as folder:
        try:
            with tarfile.open(fileobj=archive) as packed:
                packed.extractall(folder, filter="data")
        except tarfile.TarError as err:
            msg = f"what came out of the instance can't be unpacked: {err}"
            raise CopyFailed(msg, remedy="A link that leads elsewhere, or a device, is not copied.") from err
        found = Path(folder) / name
        if not found.exists():
            raise CopyFailed(f"what came out of the instance is not {name!r}")
        target = to / name if to.is_dir() else to
        if found.is_dir() and target.is_dir():
            shutil.copytree(found, target, dirs_exist_ok=True, symlinks=True)
        else:
            found.replace(target)
