"""The declaration of a command in the parser's own terms."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

from cyclopts import Parameter, Token

from ._arguments import Taken, taken_by
from ._options import Expression, FormChoice


def parsed_by(function: Callable[..., int], /) -> Callable[..., int]:
    """Return a function that does the same, and is declared as the parser reads it."""

    def call(*arguments: object, **options: object) -> int:
        for value in options.values():
            if isinstance(value, Expression):
                # What can't be written is refused before anything is done.
                from ._jsonpath import template

                template(value.template)
        if has_subjects:
            from ._typed_names import plainly_named

            placed, options = plainly_named(all_taken, arguments, options)
            return function(*placed, **options)
        return function(*arguments, **options)

    all_taken = list(taken_by(function))
    has_subjects = any(taken.argument.is_subject for taken in all_taken)
    parameters = [
        taken.parameter.replace(annotation=Annotated[taken.parameter.annotation, _parameter(taken)])
        for taken in all_taken
    ]
    call.__name__ = function.__name__
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # inspect reads it, mypy has no name
    return call


def _parameter(taken: Taken) -> Parameter:
    argument = taken.argument
    converter: Callable[[Any, Sequence[Token]], object] | None = None
    if Expression in get_args(taken.parameter.annotation):
        converter = _form
    elif argument.is_directory:
        converter = _directory
    return Parameter(
        converter=converter,
        name=argument.names,
        help=argument.help,
        negative=None if argument.can_be_denied else "",
        allow_leading_hyphen=argument.takes_dashes,
        show_default=False,
    )


def _directory(_type: Any, tokens: Sequence[Token]) -> Path:
    if not tokens[0].value:
        msg = "it names no directory: is a variable in it not set?"
        raise ValueError(msg)
    return Path(tokens[0].value)


def _form(_type: Any, tokens: Sequence[Token]) -> str:
    text = tokens[0].value
    return text if text in get_args(FormChoice) else Expression(text)
