"""What access each path gives, told with the path: without this, nobody could say who may use it."""

from __future__ import annotations

from typing import Final

from attrs import frozen

ACCESS: Final = "access"
"""Where in a handler's options it says what access it gives: `Needs`, or None for everybody's."""


@frozen
class Needs:
    """What access a path gives.

    Attributes:
        verb: What is done.
        resource: With what; `{plural}` stands for the kind that the path names.
        query: Which of `namespace` and `name` the path takes from its query. What it does not take from there says
            nothing about what it reaches.
        body: What the body is that says what is reached: `workloads` or `logs`; empty where it does not say.
        anybody: Whether everybody may who is known.
        dry_run: Whether a path that has no description can be tried without doing it, as its query says.
    """

    verb: str
    resource: str
    query: tuple[str, ...] = ()
    body: str = ""
    anybody: bool = False
    dry_run: bool = False
