"""Why a slot is where it is, in words."""

from __future__ import annotations

from orchestrion.scheduler_interface import Explanation, describe


def place_words(explanation: Explanation, /, *, stays: bool) -> str:
    """Return why a slot is, or would be, on its node.

    Args:
        explanation: What the scheduler said.
        stays: It has its place; of such a slot nobody asks anew where else it might go.
    """
    if explanation.groups:
        return f"it fits there, and not on {describe(explanation)}"
    return "it was placed there, and stays" if stays else "it fits there"
