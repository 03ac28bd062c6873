"""Texts that are not to be seen."""

from __future__ import annotations

import hmac
from typing import Any, Final, NoReturn, final

HIDDEN: Final = "***"


@final
class SecretText:
    """A text that is shown nowhere by accident: only `reveal` gives it.

    As a text, in a format and in a traceback it is `***`. It can't be pickled, turned into JSON, joined to texts or
    iterated over; copies are itself. Two are equal if their texts are, which takes as long whatever they are.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str, /) -> None:
        self.__text = text

    def reveal(self) -> str:
        """Return the text. Whoever calls this answers for where it goes."""
        return self.__text

    def __repr__(self) -> str:
        return f"SecretText({HIDDEN!r})"

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretText):
            return NotImplemented
        return hmac.compare_digest(_bytes(self.__text), _bytes(other.__text))

    def __hash__(self) -> int:
        return hash(self.__text)

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __copy__(self) -> SecretText:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> SecretText:
        return self

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise _unwritable()

    def __getstate__(self) -> NoReturn:
        raise _unwritable()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _unwritable() -> TypeError:
    return TypeError("a SecretText is not written anywhere; reveal() gives its text to whoever may have it")
