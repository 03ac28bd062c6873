"""ConfigMaps and Secrets for containers: read from the store, and secrets opened, where a container starts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from attrs import frozen
from orchestrion.orchestrator_core import ConfigMissing
from orchestrion.store_interface import StateStore, WatchBatch

from ._problems import sole_error

if TYPE_CHECKING:
    from ._objects.kinds import Kind
    from ._objects.stored import StoredObject


@frozen
class StoredConfig:
    """A ConfigSource over the objects of a store.

    Attributes:
        store: Where they are.
        key_dir: The directory with the key that opens secrets; it is read when one is opened.
    """

    store: StateStore
    key_dir: Path

    async def read_config(self, namespace: str, name: str, /) -> Mapping[str, str]:
        """Return the texts of a ConfigMap as they are now; see `ConfigSource`."""
        from ._objects.kinds import CONFIG_MAP

        stored = await self._stored(CONFIG_MAP, namespace, name)
        texts: Mapping[str, str] = stored.document.spec.get("data", {})
        return texts

    async def read_secret(self, namespace: str, name: str, /) -> Mapping[str, str]:
        """Return the texts of a Secret as they are now, open; see `ConfigSource`.

        Raises:
            StateFailure: The key is not there, or does not fit.
        """
        from ._objects.kinds import SECRET

        stored = await self._stored(SECRET, namespace, name)
        if not stored.sealed:
            return {}
        # Imported here, because only who opens a secret should pay for it.
        from ._identity.sealing import SealBroken

        try:
            return await self._opened(stored)
        except SealBroken:
            # It may have been sealed anew, and its key removed, since it was read.
            return await self._opened(await self._stored(SECRET, namespace, name))

    async def _opened(self, stored: StoredObject) -> Mapping[str, str]:
        from ._identity.sealing import Sealer

        # Opened each time: keys may have been rotated since.
        sealer = await trio.to_thread.run_sync(Sealer.open, self.key_dir)
        metadata = stored.document.metadata
        name = f"{metadata.namespace}/{metadata.name}"
        return {key: sealer.unseal(text, name=f"{name}/{key}") for key, text in stored.sealed.items()}

    @asynccontextmanager
    async def watch_config(self, namespace: str, /) -> AsyncIterator[AsyncIterator[None]]:
        """Follow the ConfigMaps and Secrets of a namespace; see `SupportsConfigHints`."""
        from ._objects.kinds import CONFIG_MAP, SECRET
        from ._objects.stored import collection_key

        prefixes = [collection_key(kind, namespace) for kind in (CONFIG_MAP, SECRET)]
        send, receive = trio.open_memory_channel[None](1)
        try:
            async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
                for prefix in prefixes:
                    batches = await stack.enter_async_context(self.store.watch(prefix))
                    nursery.start_soon(_hint_at_each, batches, send)
                yield receive.__aiter__()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise sole_error(group) from None

    async def _stored(self, kind: Kind, namespace: str, name: str) -> StoredObject:
        from ._objects.stored import object_key, object_of

        entry = (await self.store.get(object_key(kind, namespace, name))).entry
        stored = object_of(entry) if entry is not None else None
        if stored is None or stored.document.metadata.deleting_since is not None:
            msg = f"waits for {kind.name} {name!r}, which is not in namespace {namespace!r}"
            raise ConfigMissing(msg, remedy="Create it; the instance then starts.")
        return stored


async def _hint_at_each(batches: AsyncIterator[WatchBatch], send: trio.MemorySendChannel[None]) -> None:
    async for _ in batches:
        with suppress(trio.WouldBlock):  # one that was not taken yet is about this change, too
            send.send_nowait(None)
