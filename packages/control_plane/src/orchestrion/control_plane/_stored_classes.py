"""Priority classes for who runs workloads without the objects of a server: read from the store when they are named."""

from __future__ import annotations

from attrs import frozen
from orchestrion.orchestrator_core import StandardClasses
from orchestrion.shared_types import PriorityClass
from orchestrion.store_interface import StateStore


@frozen
class StoredClasses:
    """A ClassSource over the objects of a store, and the standard classes, which none of them replaces.

    Attributes:
        store: Where they are.
    """

    store: StateStore

    async def find_class(self, name: str, /) -> PriorityClass | None:
        """Return the class of a name as it is now; see `ClassSource`."""
        standard = await StandardClasses().find_class(name)
        if standard is not None:
            return standard
        # Imported here, because hardly anybody names one.
        from ._admission.workload_rules import class_of
        from ._objects.kinds import PRIORITY_CLASS
        from ._objects.stored import object_key, object_of

        entry = (await self.store.get(object_key(PRIORITY_CLASS, "", name))).entry
        return None if entry is None else class_of(object_of(entry).document).named
