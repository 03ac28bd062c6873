"""Requests that are done once, however often they are sent."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from attrs import frozen
from orchestrion.control_plane._service.intent import Intent
from orchestrion.control_plane._service.replies import Answer, Asked, Replies
from orchestrion.control_plane._service.requested import requested
from orchestrion.shared_types import ConfigInvalid, Conflict, NotFound, Problem

from .answers import Raw, without_etag
from .caller import caller_of
from .queries import AnyRequest, intent_of

HEADER: Final = "Idempotency-Key"

ONCE: Final = (HEADER,)
"""The parameters of an operation that takes no others."""

_WORD: Final = re.compile(r"[!-~]{1,255}")


async def shown_once() -> Raw:
    """Say of what was made, and is shown once, that it was shown already.

    Raises:
        Conflict: It was.
    """
    await trio.lowlevel.checkpoint()
    msg = "this request was done already, and what it has made is shown only once"
    raise Conflict(msg, remedy="List what there is, revoke what nobody has got, and make another one with a new key.")


async def nothing_left() -> Raw:
    """Say of what was removed that it is gone.

    Raises:
        NotFound: It is.
    """
    await trio.lowlevel.checkpoint()
    raise NotFound("it was removed by this request already")


@frozen
class Once:
    """Does requests that bring an Idempotency-Key once, and others as often as they come.

    Attributes:
        replies: Keeps answers.
    """

    replies: Replies

    async def answer(
        self,
        request: AnyRequest,
        act: Callable[[Intent], Awaitable[Raw]],
        again: Callable[[], Awaitable[Raw]],
        *,
        together: bool = True,
        keeps: bool = True,
    ) -> Raw:
        """Return what a request is answered with.

        Args:
            request: The request.
            act: Does it.
            again: Answers by what there is now, where it was done before and the answer is not known.
            together: See `Replies.once`.
            keeps: See `Replies.once`.

        Raises:
            ConfigInvalid: The key is none.
            Conflict: Another request had it.
            TooManyRequests: As much as may be is kept of who asks.
        """
        intent = intent_of(request)
        word = request.headers.get(HEADER)
        if intent.dry_run:
            return without_etag(await act(intent))
        if word is None:
            return await act(intent)
        if not _WORD.fullmatch(word):
            raise ConfigInvalid((Problem("1 to 255 visible characters are wanted", path=HEADER),))
        scope = request.scope
        content = (
            request.method.encode(),
            scope["raw_path"],
            scope["query_string"],
            request.headers.get("content-type", "").encode(),
            await request.body(),
        )

        async def kept(intent: Intent) -> Answer:
            raw = await act(intent)
            headers = tuple((name.decode(), value.decode()) for name, value in raw.headers)
            return Answer(status=raw.status, body=raw.body, headers=headers)

        async def known() -> Answer:
            raw = await again()
            return Answer(status=raw.status, body=raw.body)

        asked = Asked(caller=str(caller_of(request)), word=word, content=content)
        answer = await self.replies.once(asked, intent, kept, known, together=together, keeps=keeps)
        return Raw(answer.status, answer.body, tuple((name.encode(), value.encode()) for name, value in answer.headers))

    async def doing(
        self,
        request: AnyRequest,
        do: Callable[[], Awaitable[object]],
        show: Callable[[], Awaitable[Raw]],
        *,
        together: bool = True,
    ) -> Raw:
        """Return what a request is answered with that is done first and shown then.

        Args:
            request: The request.
            do: Does it; what the request brings along is written by `with_request`.
            show: Answers by what there is now.
            together: See `Replies.once`.

        Raises:
            ConfigInvalid: The key is none.
            Conflict: Another request had it.
            TooManyRequests: As much as may be is kept of who asks.
        """

        async def act(intent: Intent) -> Raw:
            with requested(intent):
                await do()
            return await show()

        return await self.answer(request, act, show, together=together)
