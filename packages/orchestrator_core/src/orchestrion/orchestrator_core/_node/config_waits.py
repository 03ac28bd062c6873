"""Instances that wait for ConfigMaps and Secrets: they are looked at again when some come, not only after a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio
from attrs import define, field
from orchestrion.orchestrator_core._node.config import RETRY_SECONDS, ConfigSource, SupportsConfigHints
from orchestrion.shared_types import InstanceKey, OrchestrationError

PAUSE_SECONDS: Final = 0.1
"""However much changes in a namespace, who waits there is woken no more often than this."""

QUIET_SECONDS: Final = 2 * RETRY_SECONDS
"""A namespace in which nobody has waited for so long is followed no longer: who waits says so again at each try."""


@define(eq=False)
class ConfigWaits:
    """Wakes instances when something comes that they may wait for.

    It is an optimisation: a source that gives no hints, or fails, leaves them to their back-off.

    Attributes:
        source: Knows ConfigMaps and Secrets.
        wake: Lets an instance be looked at again.
    """

    source: ConfigSource
    wake: Callable[[InstanceKey], None]
    _waiting: dict[str, set[InstanceKey]] = field(factory=dict)

    def wait_for(self, namespace: str, key: InstanceKey, nursery: trio.Nursery) -> None:
        """Wake an instance when something changes in a namespace from now on, or changed since it last looked."""
        if not isinstance(self.source, SupportsConfigHints):
            return
        if namespace not in self._waiting:
            self._waiting[namespace] = set()
            nursery.start_soon(self._follow, namespace, self.source)
        self._waiting[namespace].add(key)

    async def _follow(self, namespace: str, source: SupportsConfigHints) -> None:
        try:
            async with source.watch_config(namespace) as hints:
                # What came between the look and the watch, no hint tells of.
                self._wake_all(namespace)
                while True:
                    with trio.move_on_after(QUIET_SECONDS) as quiet:
                        await anext(hints)
                    if quiet.cancelled_caught and not self._waiting[namespace]:
                        return
                    self._wake_all(namespace)
                    await trio.sleep(PAUSE_SECONDS)
        except (OrchestrationError, StopAsyncIteration):
            return
        finally:
            del self._waiting[namespace]

    def _wake_all(self, namespace: str) -> None:
        waiting, self._waiting[namespace] = self._waiting[namespace], set()
        for key in waiting:
            self.wake(key)
