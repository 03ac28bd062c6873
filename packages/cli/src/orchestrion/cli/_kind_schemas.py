"""The schemas of kinds, also of those that a server alone knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrion.control_plane.kinds import custom_kind_schema, kind_schema
from orchestrion.shared_types import NotFound, OrchestrationError

from ._kinds import KINDS, known_kind
from ._objects import reach_objects
from ._places import place_of
from ._running import run_async
from ._where import Where


def schema_of_kind(text: str, where: Where, /) -> Mapping[str, Any]:
    """Return the schema of a kind, which a server is asked for where it is none that there always is.

    Args:
        text: Its name, its plural, or what is short for it.
        where: Whom to ask.

    Raises:
        NotFound: There is none, or nobody is there to be asked.
    """
    found = known_kind(text)
    if found is not None:
        return kind_schema(found.kind)
    try:
        spec = run_async(_custom, text.lower(), where)
    except OrchestrationError as err:
        raise NotFound(_unknown(text), remedy=f"Whether a server knows it can't be told: {err.message}") from err
    if spec is None:
        written = ", ".join(kind.kind for kind in KINDS)
        raise NotFound(_unknown(text), remedy=f"There are: {written}, and those that `get customkinds` shows.")
    return custom_kind_schema(spec)


async def _custom(text: str, where: Where) -> dict[str, Any] | None:
    place = place_of(where)
    place.must_exist()
    async with reach_objects(where, place) as objects:
        kind = await objects.kind("customkinds")
        specs = [dict(item["spec"]) for item in (await objects.list(kind)).items]
    return next((spec for spec in specs if text in (spec["kind"].lower(), spec["plural"])), None)


def _unknown(text: str) -> str:
    return f"there is no kind {text!r:.100}"
