"""The keys that secrets are sealed with: which there are, and a new one in their place."""

from __future__ import annotations

from typing import Any

from litestar import get, post
from litestar.types import ASGIApp, ControllerRouterHandler
from orchestrion.control_plane._access import Needs
from orchestrion.control_plane._service.secret_keys import SecretKeys

from .answers import JSON, Raw, value_answer
from .doc import Answered, Doc, described
from .once import ONCE, Once
from .passage import call_in_record
from .queries import AnyRequest

_PATH = "/api/v1/sealingkeys"


def sealing_handlers(keys: SecretKeys, once: Once, /) -> list[ControllerRouterHandler]:
    """Return the handlers of the paths about the keys that secrets are sealed with.

    Args:
        keys: The keys.
        once: Does requests once that are sent again.
    """
    answers = {200: Answered(forms={JSON: "SealingKeys"})}
    reading = Doc(summary="Say which keys secrets are sealed with, by their ids", answers=answers)
    rotating = Doc(
        summary="Make a new key, and seal all secrets anew with it", answers=answers, parameters=ONCE, errors=(409,)
    )

    def told() -> dict[str, Any]:
        return {"current": keys.current, "keys": list(keys.ids)}

    @get(_PATH, opt=described(Needs("list", "sealingkeys"), reading), name="list-sealing-keys")
    async def list_sealing_keys() -> dict[str, Any]:
        return told()

    @post(
        _PATH,
        status_code=200,
        opt=described(Needs("rotate", "sealingkeys"), rotating),
        name="rotate-sealing-key",
        return_dto=None,
    )
    async def rotate_sealing_key(request: AnyRequest) -> ASGIApp:
        async def show() -> Raw:
            return value_answer(told())

        async def rotate() -> None:
            await keys.rotate()
            call_in_record(request.scope, keys.current)

        # The file of the keys is no part of the store. A second new key does no harm.
        return await once.doing(request, rotate, show, together=False)

    return [list_sealing_keys, rotate_sealing_key]
