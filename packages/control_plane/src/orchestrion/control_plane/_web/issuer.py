"""The issuer of tokens that a server believes besides its own; what verifies them is loaded only where there is one."""

from __future__ import annotations

import ssl
from pathlib import Path

import trio
from orchestrion.control_plane._identity.oidc_config import OidcConfig
from orchestrion.control_plane._outgoing import Outgoing
from orchestrion.orchestrator_core import WallClock
from orchestrion.shared_types import ConfigInvalid, Problem, Unavailable

from .keeper import Vouching


async def issuer_of(config: OidcConfig, now: WallClock, /) -> Vouching:
    """Return what makes out who shows a token of an issuer. The issuer is asked for its keys at the first token.

    Args:
        config: Whom to believe, and what of it.
        now: The wall clock.

    Raises:
        ConfigInvalid: The file with certificates can't be read, or has none.
    """
    return await trio.to_thread.run_sync(_verifier, config, now)


def _verifier(config: OidcConfig, now: WallClock) -> Vouching:
    from orchestrion.control_plane._identity.oidc import OidcVerifier
    from orchestrion.control_plane._identity.oidc_keys import MAX_BYTES

    outgoing = Outgoing(_trust(config.authority), max_answer_bytes=MAX_BYTES)

    async def fetch(url: str) -> bytes:
        answer = await outgoing.get(url)
        if answer.status != 200:
            raise Unavailable(f"{url} answers with status {answer.status}")
        return answer.body

    return OidcVerifier(config, fetch, now)


def _trust(authority: str) -> ssl.SSLContext:
    if not authority:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=Path(authority).read_text())
    except (OSError, ValueError, ssl.SSLError) as err:
        raise ConfigInvalid((Problem(f"{authority} has no certificates in PEM: {err}", "authority"),)) from err
