"""The keys that secrets are sealed with, and how one takes the place of another while a server is at work.

1. The file of the keys gets a new one, which seals from then on, beside the old ones, which still open.
2. The store has its id, under `/sealing/default/key`. Every write of a secret depends on that: what was sealed with an
   older key, and is written later, is refused, and sealed anew.
3. Every secret is sealed anew that is sealed with an older key.
4. The older keys are removed from the file.

A server that is killed in between goes on at its next start, at whatever step it was: until the last one all keys are
there.
"""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Final

import trio
from attrs import define, evolve, field
from orchestrion.control_plane._identity.sealing import SealBroken, Sealer
from orchestrion.control_plane._objects.kinds import SECRET
from orchestrion.control_plane._objects.stored import collection_key, object_of
from orchestrion.shared_types import OrchestrationError
from orchestrion.store_interface import ABSENT, Compare, Entry, Revision, RevisionConflict, StateStore

CURRENT_KEY: Final = "/sealing/default/key"
"""Where the store has the id of the key that seals."""

_RETRY_SECONDS: Final = 5.0
_BROKEN_SECONDS: Final = 600.0
"""After how long a secret that could not be opened is tried again: somebody may have set it anew."""
_PAGE: Final = 100

_log = logging.getLogger("orchestrion.control_plane")


@define(eq=False)
class SecretKeys:
    """Seals and opens secret texts, and replaces the key; `run` does what takes long.

    Attributes:
        store: Where the secrets are.
        state_dir: Where the file of the keys is.
    """

    store: StateStore
    state_dir: Path
    _sealer: Sealer
    _revision: Revision = field(default=ABSENT, init=False)
    _settled: bool = field(default=False, init=False)
    _changing: trio.Lock = field(factory=trio.Lock, init=False)
    _wake: trio.Event = field(factory=trio.Event, init=False)

    @classmethod
    async def open(cls, store: StateStore, state_dir: Path, /) -> SecretKeys:
        """Return the keys of a state directory; the first is made where there is no file.

        Raises:
            StateFailure: The file is damaged, can be read by others, or can't be written.
            Unavailable: The store does not answer.
        """
        keys = cls(store, state_dir, await trio.to_thread.run_sync(Sealer.open, state_dir))
        await keys._settle()
        return keys

    @property
    def current(self) -> str:
        """The id of the key that seals."""
        return self._sealer.current

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, the oldest first; more than one while secrets are sealed anew."""
        return self._sealer.key_ids

    def seal(self, name: str, text: str, /) -> str:
        """Return a secret text as it may be kept; see `Sealer.seal`."""
        return self._sealer.seal(text, name=name)

    def unseal(self, name: str, sealed: str, /) -> str:
        """Return what was sealed; see `Sealer.unseal`."""
        return self._sealer.unseal(sealed, name=name)

    def unchanged(self) -> Compare:
        """Return what has to hold for what is sealed now, or was sealed with the same key, to be written."""
        return Compare(CURRENT_KEY, self._revision)

    async def rotate(self) -> None:
        """Make a new key, which seals when this returns; what is sealed already is sealed anew by `run`.

        **Idempotency.** None: again is another key. **Cancellation.** Indeterminate: there may be one.

        Raises:
            StateFailure: The file of the keys can't be written; nothing was changed.
            Unavailable: The store does not answer; the new key seals once it does.
        """
        async with self._changing:
            with trio.CancelScope(shield=True):
                self._settled = False
                await trio.to_thread.run_sync(self._sealer.rotated)
                self._wake.set()
                await self._settle()

    async def run(self) -> None:
        """Seal secrets anew wherever older keys are left, and remove those, until cancelled."""
        while True:
            wake = self._wake = trio.Event()
            seconds = math.inf
            try:
                async with self._changing:
                    if not self._settled:
                        await self._settle()
                if len(self.ids) > 1 and not await self._replaced():
                    seconds = _RETRY_SECONDS
            except SealBroken as err:
                _log.error("the older keys stay, for a secret can't be sealed anew: %s", err.message)  # it says which
                seconds = _BROKEN_SECONDS
            except OrchestrationError as err:
                _log.warning("sealing secrets anew waits: %s", err.message)
                seconds = _RETRY_SECONDS
            with trio.move_on_after(seconds):
                await wake.wait()

    async def _settle(self) -> None:
        """Have the store say which key seals, and use that from here on."""
        sealer = await trio.to_thread.run_sync(Sealer.open, self.state_dir)
        entry = (await self.store.get(CURRENT_KEY)).entry
        revision = ABSENT if entry is None else entry.modified
        known = "" if entry is None else json.loads(entry.value)["id"]
        # Until there was a second key, nobody has to be told of the first.
        if known != sealer.current and (entry is not None or len(sealer.key_ids) > 1):
            value = json.dumps({"version": 1, "id": sealer.current}).encode()
            revision = await self.store.put(CURRENT_KEY, value, expected=revision)
        self._sealer, self._revision, self._settled = sealer, revision, True

    async def _replaced(self) -> bool:
        """Seal anew what older keys have sealed, and remove those; return whether all of that was done.

        Raises:
            SealBroken: A secret can't be opened; the others were sealed anew.
        """
        current, last, more, left, sealed = self.current, "", True, 0, 0
        broken: SealBroken | None = None
        while more:
            listed = await self.store.list(collection_key(SECRET, None), limit=_PAGE, start_after=last or None)
            for entry in listed.entries:
                try:
                    done = await self._resealed(entry)
                except SealBroken as err:
                    broken = err
                    continue
                left, sealed = left + (done is None), sealed + bool(done)
            more = listed.more
            last = listed.entries[-1].key if listed.entries else last
        if broken is not None:
            raise broken
        if left:
            return False
        async with self._changing:
            if self.current != current:
                return False
            with trio.CancelScope(shield=True):
                self._sealer = await trio.to_thread.run_sync(_alone, self._sealer)
        _log.info("the key %s is the only one that secrets are sealed with; %d were sealed anew", current, sealed)
        return True

    async def _resealed(self, entry: Entry) -> bool | None:
        """Seal one secret anew; return whether that was needed, and None where it is still to be done."""
        stored, sealer = object_of(entry), self._sealer
        if all(sealer.is_current(text) for text in stored.sealed.values()):
            return False
        metadata = stored.document.metadata
        name = f"{metadata.namespace}/{metadata.name}"
        try:
            texts = {key: sealer.reseal(text, name=f"{name}/{key}") for key, text in stored.sealed.items()}
            operation = evolve(stored, sealed=texts).put(entry.key)
            await self.store.transaction([Compare(entry.key, entry.modified), self.unchanged()], [operation])
        except RevisionConflict:
            return None  # it was changed meanwhile
        return True


def _alone(sealer: Sealer) -> Sealer:
    """Remove all keys but the one that seals. It blocks."""
    for key_id in sealer.key_ids:
        if key_id != sealer.current:
            sealer = sealer.without(key_id)
    return sealer
