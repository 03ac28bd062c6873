"""Whether to go on with a removal, once all that goes has been named."""

from __future__ import annotations

from collections.abc import Sequence

from ._output import confirmed, note
from ._places import Place, RemoteServer


def may_prune(place: Place, names: Sequence[str], *, sure: bool) -> bool:
    """Name what is of a set, and no longer in its file, and ask whether it may go; where that is nothing, it may.

    Raises:
        ConfigInvalid: There is no terminal to ask on.
    """
    if not names or sure:
        return True
    note(f"what is no longer in the file goes: {', '.join(names)}")
    return may_remove(place, sure=sure)


def may_remove(place: Place, *, sure: bool) -> bool:
    """Say where things are removed, where that is a server, and ask.

    Args:
        place: Where.
        sure: Nobody is asked.

    Raises:
        ConfigInvalid: There is no terminal to ask on.
    """
    if isinstance(place, RemoteServer):
        note(f"at {place.url} ({place.name})")
    if sure or confirmed():
        return True
    note("nothing was removed")
    return False
