"""Writing data to stdout in the form that was asked for. The forms for programs are the API's values, unchanged."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import zip_longest
from typing import Any, Literal, TextIO, TypeVar

from orchestrion.shared_types import ConfigInvalid, Problem, unstructure

from ._options import Expression

T = TypeVar("T")

Form = Literal["table", "wide", "json", "jsonl", "yaml", "name"] | Expression

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36", "dim": "2"}


def show(
    items: Sequence[T], form: Form, *, table: Callable[[Sequence[T]], Iterable[str]], name: Callable[[T], str]
) -> None:
    """Print items.

    Args:
        items: Values of the API.
        form: How.
        table: Gives the lines for people.
        name: Gives an item's name.
    """
    match form:
        case "table" | "wide":
            lines: Iterable[str] = table(items)
        case "name":
            lines = (name(item) for item in items)
        case "json":
            lines = [json.dumps([unstructure(item) for item in items], indent=2, ensure_ascii=False)]
        case "jsonl":
            lines = (json_line(item) for item in items)
        case "yaml":
            lines = [yaml_text([unstructure(item) for item in items])]
        case _:
            lines = _filled(form, [unstructure(item) for item in items])
    for line in lines:
        print(line)


def show_one(item: T, form: Form, *, table: Callable[[T], Iterable[str]], name: Callable[[T], str]) -> None:
    """Print one item: `json` and `yaml` give it alone, not in a list."""
    match form:
        case "json":
            print(json.dumps(unstructure(item), indent=2, ensure_ascii=False))
        case "yaml":
            print(yaml_text(unstructure(item)))
        case Expression():
            print("\n".join(_filled(form, unstructure(item))))
        case _:
            show([item], form, table=lambda items: table(items[0]), name=name)


def is_for_people(form: Form) -> bool:
    """Whether a form is read by people, who are told what to do next besides."""
    return form in ("table", "wide")


def json_line(item: object) -> str:
    """Return a value as one line of JSON."""
    return json.dumps(unstructure(item), ensure_ascii=False, separators=(",", ":"))


def line_for(item: object, form: Form) -> str:
    """Return a value of those that come one by one as a form for programs has it, which is a line of JSON but for one.

    Args:
        item: The value.
        form: How; none for people.
    """
    if isinstance(form, Expression):
        return "\n".join(_filled(form, unstructure(item)))
    return json_line(item)


def _filled(form: Expression, data: Any) -> list[str]:
    """Return what a template comes to, in lines: it needs no end of its own for the last one."""
    from ._jsonpath import template

    return [template(form.template).text(data).removesuffix("\n")]


def yaml_text(data: Any) -> str:
    """Return plain data as YAML."""
    from io import StringIO

    from ruamel.yaml import YAML

    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    stream = StringIO()
    writer.dump(data, stream)
    return stream.getvalue().rstrip("\n")


def columns(rows: Sequence[Sequence[str]], least: list[int] | None = None) -> list[str]:
    """Return rows as lines with aligned columns; colour codes take no width, and a row of one cell is no column.

    Args:
        rows: The cells.
        least: How wide columns are at least, as those of rows that came before; it grows with these.
    """
    aligned = [row for row in rows if len(row) > 1]
    widths = (
        [
            max(_width(row[place]) for row in aligned if place < len(row))
            for place in range(max(map(len, aligned), default=1))
        ]
        if aligned
        else [0]
    )
    if least is not None:
        widths = [max(pair) for pair in zip_longest(widths, least, fillvalue=0)]
        least[:] = widths
    lines = []
    for row in rows:
        cells = [cell + " " * max(0, width - _width(cell)) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join(cells).rstrip())
    return lines


def coloured(text: str, colour: str, stream: TextIO | None = None) -> str:
    """Return `text` in a colour if the stream, stdout unless given, shows colours."""
    if not text or not colour or not shows_colours(sys.stdout if stream is None else stream):
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def shows_colours(stream: TextIO) -> bool:
    """Whether colours are wanted on a stream: a terminal that has them, and nobody said no (NO_COLOR)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def note(text: str) -> None:
    """Tell people something on stderr that is no data; where it can't be written, it goes nowhere."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        give_up(sys.stderr)


@cache
def warn(text: str) -> None:
    """Tell people what an orchestrator warns of, each warning once."""
    note(f"warning: {text}")


def confirmed(*, instead: str = "Say --yes to go on without asking.") -> bool:
    """Ask whether to go on with what was named.

    Args:
        instead: What to do where nobody can be asked.

    Raises:
        ConfigInvalid: There is no terminal to ask on.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigInvalid((Problem("there is no terminal to ask on"),), remedy=instead)
    print("go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def give_up(stream: TextIO) -> None:
    """Let all that is written to a stream from now on go nowhere: its reader has left, or the like."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _width(cell: str) -> int:
    width, inside = 0, False
    for character in cell:
        if character == "\x1b":
            inside = True
        elif inside:
            inside = character != "m"
        else:
            width += 1
    return width
