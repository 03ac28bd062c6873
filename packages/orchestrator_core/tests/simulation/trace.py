"""What happened in a run, line by line: the same seed gives the same lines."""

from __future__ import annotations

from hashlib import sha256

import trio
from attrs import define, field


class Violation(AssertionError):
    """A rule that always holds did not."""


@define(eq=False)
class Trace:
    """The lines of a run.

    Attributes:
        lines: (seconds, text), in the order of time.
        violations: Rules that were broken, in words.
    """

    lines: list[tuple[float, str]] = field(factory=list)
    violations: list[str] = field(factory=list)

    def add(self, text: str) -> None:
        """Note what happened now."""
        self.lines.append((trio.current_time(), text))

    def violated(self, text: str) -> None:
        """Note that a rule was broken now."""
        self.add(f"VIOLATION: {text}")
        self.violations.append(text)

    def raise_if_violated(self) -> None:
        """Raise `Violation` if a rule was broken."""
        if self.violations:
            raise Violation("\n".join(self.violations[:5]))

    def tail(self, count: int) -> str:
        """Return the last lines."""
        return "\n".join(f"{at:10.3f} {text}" for at, text in self.lines[-count:])

    def digest(self) -> str:
        """Return what two runs have in common exactly if their lines are the same."""
        return sha256(self.tail(len(self.lines)).encode()).hexdigest()
