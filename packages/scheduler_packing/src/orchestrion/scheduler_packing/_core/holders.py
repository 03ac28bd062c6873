"""Who holds a place where, as views say, and what came and left between them."""

from __future__ import annotations

from typing import Any, Final, final

from mypy_extensions import i64
from orchestrion.scheduler_packing._core.fleet import Fleet

NOBODY: Final[dict[int, int]] = {}


@final
class Holders:
    """Where instances are placed.

    Attributes:
        where: The position of each instance, by key.
    """

    def __init__(self, plain: Any) -> None:
        """Know of no instances.

        Args:
            plain: One that holds nothing but cpu, memory and disk: what others of that kind have of devices and
                extended resources are mostly its very mappings.
        """
        self.where: dict[Any, int] = {}
        self._own: dict[Any, dict[int, int]] = {}
        self._no_devices: Any = plain.device_thousandths
        self._none_extended: Any = plain.demand.extended

    def own_of(self, uid: str) -> dict[int, int]:
        """Return how many instances of a workload nodes hold, by position; of none where there are none."""
        own = self._own.get(uid)
        return NOBODY if own is None else own

    def let_in(self, position: int, instance: Any) -> None:
        """Note that an instance has its place there."""
        key = instance.key
        self.where[key] = position
        uid = key.workload_id
        own = self._own.get(uid)
        if own is None:
            self._own[uid] = {position: 1}
        else:
            number = own.get(position)
            own[position] = 1 if number is None else number + 1

    def let_out(self, position: int, instance: Any) -> None:
        """Note that an instance, which had its place there, has it no more."""
        key = instance.key
        if self.where.get(key) == position:
            del self.where[key]
        uid = key.workload_id
        own = self._own[uid]
        number = own[position] - 1
        if number:
            own[position] = number
            return
        del own[position]
        if not own:
            del self._own[uid]

    def is_plain(self, instance: Any) -> bool:
        """Whether an instance holds nothing but cpu, memory and disk."""
        if instance.host_ports:
            return False
        # A mapping that is known to be empty is told without a look into it.
        devices = instance.device_thousandths
        if devices is not self._no_devices and devices:
            return False
        extended = instance.demand.extended
        return extended is self._none_extended or not extended

    def take_over(
        self, told: list[Any], positions: dict[Any, int], fleet: Fleet, overdrawn: set[int], views: list[Any]
    ) -> list[Any]:
        """Take over changes, one after the other: who came and left, and what that takes of nodes.

        Args:
            told: The changes, each with a node's id, who arrived there and who left it.
            positions: Those of the nodes, by id.
            fleet: The nodes.
            overdrawn: Positions where more is taken than there is: who leaves frees less than it held.
            views: What is known of nodes by position; None is put where it is so no more.

        Returns:
            The ids of nodes of which more has changed, or that are not known; they may be there twice.
        """
        whole: list[Any] = []
        for change in told:
            parts: tuple[Any, Any, Any] = change
            node_id, arrived, left = parts
            known = positions.get(node_id)
            if known is None or (arrived is None and left is None):
                whole.append(node_id)
                continue
            position: i64 = known
            views[position] = None
            if left is not None:
                self.let_out(known, left)
                if known in overdrawn or not self.is_plain(left) or not shift(fleet, position, left.demand, -1):
                    whole.append(node_id)
            if arrived is not None:
                self.let_in(known, arrived)
                if not self.is_plain(arrived) or not shift(fleet, position, arrived.demand, 1):
                    whole.append(node_id)
        return whole


def shift(fleet: Fleet, position: i64, demand: Any, number: i64) -> bool:
    """Take what so many instances reserve of a node, or give it back; whether it was there."""
    cpu: i64 = demand.cpu_millicores
    memory: i64 = demand.memory_bytes
    disk: i64 = demand.disk_bytes
    return fleet.shift(position, number * cpu, number * memory, number * disk, number)
