"""The token by which the first administrator comes in."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import trio
from orchestrion.shared_types import OrchestrationError
from orchestrion.store_interface import ABSENT, Compare, Delete, Put, RevisionConflict

from .failures import NotProved, Reason
from .principals import ADMINS, Principal
from .private_files import read_private, write_private
from .tokens import KEY_PREFIX, IssuedToken, TokenRecord, Tokens

FILE_NAME: Final = "admin.token"
MADE_KEY: Final = "/first-token/default/admin"
"""Says that the first token was made once, so that one that was revoked is not made again; and which it is now."""

LIFETIME: Final = timedelta(days=30)
"""How long the token is good. It is replaced when less than a third of that is left."""

_LOOK_SECONDS: Final = 3_600.0

_log = logging.getLogger("orchestrion.control_plane")


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
    issued = _made(tokens, "made at the first start of the server")
    await trio.to_thread.run_sync(write_private, draft, f"{issued.text.reveal()}\n".encode())
    try:
        await tokens.write(issued.record, [Compare(MADE_KEY, ABSENT)], [_said(issued)])
    except RevisionConflict:
        await trio.to_thread.run_sync(partial(draft.unlink, missing_ok=True))
        return None
    await trio.to_thread.run_sync(draft.replace, path)
    return path


async def renew_first_token(tokens: Tokens, state_dir: Path, /) -> bool:
    """Replace the first administrator's token in its file, where less than a third of its time is left.

    The old one is worthless then, in the same write by which the new one is good. One that was revoked, whose file is
    gone or has something else in it, is not replaced. A crash in between is made up for by `make_first_token`.

    **Cancellation.** *Indeterminate*; a repeat is safe.

    Args:
        tokens: Where it goes; it must be following its store.
        state_dir: As for `make_first_token`.

    Returns:
        Whether it was replaced.

    Raises:
        StateFailure: The file can't be written, or others can read it.
        Unavailable: The store does not answer.
    """
    path = state_dir / FILE_NAME
    draft = state_dir / f"{FILE_NAME}.draft"
    record = await trio.to_thread.run_sync(_record_of, tokens, path)
    entry = (await tokens.store.get(MADE_KEY)).entry
    if record is None or entry is None or json.loads(entry.value)["id"] != record.id:
        return False
    ends = record.principal.expires_at
    if ends is not None and ends - tokens.now() >= LIFETIME / 3:
        return False
    issued = _made(tokens, "made anew by the server")
    await trio.to_thread.run_sync(write_private, draft, f"{issued.text.reveal()}\n".encode())
    try:
        await tokens.write(
            issued.record,
            [Compare(MADE_KEY, entry.modified)],
            [_said(issued), Delete(KEY_PREFIX + record.id)],
        )
    except RevisionConflict:
        await trio.to_thread.run_sync(partial(draft.unlink, missing_ok=True))
        return False
    with trio.CancelScope(shield=True):
        await trio.to_thread.run_sync(draft.replace, path)
    return True


async def keep_first_token(tokens: Tokens, state_dir: Path, /) -> None:
    """Replace the first administrator's token whenever its time comes, until cancelled; what fails is tried again."""
    while True:
        await trio.sleep(_LOOK_SECONDS)
        try:
            if await renew_first_token(tokens, state_dir):
                _log.info("the administrator's token in %s is another one now", state_dir / FILE_NAME)
        except OrchestrationError as err:
            _log.error("the administrator's token could not be replaced: %s", err.message)


def _made(tokens: Tokens, note: str) -> IssuedToken:
    ends = tokens.now() + LIFETIME
    return tokens.make(Principal("admin", groups=frozenset({ADMINS}), expires_at=ends), note=note)


def _said(issued: IssuedToken) -> Put:
    return Put(MADE_KEY, json.dumps({"version": 1, "id": issued.record.id}).encode())


def _record_of(tokens: Tokens, path: Path) -> TokenRecord | None:
    """Return what is known of the token in a file, if it was not revoked."""
    data = read_private(path)
    if data is None:
        return None
    text = data.decode(errors="replace").strip()
    try:
        tokens.verify(text)
    except NotProved as err:
        if err.reason is not Reason.TOKEN_EXPIRED:
            return None
    return tokens.get(tokens.claim(text).partition(":")[2])


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
