"""What an order to drain a node must look like, for everybody who implements `SupportsCordon`."""

from __future__ import annotations

from datetime import datetime

from orchestrion.shared_types import ConfigInvalid, Drain, Problem


def drain_order(reason: str, deadline: datetime | None) -> Drain:
    """Return the order.

    Args:
        reason: One line for people, not blank.
        deadline: With a time zone; None waits for ever.

    Raises:
        ConfigInvalid: The reason is blank, has several lines or can't be encoded, or the deadline has no time zone.
    """
    problems = []
    if not reason.strip():
        problems.append(Problem("a drain needs a reason; say why in one line", path="reason"))
    elif len(reason.splitlines()) > 1:
        problems.append(Problem(f"the reason for a drain is one line, not {len(reason.splitlines())}", path="reason"))
    else:
        try:
            reason.encode()
        except UnicodeEncodeError:
            problems.append(Problem(f"the reason {reason!r} is not valid text", path="reason"))
    if deadline is not None and deadline.utcoffset() is None:
        problems.append(Problem(f"the deadline {deadline.isoformat()} needs a time zone, such as Z", path="deadline"))
    if problems:
        raise ConfigInvalid(tuple(problems))
    return Drain(reason=reason, deadline=deadline)
