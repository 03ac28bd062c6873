"""What there is to prefer: profiles by name, and profiles of one's own, which are weighted sums of plug-ins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final, Literal, get_args

from attrs import field, frozen
from immutabledict import immutabledict

ProfileName = Literal["binpack", "spread", "gpu", "throughput"]
"""The profiles that an index over free capacity backs: each decision looks at few nodes, however many there are."""

PlugIn = Literal[
    "binpack",
    "spread",
    "balance",
    "node-affinity",
    "instance-affinity",
    "topology-spread",
    "prefer-no-schedule",
    "gpu-locality",
    "fragmentation",
    "learned",
    "node-history",
]
"""What a profile of one's own is made of. Each gives a node 0 to 1000 points for a slot; more is better."""

Ties = Literal["lowest-id", "highest-id", "least-loaded", "most-loaded", "round-robin"]
"""Which of several nodes with the same score is taken: by the id of the node; the one with the fewest or the most
instances, and of those the lowest id; or the first at or after a place in the order of ids that the slot's key tells,
going round, so that the slots of a workload go on from node to node."""

MAX_WEIGHT: Final = 1000

SIGNS: Final[Mapping[ProfileName, int]] = {"binpack": 1, "gpu": 1, "spread": -1, "throughput": 0}
"""Which nodes an index has first: 1 for the fullest, -1 for the emptiest, 0 for those with the lowest ids."""


def _weights(weights: Mapping[str, int]) -> immutabledict[str, int]:
    return immutabledict(weights)


@frozen(kw_only=True)
class Profile:
    """A weighted sum of plug-ins: each slot goes to the node with the highest, of those that can take it.

    Attributes:
        name: What it is called in messages; not the name of one of the package's own.
        weights: How much each plug-in counts, 0 to 1000; those that are not named count 0.
        ties: Which of several nodes with the same score is taken.

    Raises:
        ValueError: A weight is out of range, there is no such plug-in or rule for ties, or the name is taken.
    """

    name: str
    weights: Mapping[str, int] = field(converter=_weights)
    ties: Ties = "lowest-id"

    def __attrs_post_init__(self) -> None:
        if not self.name or self.name in get_args(ProfileName):
            msg = f"a profile of your own can't be called {self.name!r}: give it a name that is not taken"
            raise ValueError(msg)
        where = f"profile {self.name!r}"
        for name, weight in self.weights.items():
            _check_known(f"plug-in of {where}", name, get_args(PlugIn))
            if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= MAX_WEIGHT:
                msg = f"{where}: the weight of {name!r} is {weight!r}; it has to be a whole number, 0 to {MAX_WEIGHT}"
                raise ValueError(msg)
        _check_known(f"rule for ties of {where}", self.ties, get_args(Ties))

    def weight_of(self, plug_in: PlugIn) -> int:
        """Return how much a plug-in counts."""
        return self.weights.get(plug_in, 0)


def check_profile(profile: ProfileName | Profile, given: Mapping[str, object]) -> None:
    """Refuse what does not go together.

    Args:
        profile: The profile.
        given: What else a scheduler is to be made with, by the name of its argument; None is absent.

    Raises:
        ValueError: There is no such profile, it has no use for what is given, or lacks what it needs.
    """
    if isinstance(profile, Profile):
        name = profile.name
        uses = {argument: profile.weight_of(plug_in) > 0 for argument, plug_in in _USES.items()}
    else:
        name = profile
        _check_known("profile", profile, get_args(ProfileName))
        uses = dict.fromkeys(_USES, False) | {"mix": weighs_fragments(profile)}
    for argument, plug_in in _USES.items():
        if given.get(argument) is not None and not uses[argument]:
            msg = f"the profile {name!r} has no use for {argument}=: it does not weigh {plug_in!r}"
            raise ValueError(msg)
        if argument != "mix" and uses[argument] and given.get(argument) is None:
            msg = f"the profile {name!r} weighs {plug_in!r}, which says nothing without {argument}=: give it, too"
            raise ValueError(msg)


def sign_of(profile: ProfileName | Profile) -> int:
    """Return which nodes an index is to have first, as `SIGNS` has it; for scores it makes no difference."""
    return 1 if isinstance(profile, Profile) else SIGNS[profile]


def weighs_fragments(profile: ProfileName | Profile) -> bool:
    """Whether it matters for a profile what is asked for."""
    return profile.weight_of("fragmentation") > 0 if isinstance(profile, Profile) else profile == "gpu"


_USES: Final[Mapping[str, PlugIn]] = {"mix": "fragmentation", "learned": "learned", "history": "node-history"}
"""By argument of a scheduler, the plug-in that it is for."""


def _check_known(what: str, name: str, known: Iterable[str]) -> None:
    names = tuple(known)
    if name not in names:
        close = get_close_matches(str(name), names, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ";"
        msg = f"no such {what}: {name!r}{hint} there are {', '.join(names)}"
        raise ValueError(msg)
