"""`exec`: run a command inside an instance."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence

import trio
from orchestrion.runtime_interface import ExecSession, LogStream, TerminalSession
from orchestrion.shared_types import ConfigInvalid, ExitStatus, Problem, Unsupported

from . import _terminal
from ._exit_codes import ExitCode
from ._output import note
from ._places import Place, namespace_of, place_of
from ._reach import reach_owner
from ._running import run_async
from ._subjects import runnable
from ._where import Where

_CHUNK_BYTES = 65536
_SIGNAL_BASE = 128
"""What shells add to the number of the signal that ended a command."""


def run_exec(instance: str, command: Sequence[str], where: Where, container: str | None, *, tty: bool = False) -> int:
    """Run the command and return its exit code, or 128 plus the signal that ended it."""
    if not command:
        problem = Problem("say what to run")
        raise ConfigInvalid((problem,), remedy=f"orchestrion exec {instance} -- env")
    if tty:
        _terminal.must_be_terminal()
    place = place_of(where)
    function = _exec_at_terminal if tty else _exec
    status = run_async(function, place, instance, command, namespace_of(where, place), container)
    if isinstance(status, signal.Signals):
        return _SIGNAL_BASE + status
    if status.code is not None:
        return status.code
    note(f"the command {status.words}")
    return ExitCode.FAILED if status.signal is None else _SIGNAL_BASE + status.signal


async def _exec(
    place: Place, instance: str, command: Sequence[str], namespace: str, container: str | None
) -> ExitStatus:
    async with (
        reach_owner(place) as control,
        control.exec(
            await runnable(instance, namespace, control), command, namespace=namespace, container=container
        ) as session,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(_send_input, session)
        async for output in session.output():
            target = sys.stdout if output.stream is LogStream.STDOUT else sys.stderr
            target.buffer.write(output.data)
            target.buffer.flush()
        status = await session.wait()
        nursery.cancel_scope.cancel()
    return status


async def _exec_at_terminal(
    place: Place, instance: str, command: Sequence[str], namespace: str, container: str | None
) -> ExitStatus | signal.Signals:
    """Return how the command ended, or by what signal we were told to end before."""
    with trio.open_signal_receiver(signal.SIGWINCH, signal.SIGCONT, *_terminal.ENDING) as signals:
        async with (
            reach_owner(place) as control,
            control.exec(
                await runnable(instance, namespace, control),
                command,
                namespace=namespace,
                container=container,
                terminal=_terminal.size_now(),
            ) as session,
        ):
            if not isinstance(session, TerminalSession):
                raise Unsupported("the orchestrator has no terminals", remedy="Run it without --tty.")
            return await _at_terminal(session, signals)


async def _at_terminal(session: TerminalSession, signals: AsyncIterator[int]) -> ExitStatus | signal.Signals:
    told: list[int] = []
    status = ExitStatus(code=0)
    with _terminal.raw():
        async with trio.open_nursery() as nursery:

            async def heed() -> None:
                told.append(await _terminal.heed_signals(session, signals))
                nursery.cancel_scope.cancel()

            nursery.start_soon(heed)
            nursery.start_soon(_terminal.type_into, session)
            async for output in session.output():
                sys.stdout.buffer.write(output.data)
                sys.stdout.buffer.flush()
            status = await session.wait()
            nursery.cancel_scope.cancel()
    return signal.Signals(told[0]) if told else status


async def _send_input(session: ExecSession) -> None:
    """Pass our standard input on, to its end."""
    while True:
        # A read of a terminal can't be given up; the thread is left behind when the command has ended.
        data = await trio.to_thread.run_sync(os.read, 0, _CHUNK_BYTES, abandon_on_cancel=True)
        if not data:
            break
        await session.send_stdin(data)
    await session.close_stdin()
