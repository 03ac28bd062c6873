"""What the kit wants containers to do; whoever proves a runtime says how its containers do it."""

from __future__ import annotations

from attrs import field, frozen, validators
from orchestrion.runtime_interface import LogStream

LINE_BYTES = 16


def pattern(start: int, size: int) -> bytes:
    """Return `size` bytes of the kit's pattern from the offset `start` on.

    It consists of lines of 16 bytes: the offset of the line in decimal, 15 digits with leading zeros, and a newline; so
    that any piece of it tells where it comes from. `seq -f %015.0f 0 16 LAST` prints it.
    """
    first = start // LINE_BYTES
    last = (start + size) // LINE_BYTES
    lines = b"".join(b"%015d\n" % (line * LINE_BYTES) for line in range(first, last + 1))
    return lines[start - first * LINE_BYTES :][:size]


@frozen
class Exits:
    """Ends at once with an exit code.

    Attributes:
        code: 0 to 255.
    """

    code: int = field(default=0, validator=[validators.ge(0), validators.le(255)])


@frozen
class Dies:
    """Ends at once by a signal that it sends to itself.

    Attributes:
        signal: The number.
    """

    signal: int = 9


@frozen
class Sleeps:
    """Runs until it gets SIGTERM, which ends it at once.

    Attributes:
        token: Each start adds one to what `RuntimeUnderTest.starts` says of it, and it counts in `processes`; empty
            where nobody will ask.
    """

    token: str = ""


@frozen
class TrapsSigterm:
    """Writes the line `ready` to its standard output once it handles SIGTERM, and ends with a code when it gets one.

    Attributes:
        code: 0 to 255.
    """

    code: int = 3


@frozen
class IgnoresSigterm:
    """Writes the line `ready` to its standard output once it ignores SIGTERM, and runs until it is killed."""


@frozen
class Forks:
    """Starts a process that leaves its session and ignores SIGTERM, then writes the line `ready`.

    It runs until it gets SIGTERM, which ends it at once; what it started goes on until it is killed.

    Attributes:
        token: Both processes count in what `RuntimeUnderTest.processes` says of it.
    """

    token: str


@frozen
class Prints:
    """Writes `pattern(0, size)` and ends with 0, or sleeps as `Sleeps` does.

    Attributes:
        size: How many bytes.
        stream: Where to.
        then_sleeps: Whether it sleeps afterwards.
    """

    size: int
    stream: LogStream = LogStream.STDOUT
    then_sleeps: bool = False


@frozen
class PrintsEnvironment:
    """Writes its environment, each variable as `NAME=value` and a NUL as `env -0` does, and ends with 0."""


@frozen
class CopiesStdin:
    """Copies standard input to standard output until that ends, and ends with 0 (`cat`). Used with exec only."""


@frozen
class TellsSize:
    """Reads lines from its terminal, and for each writes the line `size ROWS COLUMNS`, with what the terminal has.

    It ends with 0 at the end of its input, and by SIGINT. Used at terminals only. In `sh`:
    `while read line; do echo "size $(stty size)"; done`.
    """


@frozen
class ListensOn:
    """Listens on a TCP port of the node until it gets SIGTERM.

    Attributes:
        port: The host port. The kit adds it to the config's ports.
    """

    port: int


@frozen
class CannotStart:
    """Can't be started, which shows only when it is tried: there is no such program."""


@frozen
class NotExecutable:
    """Can't be started: the program is there and can't be executed. Used with exec only."""


@frozen
class Unsupported:
    """Asks for what this runtime can never do."""


Behaviour = (
    Exits
    | Dies
    | Sleeps
    | TrapsSigterm
    | IgnoresSigterm
    | Forks
    | Prints
    | PrintsEnvironment
    | CopiesStdin
    | TellsSize
    | ListensOn
    | CannotStart
    | NotExecutable
    | Unsupported
)
"""All that a kit may ask for."""

SAMPLES: dict[str, Behaviour] = {
    type(sample).__name__: sample
    for sample in (
        Exits(),
        Dies(),
        Sleeps(),
        TrapsSigterm(),
        IgnoresSigterm(),
        Forks("sample"),
        Prints(1),
        PrintsEnvironment(),
        CopiesStdin(),
        TellsSize(),
        ListensOn(1024),
        CannotStart(),
        NotExecutable(),
        Unsupported(),
    )
}
"""One of each kind, by its name."""
