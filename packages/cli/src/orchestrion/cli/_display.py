"""What `up` shows on stderr while it runs: plain lines, or a live table on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, Protocol

from orchestrion.orchestrator_core import Update, UpdateKind, WorkloadView
from orchestrion.runtime_interface import LogStream
from orchestrion.shared_types import WorkloadInstance

from ._lines import print_line
from ._node_names import names_of
from ._output import coloured, give_up, note, shows_colours
from ._picture import Key, Picture
from ._screen import line_shown
from ._words import (
    ENDED,
    TERMINAL,
    container_words,
    full_name,
    instance_words,
    phase_colour,
    ready,
    state_words,
    view_name,
    why,
)

Clock = Callable[[], datetime]

_WIDE: Final = 70
"""Columns of a terminal below which the table tells what happens rather than where."""


class Display(Protocol):
    """Shows how things are."""

    def update(self, picture: Picture, update: Update, /) -> None:
        """Take notice of an update, which the picture has taken in."""
        ...

    def line(self, stream: LogStream, prefix: str, line: bytes, /) -> None:
        """Show a line that a container wrote."""
        ...

    def say(self, text: str, /) -> None:
        """Tell people something."""
        ...


class PlainDisplay:
    """A line for each change worth telling."""

    def __init__(self, now: Clock, named: Collection[Key] = (), /) -> None:
        """Take what tells the time, and the workloads of which is told even that they had ended before."""
        self._now = now
        self._named = named
        self._told: dict[tuple[str, str, str], str] = {}

    def update(self, picture: Picture, update: Update, /) -> None:
        """Tell of a workload's or an instance's change."""
        match update.kind:
            case UpdateKind.WORKLOAD if update.workload is not None:
                named = (update.namespace, update.name) in self._named
                if named or picture.synced or update.workload.phase not in ENDED:
                    self._tell(update, self._workload_line(update.workload))
            case UpdateKind.INSTANCE if update.instance is not None:
                if picture.synced or update.instance.status.state not in TERMINAL:
                    self._tell(update, self._instance_line(update.instance))
            case UpdateKind.WORKLOAD_REMOVED:
                self._tell(update, f"{full_name(update.namespace, update.name)}: removed")
            case _:
                pass

    def line(self, stream: LogStream, prefix: str, line: bytes, /) -> None:
        """Print the line."""
        _print_if_possible(stream, prefix, line)

    def say(self, text: str, /) -> None:
        """Print the text."""
        note(text)

    def _tell(self, update: Update, line: str) -> None:
        key = (update.kind.value, update.namespace, update.name)
        if self._told.get(key) != line:
            self._told[key] = line
            note(line)

    def _workload_line(self, view: WorkloadView) -> str:
        cause = why(view.reason, view.message)
        phase = coloured(view.phase.value, phase_colour(view.phase), sys.stderr)
        return f"{view_name(view)}: {phase} ({ready(view)}){f': {cause}' if cause else ''}"

    def _instance_line(self, instance: WorkloadInstance) -> str:
        name = full_name(instance.namespace, instance.name)
        # The time until a restart changes by itself; it is told once, when the restart is planned.
        words = instance_words(instance, self._now())
        restarts = sum(container.attempt for container in instance.status.containers)
        suffix = f" (restart {restarts})" if restarts else ""
        return f"{name}: {state_words(instance)}{suffix}{f': {words}' if words else ''}"


class LiveDisplay:
    """A table that is kept up to date at the bottom of a terminal, below the output of containers.

    It is drawn by a thread, a few times a second, from a copy of the picture; drawing it for each update would cost
    more than the work that is shown.
    """

    def __init__(self, now: Clock, live: Any, /) -> None:
        """Take what tells the time, and a `rich.live.Live`, which is to show this."""
        self._now = now
        self._live = live
        self._picture = Picture()
        self._drawn: tuple[Picture, int, Any] | None = None

    def update(self, picture: Picture, _update: Update, /) -> None:
        """Take a copy of the picture as it is now."""
        if picture.synced:
            self._picture = picture.copy()

    def __rich__(self) -> Any:
        """Return the table, drawn anew where the picture or the second has changed."""
        picture, moment = self._picture, self._now()
        second = int(moment.timestamp())
        if self._drawn is None or self._drawn[0] is not picture or self._drawn[1] != second:
            self._drawn = picture, second, _table(picture, moment, with_nodes=self._live.console.width >= _WIDE)
        return self._drawn[2]

    def line(self, stream: LogStream, prefix: str, line: bytes, /) -> None:
        """Print the line above the table, or where stdout goes if that is no terminal."""
        if not sys.stdout.isatty():
            _print_if_possible(stream, prefix, line)
            return
        from rich.text import Text

        text = Text.assemble((f"{prefix} | ", "cyan"), Text.from_ansi(line_shown(line, colours=True).decode()))
        self._live.console.print(text, soft_wrap=True)

    def say(self, text: str, /) -> None:
        """Print the text above the table."""
        self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _print_if_possible(stream: LogStream, prefix: str, line: bytes) -> None:
    """Print a line. A reader that leaves, or a disk that is full, ends no workload: what comes after is not shown."""
    try:
        print_line(stream, prefix, line)
    except OSError as err:
        give_up(sys.stdout if stream is LogStream.STDOUT else sys.stderr)
        if not isinstance(err, BrokenPipeError):
            note(f"output is not shown any longer: {err.strerror}; `orchestrion logs` has it")


@contextmanager
def display(now: Clock, named: Collection[Key], /) -> Iterator[Display]:
    """Give a live table where stderr is a terminal that can show one, plain lines about what was named where not."""
    if not shows_colours(sys.stderr):
        yield PlainDisplay(now, named)
        return
    from rich.console import Console
    from rich.live import Live

    live = Live(console=Console(stderr=True), refresh_per_second=4)
    shown = LiveDisplay(now, live)
    live.update(shown)
    with live:
        yield shown


def _table(picture: Picture, moment: datetime, *, with_nodes: bool) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("WORKLOAD", "STATE", "READY", *(["NODE"] if with_nodes else []), "WHAT"):
        table.add_column(title, no_wrap=title != "WHAT", overflow="ellipsis")
    names = names_of(picture.nodes.values())
    for key in sorted(picture.views):
        view = picture.views[key]
        if view.phase in ENDED and key not in picture.active:
            continue
        cause = why(view.reason, view.message)
        phase = Text(view.phase.value, style=phase_colour(view.phase))
        table.add_row(view_name(view), phase, ready(view), *([""] if with_nodes else []), Text(cause))
        for instance in picture.instances_of(key):
            if instance.status.state in TERMINAL:
                continue
            words = instance_words(instance, moment) or "; ".join(
                container_words(container, moment) for container in instance.status.containers
            )
            node = [Text(names.of(instance.binding.node_id))] if with_nodes else []
            table.add_row(f"  {instance.name}", state_words(instance), "", *node, Text(words))
    return table
