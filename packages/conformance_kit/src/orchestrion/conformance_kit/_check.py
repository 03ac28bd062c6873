"""A check: declared in a kit, and bound to an implementation."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from attrs import define, field, frozen

from ._runner import Runner

S = TypeVar("S")


@frozen
class Check(Generic[S]):
    """One check of one clause.

    Attributes:
        clause: The clause's id, such as "PUT-3".
        sentence: What holds, with hyphens between the words.
        requires: The capability that the clause belongs to, or None.
        needs: Names of the subject's attributes that must not be None.
        body: Takes a runner.
    """

    clause: str
    sentence: str
    requires: str | None
    needs: tuple[str, ...]
    body: Callable[[Runner[S]], None]

    @property
    def id(self) -> str:
        """The check's id: the clause and the sentence."""
        return f"{self.clause}-{self.sentence}"


@define
class Offer(Generic[S]):
    """What a factory's subjects offer a kit. It is looked at once, for opening a subject may take long.

    Attributes:
        runner: Opens a subject.
        capabilities: What the implementation can do; None asks it.
        capabilities_of: Asks it.
    """

    runner: Runner[S]
    capabilities: frozenset[str] | None
    capabilities_of: Callable[[S], Iterable[str]]
    _given: dict[str, bool] = field(factory=dict, init=False)

    def why_not(self, check: Check[S], /) -> str | None:
        """Return why a check does not apply, or None where it does."""
        asks = check.requires is not None and self.capabilities is None
        if asks or not self._given.keys() >= set(check.needs):
            self.runner(self._look, check.needs)
        if check.requires is not None and check.requires not in (self.capabilities or ()):
            return f"the implementation does not declare the capability {str(check.requires)!r}"
        missing = [name for name in check.needs if not self._given[name]]
        return f"the factory gives no {', '.join(missing)}" if missing else None

    async def _look(self, subject: S, needs: tuple[str, ...]) -> None:
        if self.capabilities is None:
            self.capabilities = frozenset(str(capability) for capability in self.capabilities_of(subject))
        for name in needs:
            self._given[name] = getattr(subject, name) is not None


@define
class BoundCheck(Generic[S]):
    """A check bound to an implementation: call it.

    Attributes:
        check: What it checks.
        runner: Opens the implementation.
        offer: What the factory's subjects offer.
        expected_failure: Why the check is known to fail, or None.
    """

    check: Check[S]
    runner: Runner[S]
    offer: Offer[S]
    expected_failure: str | None = None
    __name__: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.__name__ = self.check.id

    @property
    def id(self) -> str:
        """The check's id."""
        return self.check.id

    def __call__(self) -> None:
        """Run the check.

        Raises:
            AssertionError: The clause does not hold. An error that the implementation should not have raised comes as
                it is. Either has a note with the check's id; one that nurseries wrapped in groups is taken out of them.
            unittest.SkipTest: The implementation does not declare the capability, or the factory gives no such help.
        """
        try:
            reason = self.offer.why_not(self.check)
            if reason is not None:
                raise unittest.SkipTest(reason)
            self.check.body(self.runner)
        except Exception as err:
            cause = _unwrap(err)
            if not isinstance(cause, unittest.SkipTest):
                cause.add_note(f"clause {self.check.id}")
            if cause is err:
                raise
            raise cause from cause.__cause__


def _unwrap(err: Exception) -> Exception:
    """Return the one error that groups hold, or the group where they hold several."""
    while isinstance(err, ExceptionGroup) and len(err.exceptions) == 1:
        err = err.exceptions[0]
    return err
