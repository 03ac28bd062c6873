"""The declaration of a command in the parser's own terms."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated

from cyclopts import Parameter

from ._arguments import Argument, taken_by


def parsed_by(function: Callable[..., int], /) -> Callable[..., int]:
    """Return a function that does the same, and is declared as the parser reads it."""

    def call(*arguments: object, **options: object) -> int:
        return function(*arguments, **options)

    parameters = [
        taken.parameter.replace(annotation=Annotated[taken.parameter.annotation, _parameter(taken.argument)])
        for taken in taken_by(function)
    ]
    call.__name__ = function.__name__
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # inspect reads it, mypy has no name
    return call


def _parameter(argument: Argument) -> Parameter:
    return Parameter(
        name=argument.names,
        help=argument.help,
        negative=None if argument.can_be_denied else "",
        allow_leading_hyphen=argument.takes_dashes,
        show_default=False,
    )
