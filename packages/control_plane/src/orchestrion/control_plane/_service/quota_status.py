"""Shows in quotas how much is used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

import trio
from attrs import define, field
from orchestrion.control_plane._admission.amounts import written
from orchestrion.control_plane._admission.quota import Quota, WorkloadGate
from orchestrion.control_plane._history.event import EventType, ObjectEvent
from orchestrion.control_plane._objects.kinds import NODE, RESOURCE_QUOTA, WORKLOAD
from orchestrion.shared_types import NotFound, OrchestrationError

from .intent import Intent
from .objects import Objects
from .writing import Writer

GATHER_SECONDS: Final = 0.2
"""Changes that come within this time are shown together."""

RETRY_SECONDS: Final = 1.0

_LOG: Final = logging.getLogger("orchestrion.control_plane")


@define(eq=False)
class QuotaStatus:
    """Writes into the status of quotas what is used of them, when that has changed.

    It is for people to look at: what is granted is decided by counting anew, never by this.

    Attributes:
        objects: All objects.
        gate: Knows what is used.
    """

    objects: Objects
    gate: WorkloadGate
    _writer: Writer = field(init=False)
    _touched: set[str] = field(init=False, factory=set)
    _changed: trio.Event = field(init=False, factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        writer = self.objects.writer
        self._writer = Writer(writer.store, now=writer.now, new_uid=writer.new_uid, turns=writer.turns)

    async def run(self) -> None:
        """Work until cancelled. The objects must be running."""
        self.objects.history.listen(self._note)
        self._touch_all()
        while True:
            await self._changed.wait()
            await trio.sleep(GATHER_SECONDS)
            self._changed = trio.Event()
            touched, self._touched = self._touched, set()
            for namespace in sorted(touched):
                try:
                    await self._show(namespace)
                except OrchestrationError as err:
                    _LOG.info("could not show what is used in namespace %s: %s", namespace, err.message)
                    self._touch(namespace)
                    await trio.sleep(RETRY_SECONDS)

    def _note(self, event: ObjectEvent) -> None:
        if event.kind in (WORKLOAD.plural, RESOURCE_QUOTA.plural):
            self._touch(event.namespace)
        elif event.kind == NODE.plural and event.type is not EventType.MODIFIED:
            self._touch_all()  # a daemon claims as many instances as there are nodes

    def _touch_all(self) -> None:
        for name in self.objects.history.names(RESOURCE_QUOTA.plural):
            self._touch(name.namespace)

    def _touch(self, namespace: str) -> None:
        if self.objects.history.within(RESOURCE_QUOTA.plural, namespace):
            self._touched.add(namespace)
            self._changed.set()

    async def _show(self, namespace: str) -> None:
        history = self.objects.history
        quotas = self.gate.quotas(namespace)
        used = self.gate.used(namespace) if quotas else {}
        for quota in quotas:
            item = history.find(RESOURCE_QUOTA.plural, namespace, quota.name)
            status = status_of(quota, used)
            if item is None or dict(item.document.status) == status:
                continue

            def shown(plain: Any, status: Mapping[str, Any] = status) -> Any:
                return {**plain, "status": status}

            try:
                await self._writer.change(
                    RESOURCE_QUOTA, namespace, quota.name, shown, Intent(manager="quota"), status=True
                )
            except NotFound:
                continue


def status_of(quota: Quota, used: Mapping[str, int]) -> dict[str, Any]:
    """Return the status of a quota: what is used of each that it limits, as people write it."""
    return {"used": {name: written(name, used.get(name, 0)) for name in sorted(quota.hard)}}
