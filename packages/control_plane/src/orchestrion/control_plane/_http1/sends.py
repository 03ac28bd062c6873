"""What is being sent, so that a stalled reader can't keep a server from ending."""

from __future__ import annotations

import math

import trio


class Sends:
    """The sends that are under way, so that all can be given up at once."""

    def __init__(self, stalled_seconds: float = math.inf) -> None:
        """Take how long a peer may take to accept what is sent at once."""
        self._stalled_seconds = stalled_seconds
        self._scopes = set[trio.CancelScope]()
        self._aborted = False

    def abort(self) -> None:
        """Give up all sends, those that begin later too."""
        self._aborted = True
        for scope in self._scopes:
            scope.cancel()

    async def send(self, stream: trio.abc.SendStream, data: bytes) -> bool:
        """Send all of `data`, whatever is cancelled around; False if it was given up or the peer has gone.

        A request that is cancelled in the middle of a send would else leave half a message on the connection.
        """
        with trio.CancelScope(shield=True, deadline=trio.current_time() + self._stalled_seconds) as scope:
            if self._aborted:
                scope.cancel()
            self._scopes.add(scope)
            try:
                await stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return False
            finally:
                self._scopes.remove(scope)
        return not scope.cancelled_caught
