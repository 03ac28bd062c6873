"""The help of a command, made of how it is declared."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from ._arguments import Taken, taken_by

_WIDEST: Final = 100
"""Longer lines are hard to read."""

_NARROWEST: Final = 40


def command_help(name: str, function: Callable[..., object], /) -> str:
    """Return the text of `orchestrion NAME --help`, in lines that fit the terminal.

    Args:
        name: What is typed.
        function: The function behind it.
    """
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))
    taken = list(taken_by(function))
    places = [one for one in taken if one.argument.goes_by_place]
    options = [one for one in taken if not one.argument.goes_by_place]
    usage = ["Usage: orchestrion", name, *(["[OPTIONS]"] if options else []), *map(_usage, places)]
    lines = [" ".join(usage), "", *_wrapped(inspect.getdoc(function) or "", width)]
    for title, group in (("Arguments", places), ("Options", options)):
        if group:
            lines += ["", f"{title}:", *_table([(_names(one), _words(one)) for one in group], width)]
    return "\n".join(lines)


def _usage(taken: Taken) -> str:
    name = taken.argument.names[0] + ("..." if taken.is_several else "")
    return name if taken.is_required else f"[{name}]"


def _names(taken: Taken) -> str:
    names = sorted(taken.argument.names, key=len)
    if taken.argument.can_be_denied:
        names += [f"--no-{name.removeprefix('--')}" for name in taken.argument.names if name.startswith("--")]
    told = ", ".join(names)
    if taken.argument.goes_by_place or taken.is_flag:
        return told
    return f"{told} {_value(taken)}"


def _value(taken: Taken) -> str:
    if taken.choices:
        return "CHOICE"
    return taken.argument.names[0].removeprefix("--").upper()


def _words(taken: Taken) -> str:
    argument, default = taken.argument, taken.parameter.default
    words = [argument.help]
    if taken.choices:
        words.append(f"One of: {', '.join(taken.choices)}.")
    if argument.default is not None:
        words.append(f"[{argument.default}]")
    elif not taken.is_flag and default not in (None, "", (), taken.parameter.empty):
        words.append(f"[{default}]")
    elif argument.can_be_denied and default:
        words.append(f"[{argument.names[0]}]")
    if argument.variable:
        words.append(f"[environment: {argument.variable}]")
    return " ".join(words)


def _wrapped(documentation: str, width: int) -> Iterator[str]:
    """Yield a documentation's paragraphs, each filled anew."""
    for number, paragraph in enumerate(documentation.split("\n\n")):
        if number:
            yield ""
        yield from _filled(" ".join(paragraph.split()), width)


def _table(rows: Sequence[tuple[str, str]], width: int) -> Iterable[str]:
    reach = max(len(names) for names, _ in rows) + 4
    beside = width - reach >= _NARROWEST
    for names, words in rows:
        lines = _filled(words, width - (reach if beside else 6))
        if beside:
            yield f"{f'  {names}':<{reach}}{lines[0]}"
            yield from (f"{'':<{reach}}{line}" for line in lines[1:])
        else:
            yield f"  {names}"
            yield from (f"      {line}" for line in lines)


def _filled(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
