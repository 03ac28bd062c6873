"""Requests that are done once, however often they are sent."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final

from attrs import frozen
from orchestrion.control_plane._service.intent import Intent
from orchestrion.control_plane._service.replies import Answer, Asked, Replies
from orchestrion.shared_types import ConfigInvalid, Problem

from .answers import Raw
from .caller import caller_of
from .queries import AnyRequest, intent_of

_HEADER: Final = "Idempotency-Key"
_WORD: Final = re.compile(r"[!-~]{1,255}")


@frozen
class Once:
    """Does requests that bring an Idempotency-Key once, and others as often as they come.

    Attributes:
        replies: Keeps answers.
    """

    replies: Replies

    async def answer(
        self, request: AnyRequest, act: Callable[[Intent], Awaitable[Raw]], again: Callable[[], Awaitable[Raw]]
    ) -> Raw:
        """Return what a request is answered with.

        Args:
            request: The request.
            act: Does it.
            again: Answers by what there is now, where it was done before and the answer is not known.

        Raises:
            ConfigInvalid: The key is none.
            Conflict: Another request had it.
        """
        intent = intent_of(request)
        word = request.headers.get(_HEADER)
        if word is None or intent.dry_run:
            return await act(intent)
        if not _WORD.fullmatch(word):
            raise ConfigInvalid((Problem("1 to 255 visible characters are wanted", path=_HEADER),))
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
        answer = await self.replies.once(asked, intent, kept, known)
        return Raw(answer.status, answer.body, tuple((name.encode(), value.encode()) for name, value in answer.headers))
