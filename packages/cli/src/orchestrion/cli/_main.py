"""From the arguments to an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ._commands import COMMANDS, overview
from ._quick import LogChoice, quick_up

if TYPE_CHECKING:
    from cyclopts import App
    from rich.console import Console

_HELP_FLAGS = ("--help", "-h", "help")


def main() -> None:
    """Run the command with the arguments of this process, and end the process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], /) -> int:
    """Run the command and return its exit code. Foreseen errors are told on stderr, and never raised."""
    if not arguments or arguments[0] in _HELP_FLAGS:
        # Without the parser and its imports it is there in no time.
        print(overview(), file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        arguments = ["version"]
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has left, which is its right. Nothing more can be flushed to it at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    return code


def make_app(console: Console | None = None, /) -> App:
    """Return the parser of all commands; their modules are imported when one is used.

    Args:
        console: What helps are printed to; None makes one when it is needed.
    """
    from cyclopts import App

    app = App(
        name="orchestrion",
        help_format="plaintext",
        help_formatter="plain",
        version_flags=[],
        help_on_error=False,
        console=console,
    )
    for command in COMMANDS:
        app.command(f"orchestrion.cli._verbs:{command.function}", name=command.name, help=None)
    return app


def _with_stdin(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `-` as a path: the parser takes it for an option. What follows `--` is not ours."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    return ["/dev/stdin" if argument == "-" else argument for argument in arguments[:end]] + list(arguments[end:])


def _console(arguments: Sequence[str]) -> Console | None:
    """Return the console for a help, in which `:FACTORY:` is a text and no emoji; None where no help is asked for."""
    if not any(flag in arguments for flag in _HELP_FLAGS):
        return None
    from rich.console import Console

    return Console(emoji=False)


def _quickly(file: Path, state: Path | None, logs: LogChoice) -> int:
    try:
        from ._up import run_up

        return run_up(file, state, logs, {})
    except Exception as err:
        from ._complaints import told

        return told(err)


def _dispatch(arguments: Sequence[str]) -> int:
    if not os.environ.get("ORCHESTRION_STATE", "."):
        del os.environ["ORCHESTRION_STATE"]  # set to nothing is not set; the parser would take it for this folder
    arguments = _with_stdin(arguments)
    quick = quick_up(arguments)
    if quick is not None:
        return _quickly(*quick)
    from cyclopts import CycloptsError

    try:
        code = make_app(_console(arguments))(
            list(arguments), exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as err:
        from ._complaints import (
            complain,
        )  # the values that it knows take longer to import than a command's help to print

        verb = f" {arguments[0]}" if arguments[0] in {command.name for command in COMMANDS} else ""
        complain(str(err), f"`orchestrion{verb} --help` tells more.")
        return 2
    except Exception as err:
        from ._complaints import told

        return told(err)
    return code if isinstance(code, int) else 0
