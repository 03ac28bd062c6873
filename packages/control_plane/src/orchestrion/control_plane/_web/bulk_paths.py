"""Whole manifests over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attrs import evolve
from litestar import Router, post
from litestar.types import ASGIApp
from orchestrion.control_plane._access import Needs
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._service.bulk import Bulk, Part
from orchestrion.control_plane._service.intent import Intent
from orchestrion.control_plane._service.objects import Objects
from orchestrion.shared_types import DEFAULT_NAMESPACE, unstructure

from .answers import JSON, Raw, value_answer
from .bodies import YAML, documents_of
from .caller import Gatekeeper, caller_of
from .doc import Answered, Doc, described
from .once import Once
from .queries import AnyRequest, intent_of

_BODY: Final = {JSON: "Bulk", YAML: "Bulk"}
_MANAGER: Final = "apply"


def bulk_handlers(objects: Objects, keeper: Gatekeeper, once: Once) -> Router:
    """Return the handlers of what takes many objects at once: who sends them needs what each of them needs."""
    bulk = Bulk(objects)

    async def asked(request: AnyRequest, verb: str) -> Sequence[Part]:
        namespace = request.query_params.get("namespace", DEFAULT_NAMESPACE)
        parts = bulk.parts(await documents_of(request), namespace)
        caller = caller_of(request)
        for part in parts:
            keeper.check(caller, Access(verb, part.kind.plural, part.namespace, part.name))
        return parts

    applying = Doc(
        summary="Apply objects and manifests, all of them or none",
        answers={200: Answered(forms={JSON: "BulkResult"})},
        parameters=("namespace", "manager", "force", "dry_run", "Idempotency-Key"),
        body=_BODY,
        errors=(404, 409, 412, 422),
    )

    @post(
        "/api/v1/apply", status_code=200, opt=described(Needs("apply", "objects", anybody=True), applying), name="apply"
    )
    async def apply(request: AnyRequest) -> ASGIApp:
        parts = await asked(request, "apply")
        manager = request.query_params.get("manager", _MANAGER)

        async def act(intent: Intent) -> Raw:
            return value_answer(await bulk.apply(parts, evolve(intent, manager=manager)))

        async def again() -> Raw:
            # Applying the same again changes nothing.
            return await act(intent_of(request))

        return await once.answer(request, act, again)

    planning = Doc(
        summary="Say what apply would do, and where instances would go",
        answers={200: Answered(forms={JSON: "BulkPlan"})},
        parameters=("namespace", "manager", "force"),
        body=_BODY,
        errors=(404, 409, 412, 422),
    )

    @post("/api/v1/plan", status_code=200, opt=described(Needs("plan", "objects", anybody=True), planning), name="plan")
    async def plan(request: AnyRequest) -> ASGIApp:
        parts = await asked(request, "plan")
        manager = request.query_params.get("manager", _MANAGER)
        result, planned = await bulk.plan(parts, evolve(intent_of(request), manager=manager, dry_run=True))
        told: dict[str, Any] = unstructure(planned)
        return value_answer({"items": unstructure(result.items), **told})

    return Router("/", route_handlers=[apply, plan], dto=None, return_dto=None)
