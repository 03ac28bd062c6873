"""What a mock container does, written as a command or as a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Final

from attrs import evolve, field, frozen, validators
from orchestrion.runtime_interface import (
    CommandNotExecutable,
    CommandNotFound,
    ConfigUnsupported,
    LogStream,
    RuntimeFailure,
    StartFailed,
)
from orchestrion.shared_types import ExitStatus, InstanceKey

SIGKILL: Final = 9
SIGTERM: Final = 15


@frozen(kw_only=True)
class Output:
    """Something that a mock container writes.

    Attributes:
        data: The bytes.
        stream: Where to.
        after_seconds: When, counted from the start.
    """

    data: bytes
    stream: LogStream = LogStream.STDOUT
    after_seconds: float = field(default=0.0, validator=validators.ge(0.0))


@frozen(kw_only=True)
class MockBehaviour:
    """What a mock container, or a command in one, does. The default runs until it is stopped.

    Attributes:
        exit: How it ends by itself; None: never.
        after_seconds: When it ends by itself, counted from the start.
        queued_seconds: How long it is Queued first. A create call returns at once for a queued container.
        starting_seconds: How long it is Starting. The create call of a container that is not queued waits for it.
        on_term: How it ends when it gets SIGTERM; None ignores SIGTERM.
        term_seconds: How long it takes to end after SIGTERM.
        output: What it writes; its environment goes to its standard output at the start where `prints_environment`.
        prints_environment: Whether it writes its environment as `NAME=value` with a NUL after each, as `env -0` does.
        copies_stdin: Whether it copies its standard input to its standard output and ends with 0 at its end (exec only;
            a container's own standard input is empty).
        tells_size: Whether it answers each line of its terminal with `size ROWS COLUMNS`, and ends with 0 at the end of
            its input (at terminals only).
        token: Names it in `ContainerWorld.starts_of` and `processes_of`.
        processes: How many processes it consists of, >= 1.
        failure: Makes the error that is raised instead of starting it; None starts it.
        command_failure: The same for a command in a container, where that is another error.
    """

    exit: ExitStatus | None = None
    after_seconds: float = field(default=0.0, validator=validators.ge(0.0))
    queued_seconds: float = field(default=0.0, validator=validators.ge(0.0))
    starting_seconds: float = field(default=0.0, validator=validators.ge(0.0))
    on_term: ExitStatus | None = ExitStatus(signal=SIGTERM)
    term_seconds: float = field(default=0.0, validator=validators.ge(0.0))
    output: tuple[Output, ...] = ()
    prints_environment: bool = False
    copies_stdin: bool = False
    tells_size: bool = False
    token: str = ""
    processes: int = field(default=1, validator=validators.ge(1))
    failure: Callable[[], RuntimeFailure] | None = None
    command_failure: Callable[[], RuntimeFailure] | None = None

    def all_output(self, environment: Mapping[str, str]) -> tuple[Output, ...]:
        """Return what it writes, in the order of time."""
        if not self.output and not self.prints_environment:
            return ()
        printed: tuple[Output, ...] = ()
        if self.prints_environment:
            text = "".join(f"{name}={value}\0" for name, value in environment.items())
            printed = (Output(data=text.encode()),)
        return tuple(sorted(printed + self.output, key=lambda output: output.after_seconds))


Script = Callable[[str, InstanceKey, int], MockBehaviour | None]
"""Chooses what a container does, given workload's name, instance and attempt; None leaves it to the command."""

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)?")
_UNITS: Mapping[str | None, float] = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(word: str) -> float:
    match = _DURATION.fullmatch(word)
    if match is None:
        msg = f"{word!r} is no duration such as 2s, 500ms, 1.5m"
        raise ValueError(msg)
    return float(match[1]) * _UNITS[match[2]]


_Apply = Callable[[MockBehaviour, Sequence[str]], MockBehaviour]


def _print(so_far: MockBehaviour, words: Sequence[str]) -> MockBehaviour:
    output = Output(data=words[1].encode(), stream=LogStream(words[0]))
    return evolve(so_far, output=(*so_far.output, output))


def _print_at(so_far: MockBehaviour, words: Sequence[str]) -> MockBehaviour:
    output = Output(data=words[2].encode(), stream=LogStream(words[1]), after_seconds=_seconds(words[0]))
    return evolve(so_far, output=(*so_far.output, output))


def _refuse(kind: type[RuntimeFailure], so_far: MockBehaviour, words: Sequence[str]) -> MockBehaviour:
    return evolve(so_far, failure=partial(StartFailed, words[0]), command_failure=partial(kind, words[0]))


_PHRASES: Mapping[str, tuple[int, _Apply]] = {
    "after": (1, lambda b, w: evolve(b, after_seconds=_seconds(w[0]))),
    "copy-stdin": (0, lambda b, _: evolve(b, copies_stdin=True)),
    "die": (1, lambda b, w: evolve(b, exit=ExitStatus(signal=int(w[0])))),
    "env": (0, lambda b, _: evolve(b, prints_environment=True)),
    "exit": (1, lambda b, w: evolve(b, exit=ExitStatus(code=int(w[0])))),
    "fail": (1, partial(_refuse, CommandNotFound)),
    "fork": (0, lambda b, _: evolve(b, processes=2)),
    "ignore-term": (0, lambda b, _: evolve(b, on_term=None)),
    "not-executable": (1, partial(_refuse, CommandNotExecutable)),
    "oom": (0, lambda b, _: evolve(b, exit=ExitStatus(signal=SIGKILL, out_of_memory=True))),
    "print": (2, _print),
    "print-at": (3, _print_at),
    "queued": (1, lambda b, w: evolve(b, queued_seconds=_seconds(w[0]))),
    "run": (0, lambda b, _: b),
    "starting": (1, lambda b, w: evolve(b, starting_seconds=_seconds(w[0]))),
    "tell-size": (0, lambda b, _: evolve(b, tells_size=True)),
    "term-takes": (1, lambda b, w: evolve(b, term_seconds=_seconds(w[0]))),
    "token": (1, lambda b, w: evolve(b, token=w[0])),
    "trap": (1, lambda b, w: evolve(b, on_term=ExitStatus(code=int(w[0])))),
    "unsupported": (1, lambda b, w: evolve(b, failure=partial(ConfigUnsupported, w[0]))),
}


@lru_cache(maxsize=4096)
def behaviour_of(command: tuple[str, ...]) -> MockBehaviour:
    """Return what a command means.

    A command is a row of phrases, in any order: `exit CODE`, `die SIGNAL`, `oom` (how it ends by itself; without one it
    runs until it is stopped), `after TIME` (when), `queued TIME`, `starting TIME`, `trap CODE` (how it ends on
    SIGTERM), `ignore-term`, `term-takes TIME`, `print STREAM TEXT`, `print-at TIME STREAM TEXT`, `env`, `copy-stdin`,
    `tell-size`, `fork`, `token WORD`, `fail TEXT`, `not-executable TEXT`, `unsupported TEXT`, `run`. Times are
    such as 2s, 500ms, 1.5m.

    A command that begins with none of these words runs until it is stopped, so that real manifests can be simulated.

    Raises:
        ConfigUnsupported: It begins with such a word but goes on with what is none.
    """
    behaviour = MockBehaviour()
    if not command or command[0] not in _PHRASES:
        return behaviour
    rest = list(command)
    while rest:
        word = rest.pop(0)
        if word not in _PHRASES:
            msg = f"mock command {' '.join(command)!r}: {word!r} is none of {', '.join(_PHRASES)}"
            raise ConfigUnsupported(msg)
        count, apply = _PHRASES[word]
        words = rest[:count]
        del rest[:count]
        try:
            behaviour = apply(behaviour, words)
        except (ValueError, IndexError) as err:
            msg = f"mock command {' '.join(command)!r}: {word!r} needs {count} good words, not {words}"
            raise ConfigUnsupported(msg) from err
    return behaviour
