"""From the arguments to an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ._commands import COMMANDS, NO_COLOR, Command, command_of, commands_under, group_overview, name_first, overview
from ._interrupts import INTERRUPTED
from ._quick import LogChoice, QuickDev, quick_dev, quick_up

if TYPE_CHECKING:
    from cyclopts import App

COMPLETE = "__complete"
"""What shells type to ask how a command line may go on."""

HELP_FLAGS = ("--help", "-h")
"""What asks for the help of a command."""


def main() -> None:
    """Run the command with the arguments of this process, and end the process."""
    _have_standard_streams()
    sys.exit(run(sys.argv[1:]))


def _have_standard_streams() -> None:
    """Open those that were closed by whoever started us: else the next file that is opened would take their place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 # of a descriptor, for the whole process
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 # the same
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 # the same


def run(arguments: Sequence[str], /) -> int:
    """Run the command and return its exit code. Foreseen errors are told on stderr, and never raised."""
    if arguments and arguments[0] == COMPLETE:
        from ._complete import complete

        return complete(arguments[1:])
    arguments = _without_colours(arguments)
    if not arguments:
        print(overview(), file=sys.stderr)
        return 2
    if arguments[0] == "--version":
        arguments = ["version"]
    try:
        return _ended_well(_code_of(arguments))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _give_up_output()
        return 0
    except OSError as err:
        from ._complaints import told

        _give_up_output()
        return told(err)


def _without_colours(arguments: Sequence[str]) -> Sequence[str]:
    """Return the arguments without the word that wants no colours, which from then on nobody shows any more."""
    ours = _ours(arguments)
    if NO_COLOR not in ours:
        return arguments
    os.environ["NO_COLOR"] = "1"
    return [*(argument for argument in ours if argument != NO_COLOR), *arguments[len(ours) :]]


def _code_of(arguments: Sequence[str]) -> int:
    if arguments[0] == "help":
        arguments = [*arguments[1:], "--help"]
    arguments = name_first(arguments)
    help_text = _help(arguments)
    if help_text is None:
        return _dispatch(arguments)
    print(help_text)
    return 0


def _ended_well(code: int) -> int:
    """Write out what was printed; a reader that has left, which is its right, changes nothing about the code."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up_output()
    return code


def _give_up_output() -> None:
    """Let what is still to be written go nowhere: writing it at the end of the process would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def make_app(help_flags: Sequence[str] = (), commands: Sequence[Command] | None = None) -> App:
    """Return the parser of all commands, or of some.

    Args:
        commands: Which; None is all.
        help_flags: What the parser itself takes for a question for help: nothing where that was answered before.
    """
    from cyclopts import App

    from ._parser import parsed_by

    def part(name: str) -> App:
        return App(name=name, version_flags=[], help_flags=tuple(help_flags), help_on_error=False)

    app, groups = part("orchestrion"), dict[str, App]()
    for command in COMMANDS if commands is None else commands:
        group, _, name = command.name.rpartition(" ")
        if group and group not in groups:
            groups[group] = part(group)
            app.command(groups[group])
        parser = groups[group] if group else app
        parser.command(parsed_by(command.load()), name=name, help=command.summary)
    return app


def _help(arguments: Sequence[str]) -> str | None:
    """Return the help that is asked for, or None. It takes no parser, and so it is there in no time."""
    if not any(argument in HELP_FLAGS for argument in _ours(arguments)):
        return None
    command = command_of(arguments)
    if command is not None:
        from ._help import command_help

        return command_help(command.name, command.load())
    if commands_under(arguments[0]) and (len(arguments) == 1 or arguments[1] in HELP_FLAGS):
        return group_overview(arguments[0])
    return overview() if arguments[0] in HELP_FLAGS else None


def _ours(arguments: Sequence[str]) -> Sequence[str]:
    """Return the arguments before `--`: what follows it is not ours."""
    return arguments[: list(arguments).index("--")] if "--" in arguments else arguments


def _with_streams(arguments: Sequence[str], command: Command | None) -> list[str]:
    """Return the arguments with `-` as a path where a command reads or writes it: the parser takes it for an option."""
    ours = _ours(arguments)
    if command is None or not any(argument == "-" or argument.endswith("=-") for argument in ours):
        return list(arguments)
    from ._arguments import taken_by, with_streams

    head = len(command.name.split())
    words = with_streams(ours[head:], list(taken_by(command.load())))
    return [*ours[:head], *words, *arguments[len(ours) :]]


def _with_kind_apart(arguments: Sequence[str], command: Command) -> list[str]:
    """Return the arguments with `workload/web` as `workload web` where a command wants a kind first."""
    from ._arguments import first_placed, taken_by
    from ._kinds import kind_and_name

    head = len(command.name.split())
    taken = list(taken_by(command.load()))
    places = [one for one in taken if one.argument.goes_by_place]
    number = first_placed(_ours(arguments)[head:], taken)
    if number is None or not places or places[0].argument.names != ("KIND",):
        return list(arguments)
    kind, name = kind_and_name(arguments[head + number])
    apart = [kind, name] if kind else [name]
    return [*arguments[: head + number], *apart, *arguments[head + number + 1 :]]


def _quickly(file: Path, state: Path | None, logs: LogChoice) -> int:
    try:
        from ._up import run_up

        return run_up(file, state, logs, {})
    except Exception as err:
        from ._complaints import told

        return told(err)


def _dev_quickly(asked: QuickDev) -> int:
    try:
        from ._verbs_server import dev

        return dev(state=asked.state, host=asked.host, port=asked.port)
    except Exception as err:
        from ._complaints import told

        return told(err)


def _dispatch(arguments: Sequence[str]) -> int:
    command = command_of(arguments)
    arguments = _with_streams(arguments, command)
    quick = quick_up(arguments)
    if quick is not None:
        return _quickly(*quick)
    asked = quick_dev(arguments)
    if asked is not None:
        return _dev_quickly(asked)
    from cyclopts import CycloptsError

    if command is None and len(arguments) == 1 and commands_under(arguments[0]):
        print(group_overview(arguments[0]), file=sys.stderr)
        return 2
    if command is not None:
        arguments = _with_kind_apart(arguments, command)
    try:
        code = make_app(commands=None if command is None else [command])(
            list(arguments), exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as err:
        from ._complaints import complain

        verb = "" if command is None else f" {command.name}"
        complain(str(err), f"`orchestrion{verb} --help` tells more.")
        return 2
    except Exception as err:
        from ._complaints import told

        return told(err)
    return code if isinstance(code, int) else 0
