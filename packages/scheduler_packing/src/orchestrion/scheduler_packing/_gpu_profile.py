"""What there is to prefer."""

from __future__ import annotations

from typing import Literal, get_args

from orchestrion.scheduler_packing._gpu_mix import Mix

Profile = Literal["binpack", "gpu"]


def check_profile(profile: str, mix: Mix | None) -> None:
    """Refuse what does not go together.

    Raises:
        ValueError: There is no such profile, or it has no use for a mix.
    """
    known = get_args(Profile)
    if profile not in known:
        msg = f"no such profile: {profile!r}; there are {', '.join(known)}"
        raise ValueError(msg)
    if mix is not None and profile != "gpu":
        msg = f"the profile {profile!r} has no use for a mix; the profile 'gpu' has"
        raise ValueError(msg)
