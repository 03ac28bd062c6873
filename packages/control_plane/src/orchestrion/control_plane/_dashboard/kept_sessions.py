"""Sessions of browsers in a store, so that they outlive the server."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Protocol

from attrs import frozen
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._identity.records import StoredPrincipal
from orchestrion.shared_types import ConfigInvalid
from orchestrion.store_interface import Delete, StateStore

KEY_PREFIX: Final = "/session/default/"
_MOST_AT_ONCE: Final = 100


@frozen
class KeptSession:
    """What is kept of a session.

    Attributes:
        id: The hash of what the browser shows.
        proof: The hash of what its pages show besides; empty where it began when there was no such thing.
        principal: Who signed in.
        began_at: When.
        used_at: When it was last seen to be used.
    """

    id: str
    proof: str
    principal: Principal
    began_at: datetime
    used_at: datetime


class Keeping(Protocol):
    """Where sessions are kept."""

    async def load(self) -> list[KeptSession]:
        """Return all that are kept."""
        ...

    async def add(self, session: KeptSession, /) -> None:
        """Keep one, or what has become of it. When this returns it is durable."""
        ...

    async def drop(self, ids: Iterable[str], /) -> None:
        """Keep some no longer. When this returns that is durable; repeating it does nothing."""
        ...


class KeptNowhere:
    """Keeps nothing: with the server, sessions end."""

    async def load(self) -> list[KeptSession]:
        """Return none."""
        return []

    async def add(self, _session: KeptSession, /) -> None:
        """Keep nothing."""

    async def drop(self, _ids: Iterable[str], /) -> None:
        """Keep nothing."""


@frozen
class KeptInStore:
    """Keeps sessions in a store, which has only hashes of what browsers show.

    Attributes:
        store: Where, under `/session/default/`.
    """

    store: StateStore

    async def load(self) -> list[KeptSession]:
        """Return all that are kept; what is damaged is left out."""
        found = list[KeptSession]()
        for entry in (await self.store.list(KEY_PREFIX)).entries:
            try:
                stored = StoredPrincipal.decode(entry.value)
                used_at, *proof, via = stored.note.split(" ", 2)
                principal, seen = stored.principal(via), datetime.fromisoformat(used_at)
            except (ConfigInvalid, ValueError):
                continue
            key = entry.key.removeprefix(KEY_PREFIX)
            found.append(KeptSession(key, "".join(proof), principal, stored.created_at, seen))
        return found

    async def add(self, session: KeptSession, /) -> None:
        """Keep one."""
        note = f"{session.used_at.isoformat()} {session.proof} {session.principal.via}"
        value = StoredPrincipal.of(session.principal, session.id, session.began_at, note)
        await self.store.put(KEY_PREFIX + session.id, value.encode())

    async def drop(self, ids: Iterable[str], /) -> None:
        """Keep some no longer."""
        keys = [KEY_PREFIX + one for one in ids]
        for first in range(0, len(keys), _MOST_AT_ONCE):
            await self.store.transaction([], [Delete(key) for key in keys[first : first + _MOST_AT_ONCE]])
