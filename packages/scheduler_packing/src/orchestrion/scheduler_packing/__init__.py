"""The scheduler that packs tightly: compiled, exact, and explained."""

from ._mode import choose, is_compiled

choose()

from ._gpu_mix import Mix  # noqa: E402 - which core there is to import has to be settled first
from ._history import NodeHistory  # noqa: E402 - which core there is to import has to be settled first
from ._learned import Learned  # noqa: E402 - which core there is to import has to be settled first
from ._ledger import PackingLedger, Placements  # noqa: E402 - which core there is to import has to be settled first
from ._mover import Move  # noqa: E402 - which core there is to import has to be settled first
from ._moves import Rearrangement, Room, empty_nodes, make_room  # noqa: E402 - which core there is to import has to be settled first
from ._named import for_gpus, for_throughput, learning, spreading, with_history  # noqa: E402 - which core there is to import has to be settled first
from ._offline import PackingOrder, pack  # noqa: E402 - which core there is to import has to be settled first
from ._profile import PlugIn, Profile, ProfileName, Ties  # noqa: E402 - which core there is to import has to be settled first
from ._scheduler import PackingScheduler  # noqa: E402 - which core there is to import has to be settled first

__all__ = [
    "Learned",
    "Mix",
    "Move",
    "NodeHistory",
    "PackingLedger",
    "PackingOrder",
    "PackingScheduler",
    "Placements",
    "PlugIn",
    "Profile",
    "ProfileName",
    "Rearrangement",
    "Room",
    "Ties",
    "empty_nodes",
    "for_gpus",
    "for_throughput",
    "is_compiled",
    "learning",
    "make_room",
    "pack",
    "spreading",
    "with_history",
]
