"""A session over standard input and output: a message a line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from .desk import Desk
from .messages import MAX_MESSAGE_BYTES, PARSE_ERROR, RpcError, decode, encode, failure
from .session import MAX_AT_ONCE, Session

END_SECONDS: Final = 30.0
"""How long what is under way gets to end once no more is asked."""

Read = Callable[[], Awaitable[bytes]]
Write = Callable[[bytes], Awaitable[None]]


async def serve_lines(desk: Desk, read: Read, write: Write) -> None:
    """Answer lines until there are no more, and what was asked is answered or has had its time.

    Answers come in the order in which they are ready, each in one piece.

    **Cancellation.** *Closing*: what is under way is given up.

    Args:
        desk: What the tools act through.
        read: Gives the next bytes; none at the end.
        write: Takes whole lines.

    Raises:
        OSError: Nothing can be read or written any more.
    """
    session, writing = Session(), trio.Lock()
    # Twice as many as a session takes: one too many is refused, and a client that reads no answers is not read either.
    room = trio.Semaphore(2 * MAX_AT_ONCE)

    async def send(message: object) -> None:
        async with writing:
            await write(encode(message) + b"\n")

    async def answer(line: bytes | None, *, task_status: trio.TaskStatus[None]) -> None:
        # What follows is known to the session before the next line is looked at, which may cancel it.
        task_status.started()
        try:
            if line is None:
                raise RpcError(PARSE_ERROR, f"a message has at most {MAX_MESSAGE_BYTES} bytes")
            answered = await session.answer(decode(line), desk)
        except RpcError as err:
            answered = failure(None, err)
        finally:
            room.release()
        if answered is not None:
            await send(answered)

    lines = _Lines(read)
    async with trio.open_nursery() as nursery:
        async for line in lines:
            await room.acquire()
            await nursery.start(answer, line)
        nursery.cancel_scope.deadline = trio.current_time() + END_SECONDS


class _Lines:
    """Cuts bytes into lines; None is one that was too long, and was passed over. Empty ones are left out."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._rest = bytearray()
        self._skips = False
        self._over = False

    def __aiter__(self) -> _Lines:
        return self

    async def __anext__(self) -> bytes | None:
        searched = 0
        while True:
            end = self._rest.find(b"\n", searched)
            if end >= 0 or self._over:
                line = bytes(self._rest if end < 0 else self._rest[:end]).strip()
                del self._rest[: len(self._rest) if end < 0 else end + 1]
                searched = 0
                if self._skips:
                    self._skips = False
                elif line:
                    return line
                elif end < 0:
                    raise StopAsyncIteration
                continue
            searched = len(self._rest)
            if searched > MAX_MESSAGE_BYTES:
                self._rest.clear()
                searched = 0
                if not self._skips:
                    self._skips = True
                    return None
            data = await self._read()
            self._over = not data
            self._rest += data
