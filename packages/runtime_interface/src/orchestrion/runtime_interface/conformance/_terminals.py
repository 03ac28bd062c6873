"""Checks of commands at terminals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

from orchestrion.runtime_interface import (
    CommandNotFound,
    LogStream,
    RuntimeClosed,
    TerminalSession,
    TerminalSize,
)
from orchestrion.shared_types import ContainerId, ContainerNotFound, ContainerState, RuntimeFailure

from ._abilities import UNKNOWN, place, read_all
from ._behaviour import (
    Behaviour,
    CannotStart,
    CopiesStdin,
    Exits,
    Prints,
    PrintsEnvironment,
    Sleeps,
    TellsSize,
    pattern,
)
from ._bench import TERMINALS, Bench, clause, equal, expect

SIZE = TerminalSize(rows=31, columns=97)
OTHER = TerminalSize(rows=13, columns=41)
SIGINT = 2
INTERRUPT = b"\x03"


def terminals(clause_id: str, sentence: str, *needs: str) -> Callable[..., Callable[[Bench], Awaitable[None]]]:
    """Declare a check that needs terminals."""
    return clause(clause_id, sentence, requires=TERMINALS, needs=needs)


def at_terminal(
    bench: Bench, container_id: ContainerId, behaviour: Behaviour
) -> AbstractAsyncContextManager[TerminalSession]:
    """Run a command that behaves so at a terminal."""
    return bench.terminals.exec_at_terminal(container_id, bench.command(behaviour), size=SIZE)


async def read_until(session: TerminalSession, text: bytes) -> bytes:
    """Read what comes until there is a text, and return it all."""
    got = b""
    async for item in session.output():
        equal(item.stream, LogStream.STDOUT)
        got += item.data
        if text in got:
            return got
    msg = f"the output ended without {text!r}; it was {got!r}"
    raise AssertionError(msg)


def line_of(size: TerminalSize) -> bytes:
    """Return what a command writes that tells this size."""
    return b"size %d %d" % (size.rows, size.columns)


@terminals("TERMINAL-1", "a command is at a terminal of the size that was asked for", "TellsSize")
async def terminal_size(bench: Bench) -> None:
    async with at_terminal(bench, await place(bench), TellsSize()) as session:
        with bench.promptly("the command tells its terminal's size"):
            await session.send_stdin(b"\n")
            await read_until(session, line_of(SIZE))


@terminals("TERMINAL-1", "each command has a terminal of its own", "TellsSize")
async def terminals_of_their_own(bench: Bench) -> None:
    container_id, command = await place(bench), bench.command(TellsSize())
    exec_at = bench.terminals.exec_at_terminal
    async with exec_at(container_id, command, size=SIZE) as one, exec_at(container_id, command, size=OTHER) as other:
        with bench.promptly("both commands tell the sizes of their terminals"):
            for session, size in ((one, SIZE), (other, OTHER)):
                await session.send_stdin(b"\n")
                await read_until(session, line_of(size))


@terminals("TERMINAL-1", "a command knows what kind of terminal it is at", "PrintsEnvironment")
async def terminal_kind(bench: Bench) -> None:
    async with at_terminal(bench, await place(bench), PrintsEnvironment()) as session:
        with bench.promptly("the command ends"):
            printed = (await read_all(session))[LogStream.STDOUT]
    kinds = [entry for entry in printed.split(b"\0") if entry.startswith(b"TERM=")]
    assert len(kinds) == 1, f"TERM is there {len(kinds)} times"
    assert kinds[0] != b"TERM=", "TERM is empty"


@terminals("TERMINAL-1", "the kind of terminal that a container names is its own", "PrintsEnvironment")
async def terminal_kind_of_container(bench: Bench) -> None:
    config = bench.config(Sleeps(), env_vars={"TERM": "kit-terminal"})
    container_id = await bench.runtime.create_container(config, bench.options())
    await bench.running(container_id)
    async with at_terminal(bench, container_id, PrintsEnvironment()) as session:
        with bench.promptly("the command ends"):
            printed = (await read_all(session))[LogStream.STDOUT]
    assert b"TERM=kit-terminal" in printed.split(b"\0"), "TERM is not as the container has it"


@terminals("TERMINAL-2", "a line that is typed is echoed and read once it is ended", "CopiesStdin")
async def typed_lines(bench: Bench) -> None:
    async with at_terminal(bench, await place(bench), CopiesStdin()) as session:
        with bench.promptly("what is typed comes once as echo, and then from the command"):
            await session.send_stdin(b"one")
            equal(await read_until(session, b"one"), b"one")
            await session.send_stdin(b" two\n")
            equal((await read_until(session, b"one two\r\n")).replace(b"\r\n", b"\n"), b" two\none two\n")


@terminals("TERMINAL-2", "both outputs are the terminal", "Prints")
async def both_outputs(bench: Bench) -> None:
    container_id = await place(bench)
    for stream in LogStream:
        async with at_terminal(bench, container_id, Prints(5000, stream)) as session:
            with bench.promptly("the output ends"):
                got = await read_all(session)
        equal(got[LogStream.STDERR], b"")
        equal(got[LogStream.STDOUT].replace(b"\r\n", b"\n"), pattern(0, 5000))


@terminals("TERMINAL-2", "how a command ended is told", "Exits")
async def terminal_exit(bench: Bench) -> None:
    container_id = await place(bench)
    for code in (0, 7):
        async with at_terminal(bench, container_id, Exits(code)) as session:
            with bench.promptly("the command ends"):
                equal((await session.wait()).code, code)
                equal(await read_all(session), dict.fromkeys(LogStream, b""))


@terminals("TERMINAL-3", "a terminal gets another size", "TellsSize")
async def resized(bench: Bench) -> None:
    async with at_terminal(bench, await place(bench), TellsSize()) as session:
        with bench.promptly("the command tells the new size"):
            await session.send_stdin(b"\n")
            await read_until(session, line_of(SIZE))
            await session.resize(OTHER)
            await session.send_stdin(b"\n")
            await read_until(session, line_of(OTHER))


@terminals("TERMINAL-3", "the size of a terminal whose command has ended changes nothing")
async def resized_late(bench: Bench) -> None:
    async with at_terminal(bench, await place(bench), Exits(0)) as session:
        with bench.promptly("the command ends"):
            await session.wait()
            await session.resize(OTHER)
            await session.send_stdin(b"too late\n")
            equal((await session.wait()).code, 0)


@terminals("TERMINAL-4", "the character for it interrupts what runs", "TellsSize")
async def interrupted(bench: Bench) -> None:
    async with at_terminal(bench, await place(bench), TellsSize()) as session:
        with bench.promptly("the command is interrupted"):
            await session.send_stdin(b"\n")
            await read_until(session, line_of(SIZE))
            await session.send_stdin(INTERRUPT)
            status = await session.wait()
    assert (status.code, status.signal) in ((None, SIGINT), (128 + SIGINT, None)), status


@terminals("TERMINAL-5", "the end of the input is typed", "CopiesStdin")
async def typed_end(bench: Bench) -> None:
    async with at_terminal(bench, await place(bench), CopiesStdin()) as session:
        with bench.promptly("the command ends with its input"):
            await session.send_stdin(b"all\n")
            await session.close_stdin()
            await session.close_stdin()
            equal((await session.wait()).code, 0)
            assert b"all\r\n" in (await read_all(session))[LogStream.STDOUT]


@terminals("TERMINAL-6", "leaving kills the command", "processes")
async def leaving_terminal(bench: Bench) -> None:
    assert bench.subject.processes is not None
    container_id, token = await place(bench), bench.token()
    with bench.promptly("leaving does not wait for the command"):
        async with at_terminal(bench, container_id, Sleeps(token)):
            await bench.until(partial(bench.subject.processes, token), "the command runs")
    equal(await bench.subject.processes(token), 0)
    assert await bench.state(container_id) is ContainerState.RUNNING, "the container itself is not touched"


@terminals("TERMINAL-7", "there is no terminal in an unknown container")
async def terminal_in_unknown(bench: Bench) -> None:
    with expect(ContainerNotFound, "it never existed"):
        async with at_terminal(bench, UNKNOWN, Exits(0)):
            pass


@terminals("TERMINAL-7", "there is no terminal in a container that has ended")
async def terminal_in_ended(bench: Bench) -> None:
    container_id = await bench.create(Exits(0))
    await bench.exited(container_id)
    with expect(RuntimeFailure, "it has ended"):
        async with at_terminal(bench, container_id, Exits(0)):
            pass


@terminals("TERMINAL-8", "a program that is not there is told as such at a terminal too", "CannotStart")
async def terminal_not_found(bench: Bench) -> None:
    container_id = await place(bench)
    with expect(CommandNotFound, "there is no such program"):
        async with at_terminal(bench, container_id, CannotStart()):
            pass


@clause("CLOSE-1", "terminals are refused after closing too", requires=TERMINALS)
async def terminals_closed(bench: Bench) -> None:
    container_id = await place(bench)
    await bench.runtime.aclose()
    with expect(RuntimeClosed, "the runtime was closed"):
        async with at_terminal(bench, container_id, Exits(0)):
            pass
