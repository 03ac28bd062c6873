"""The token by which the first administrator comes in."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Final

import trio
from orchestrion.store_interface import ABSENT, Compare, Put, RevisionConflict

from .failures import NotProved
from .principals import ADMINS, Principal
from .private_files import read_private, write_private
from .tokens import Tokens

FILE_NAME: Final = "admin.token"
MADE_KEY: Final = "/first-token/default/admin"
"""Says that the first token was made once, so that one that was revoked is not made again."""


async def make_first_token(tokens: Tokens, state_dir: Path, /) -> Path | None:
    """Make the first administrator's token where none was ever made, and write it to a file of mode 0600.

    `tokens` must be following its store. The file is there before the token is good, and a crash in between is made up
    for at the next start. Several servers of one store make one token, in the state directory of one of them.

    **Cancellation.** *Indeterminate*; a repeat is safe.

    Args:
        tokens: Where it goes.
        state_dir: A directory of the server's own. The file is `admin.token` in it.

    Returns:
        The file, if the token was made now; else None.

    Raises:
        StateFailure: The file can't be written, or others can read it.
    """
    path = state_dir / FILE_NAME
    draft = state_dir / f"{FILE_NAME}.draft"
    if (await tokens.store.get(MADE_KEY)).entry is not None:
        await trio.to_thread.run_sync(_finish, tokens, draft, path)
        return None
    issued = tokens.make(Principal("admin", groups=frozenset({ADMINS})), note="made at the first start of the server")
    await trio.to_thread.run_sync(write_private, draft, f"{issued.text.reveal()}\n".encode())
    made = Put(MADE_KEY, json.dumps({"version": 1, "id": issued.record.id}).encode())
    try:
        await tokens.write(issued.record, [Compare(MADE_KEY, ABSENT)], [made])
    except RevisionConflict:
        await trio.to_thread.run_sync(partial(draft.unlink, missing_ok=True))
        return None
    await trio.to_thread.run_sync(draft.replace, path)
    return path


def kept_first_token(tokens: Tokens, state_dir: Path, /) -> Path | None:
    """Return the file of the first administrator's token if it is there, and the token is good. It blocks.

    Args:
        tokens: Knows which are; it must be following its store.
        state_dir: As for `make_first_token`.

    Raises:
        StateFailure: The file can't be read, or others can read it.
    """
    path = state_dir / FILE_NAME
    data = read_private(path)
    if data is None:
        return None
    try:
        tokens.verify(data.decode(errors="replace").strip())
    except NotProved:
        return None
    return path


def _finish(tokens: Tokens, draft: Path, path: Path) -> None:
    """Put the draft in place that a crash has left, if its token was made."""
    data = read_private(draft)
    if data is None:
        return
    try:
        tokens.verify(data.decode(errors="replace").strip())
    except NotProved:
        draft.unlink(missing_ok=True)
    else:
        draft.replace(path)
