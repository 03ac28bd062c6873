"""What access each path gives, told with the path: without this, nobody could say who may use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from ._identity.access import Access

ACCESS: Final = "access"
"""Where in a handler's options it says what access it gives: `Needs`, or None for everybody's."""


CHECK: Final = "orchestrion.check"
"""Where in a request's scope is what says what else who asks may do, a `Check`; nowhere if everybody may everything."""

Check = Callable[[Access], None]
"""Raises `Denied` unless who asks may do something."""


METHODS: Final = "orchestrion.methods"
"""Where in a request's scope is what tells which methods a path takes, where that is known better than by routes."""

READ: Final = "orchestrion.read"
"""Where in a request's scope the value is that its body stands for, once it was read to tell what is asked for."""


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
        narrowed: Whether the path can leave out what does not belong to who asks: then those come in, too, who may only
            have to do with their own.
        applied: Whether the path may be sent a part that is applied, which asks for `apply` instead.
    """

    verb: str
    resource: str
    query: tuple[str, ...] = ()
    body: str = ""
    anybody: bool = False
    dry_run: bool = False
    narrowed: bool = False
    applied: bool = False
