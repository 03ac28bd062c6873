"""What an argument or an option of a command is called, and what is said of it.

The commands are declared with these values, and not with the parser's own: importing the parser takes longer than all
else that a help needs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints


class Argument(NamedTuple):
    """How an argument is told, and found, on the command line.

    Attributes:
        names: How it is typed, "--follow" and "-f"; for one that goes by its place what stands for it, such as "FILE".
        help: One line.
        variable: The environment variable that is looked at where it is not typed, or "".
        default: What it is where it is not given, if its value does not tell; None shows the value.
        can_be_denied: Whether "--no-..." turns it off.
        takes_dashes: Whether its values may begin with a dash.
        dash: What `-` is for it: the standard input, or the standard output; "" where it is nothing.
        is_subject: Whether it names workloads or instances, which may be typed as `workload/web` and `team/web`.
        is_directory: Whether it names a directory, for which an empty text would be the current one.
    """

    names: tuple[str, ...]
    help: str
    variable: str = ""
    default: str | None = None
    can_be_denied: bool = False
    takes_dashes: bool = False
    dash: Literal["", "/dev/stdin", "/dev/stdout"] = ""
    is_subject: bool = False
    is_directory: bool = False

    @property
    def goes_by_place(self) -> bool:
        """Whether it has no option in front."""
        return not self.names[0].startswith("-")


class Taken(NamedTuple):
    """A parameter of a command's function, and the argument that fills it.

    Attributes:
        parameter: The parameter; its annotation is the type alone.
        argument: The argument.
    """

    parameter: inspect.Parameter
    argument: Argument

    @property
    def is_required(self) -> bool:
        """Whether it has to be given."""
        return self.parameter.default is self.parameter.empty and not self.is_any_number

    @property
    def is_any_number(self) -> bool:
        """Whether any number of values may be given, none too."""
        return self.parameter.kind is self.parameter.VAR_POSITIONAL

    @property
    def is_several(self) -> bool:
        """Whether more than one value may be given."""
        return self.is_any_number or get_origin(self.parameter.annotation) is tuple

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value."""
        return self.parameter.annotation is bool

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that are possible, or nothing where they can't be listed."""
        alternatives = [one for one in get_args(self.parameter.annotation) if one is not NoneType]
        if get_origin(self.parameter.annotation) is Literal:
            return get_args(self.parameter.annotation)
        return next((get_args(one) for one in alternatives if get_origin(one) is Literal), ())


def taken_by(function: Callable[..., object], /) -> Iterator[Taken]:
    """Yield what a command's function takes, in its order."""
    hints = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        kind, argument = _parts(hints[parameter.name])
        yield Taken(parameter.replace(annotation=kind), argument)


def first_placed(words: Sequence[str], taken: Sequence[Taken], /) -> int | None:
    """Return where the first word is that goes by its place; None where there is none.

    Args:
        words: What was typed behind the command's name.
        taken: What the command takes.
    """
    takes_value = {name for one in taken if not one.is_flag for name in one.argument.names}
    skip = False
    for number, word in enumerate(words):
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in takes_value
        else:
            return number
    return None


def with_streams(words: Sequence[str], taken: Sequence[Taken], /) -> list[str]:
    """Return words with a path in the place of `-`, where that is a stream for the argument that it fills.

    Args:
        words: What was typed behind the command's name.
        taken: What the command takes.
    """
    by_option = {name: one.argument for one in taken if not one.is_flag for name in one.argument.names}
    places = [one.argument for one in taken if one.argument.goes_by_place]
    found, option, placed = list[str](), None, 0
    for word in words:
        argument, value = option, word
        front, option = "", None
        if argument is None and word.startswith("-") and word != "-":
            name, equals, value = word.partition("=")
            front = name + equals
            if equals:
                argument = by_option.get(name)
            else:
                option = by_option.get(name)
        elif argument is None and places:
            argument = places[min(placed, len(places) - 1)]
            placed += 1
        found.append(front + argument.dash if value == "-" and argument is not None and argument.dash else word)
    return found


def _parts(annotation: Any) -> tuple[Any, Argument]:
    kind, argument = get_args(annotation)
    return kind, argument
