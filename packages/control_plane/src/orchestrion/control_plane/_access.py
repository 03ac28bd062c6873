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
    """

    verb: str
    resource: str
