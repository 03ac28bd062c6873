"""What containers write, as a terminal may show it: with their colours, and with nothing else that it would obey."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from typing import Final, TextIO

from attrs import define, field

from ._output import shows_colours

_ORDINARY: Final = re.compile(rb"[\t\n\x20-\x7e]*")

_COLOUR: Final = re.compile(r"(\x1b\[[0-9;:]*m)")
_BACK: Final = frozenset({"\x1b[m", "\x1b[0m"})
_RESET: Final = "\x1b[0m"

_ORDER: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What terminals obey, and what turns the direction of text. `harmless` takes more: the joiners within words too, and
the signs of fonts of one's own, which a name has no use for and output has."""

_BEGUN: Final = re.compile(r"(?:\x1b(?:\[[0-9;:]{0,64})?|\r)\Z")
"""The beginning of a colour, or of an end of line, at the end of a piece."""


def lines_for(target: TextIO, lines: Sequence[bytes]) -> Sequence[bytes]:
    """Return lines of a container as a stream shows them: as they are, or to a terminal as `line_shown` gives them."""
    if not target.isatty() or _ORDINARY.fullmatch(b"\n".join(lines)):
        return lines
    colours = shows_colours(target)
    return [line_shown(line, colours=colours) for line in lines]


def line_shown(line: bytes, /, *, colours: bool) -> bytes:
    """Return a line, without its end, as a terminal may show it; what is no UTF-8 is replaced."""
    if _ORDINARY.fullmatch(line):
        return line
    text, coloured = _shown(line.decode(errors="replace"), colours=colours, coloured=False)
    return (text + _RESET if coloured else text).encode()


def _shown(text: str, *, colours: bool, coloured: bool) -> tuple[str, bool]:
    """Return a part of a line as a terminal may show it, and whether a colour goes on behind it."""
    parts = _COLOUR.split(text)
    parts[::2] = [_ORDER.sub(" ", part) for part in parts[::2]]
    if not colours:
        return "".join(parts[::2]), False
    return "".join(parts), coloured if len(parts) == 1 else parts[-2] not in _BACK


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")


@define
class Screen:
    """Makes the pieces of one stream of a container into what a terminal may show, wherever they were cut.

    Attributes:
        colours: Whether colours are shown.
    """

    colours: bool
    _decoder: codecs.IncrementalDecoder = field(factory=_decoder, init=False)
    _rest: str = field(default="", init=False)
    _coloured: bool = field(default=False, init=False)

    def take(self, data: bytes, /) -> bytes:
        """Return what to show of a piece; what may go on in the next (a character, a colour, an end of line) waits."""
        return self._taken(self._rest + self._decoder.decode(data)).encode()

    def end(self) -> bytes:
        """Return what is left, and what takes a colour back."""
        text = self._taken(self._rest + self._decoder.decode(b"", final=True), is_last=True)
        reset, self._coloured = _RESET if self._coloured else "", False
        return (text + reset).encode()

    def _taken(self, text: str, *, is_last: bool = False) -> str:
        begun = None if is_last else _BEGUN.search(text)
        self._rest = begun.group() if begun is not None else ""
        *lines, last = text.removesuffix(self._rest).split("\n")
        told = list[str]()
        for line in lines:
            shown, self._coloured = _shown(line.removesuffix("\r"), colours=self.colours, coloured=self._coloured)
            told += (shown, _RESET if self._coloured else "", "\n")
            self._coloured = False
        shown, self._coloured = _shown(last, colours=self.colours, coloured=self._coloured)
        return "".join((*told, shown))
