"""Whole manifests over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import trio
from attrs import evolve
from litestar import Router, post
from litestar.types import ASGIApp
from orchestrion.control_plane._access import Needs
from orchestrion.control_plane._history.projection import ObjectName
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._objects.kinds import WORKLOAD
from orchestrion.control_plane._service.bulk import Bulk, BulkResult, Part
from orchestrion.control_plane._service.intent import Intent
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._service.pruning import Pruner, in_set
from orchestrion.shared_types import DEFAULT_NAMESPACE, ConfigInvalid, Problem, unstructure

from .answers import JSON, Raw, value_answer
from .bodies import YAML, documents_of
from .doc import Answered, Doc, described
from .once import Once
from .passage import Passage, passage_of
from .pipeline import Pipeline
from .queries import AnyRequest, flag, intent_of

_BODY: Final = {JSON: "Bulk", YAML: "Bulk"}
_MANAGER: Final = "apply"
_CREATE: Final = "create"


def bulk_handlers(objects: Objects, pipeline: Pipeline, once: Once) -> Router:
    """Return the handlers of what takes many objects at once: who sends them needs what each of them needs."""
    bulk, pruner = Bulk(objects), Pruner(objects)

    async def asked(request: AnyRequest, verb: str) -> Sequence[Part]:
        namespace = request.query_params.get("namespace", DEFAULT_NAMESPACE)
        documents = await documents_of(request)
        passage = _passage_of(request)
        for where, name in bulk.named(documents, namespace):
            pipeline.refuse(passage, Access(verb, WORKLOAD.plural, where, name))
        parts = bulk.parts(documents, namespace)
        if "set" in request.query_params:
            parts = in_set(parts, request.query_params["set"])
        for part in parts:
            if verb == _CREATE:
                # Who may make only some by name may not where one is made alone, which has no name in its path.
                pipeline.refuse(passage, Access(verb, part.kind.plural, part.namespace))
            pipeline.permit(passage, Access(verb, part.kind.plural, part.namespace, part.name))
        return parts

    def to_go(request: AnyRequest, parts: Sequence[Part]) -> list[ObjectName]:
        """Return what is to be removed for it: who sends it may do that as well, or nothing is done."""
        if not flag(request, "prune"):
            return []
        if "set" not in request.query_params:
            raise ConfigInvalid((Problem("say of which set", path="set"),), remedy="?set=NAME&prune=true")
        namespaces = {part.namespace for part in parts if part.namespace}
        namespaces.add(request.query_params.get("namespace", DEFAULT_NAMESPACE))
        names = pruner.surplus(request.query_params["set"], parts, namespaces)
        for name in names:
            pipeline.permit(_passage_of(request), Access("delete", name.kind, name.namespace, name.name))
        return names

    applying = Doc(
        summary="Apply objects and manifests, all of them or none",
        answers={200: Answered(forms={JSON: "BulkResult"})},
        parameters=("namespace", "manager", "force", "set", "prune", "if_index", "dry_run", "Idempotency-Key"),
        body=_BODY,
        errors=(404, 409, 412, 422),
    )

    @post(
        "/api/v1/apply", status_code=200, opt=described(Needs("apply", "objects", anybody=True), applying), name="apply"
    )
    async def apply(request: AnyRequest) -> ASGIApp:
        parts = await asked(request, "apply")
        manager = request.query_params.get("manager", _MANAGER)
        creating = partial(pipeline.refuse, _passage_of(request))

        async def act(intent: Intent) -> Raw:
            names = to_go(request, parts)
            result = await bulk.apply(parts, evolve(intent, manager=manager, creating=creating))
            # What goes with the request's key is written by now.
            gone = await pruner.prune(names, evolve(intent, compares=(), operations=()))
            return value_answer(evolve(result, items=(*result.items, *gone)))

        async def again() -> Raw:
            # What others have done since stays; only removals may have been left.
            gone = await pruner.prune(to_go(request, parts), intent_of(request))
            return value_answer(BulkResult(items=(*bulk.found(parts), *gone), revision=0))

        return await once.answer(request, act, again)

    making = Doc(
        summary="Make objects, all of them or none",
        answers={200: Answered(description="All of it is made.", forms={JSON: "BulkResult"})},
        parameters=("namespace", "manager", "dry_run", "Idempotency-Key"),
        body=_BODY,
        errors=(404, 409, 412, 422),
    )

    @post(
        "/api/v1/create",
        status_code=200,
        opt=described(Needs(_CREATE, "objects", anybody=True), making),
        name="create-all-together",
    )
    async def create(request: AnyRequest) -> ASGIApp:
        parts = await asked(request, _CREATE)

        async def act(intent: Intent) -> Raw:
            return value_answer(await bulk.create(parts, intent))

        async def again() -> Raw:
            await trio.lowlevel.checkpoint()
            return value_answer(BulkResult(items=tuple(bulk.found(parts)), revision=0))

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
        return value_answer({"items": unstructure(result.items), **told, "revision": planned.revision})

    return Router("/", route_handlers=[apply, create, plan], dto=None, return_dto=None)


def _passage_of(request: AnyRequest) -> Passage:
    passage = passage_of(request.scope)
    if passage is None:
        msg = "a request came by another way than the pipeline"
        raise RuntimeError(msg)
    return passage
