"""Letting somebody see what an orchestrator does, step by step; while nobody looks it costs next to nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final, Protocol

from attrs import define


class StepObserver(Protocol):
    """Sees steps begin and end."""

    def step(self, name: str, subject: str, /) -> AbstractContextManager[object]:
        """Be at a step while inside; what ends it by raising has failed. It must neither wait nor raise itself.

        Args:
            name: What kind of step: `apply`, `restart`, `reconcile`, `schedule`, `create` or `stop`; the set may grow.
            subject: Of what: `NAMESPACE/NAME` of a workload, several with commas between; empty where nobody knows.
        """
        ...


_UNSEEN: Final = nullcontext()


@define(eq=False)
class Observed:
    """What an orchestrator does is told here.

    Attributes:
        observer: Sees it; None is nobody. It may be set at any time.
    """

    observer: StepObserver | None = None

    def step(self, name: str, subject: str = "") -> AbstractContextManager[object]:
        """Be at a step while inside."""
        return _UNSEEN if self.observer is None else self.observer.step(name, subject)
