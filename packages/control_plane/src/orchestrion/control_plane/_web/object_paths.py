"""Objects of every kind over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from attrs import evolve
from litestar import Router, delete, get, patch, post, put
from litestar.exceptions import MethodNotAllowedException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from orchestrion.control_plane._access import Needs
from orchestrion.control_plane._cloud_events import CLOUD_EVENT
from orchestrion.control_plane._history.event import Item
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._objects.kinds import NODE, Kind
from orchestrion.control_plane._objects.paging import ContinueTokens, Position
from orchestrion.control_plane._open_streams import OpenStreams
from orchestrion.control_plane._service.intent import Edit, Intent
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._service.reading import DEFAULT_LIMIT, NO_PAGE, PageStart
from orchestrion.shared_types import ConfigInvalid, Problem

from .answers import JSON, Raw, list_answer, object_answer, read_answer
from .bodies import PATCH_TYPES, body_of, edit_of, is_apply, part_of
from .caller import check_of
from .doc import Answered, Doc, described
from .once import Once
from .passage import note_unchanged
from .places import COLLECTION, NAMESPACED, NAMESPACES, Found, Places
from .queries import AnyRequest, flag, number
from .selecting import query_of, selection_of
from .watch_forms import NDJSON, SSE
from .watching import watch_stream

_WATCH_ROOT: Final = "/api/v1/watch"
_WATCH: Final = f"{_WATCH_ROOT}/{{plural:str}}"
_WATCH_NAMESPACED: Final = "/api/v1/watch/namespaces/{namespace:str}/{plural:str}"

_WATCHED: Final = ("label_selector", "field_selector", "subject", "since", "timeout_seconds", "Last-Event-ID")
_LISTED: Final = (*_WATCHED, "limit", "continue", "watch")
_WRITTEN: Final = ("manager", "dry_run")
_STREAM_FORMS: Final = {NDJSON: "", SSE: "", CLOUD_EVENT: ""}
_LIST: Final = {200: Answered(description="A page, or what happens.", forms={JSON: "List", **_STREAM_FORMS})}
_STREAM: Final = {200: Answered(description="What happens.", forms=_STREAM_FORMS)}
_MADE: Final = {201: Answered(description="It was made.")}
_SAME: Final = {304: Answered(description="It is as `If-None-Match` has it.", forms={})}
_OBJECT: Final = {JSON: "Object"}


def _list_doc(kinds: Callable[[Kind], bool]) -> Doc:
    return Doc(
        summary="List objects, or follow them", answers=_LIST, parameters=_LISTED, kinds=kinds, errors=(404, 410)
    )


def _create_doc(kinds: Callable[[Kind], bool]) -> Doc:
    parameters = (*_WRITTEN, "Idempotency-Key")
    errors = (404, 409, 412)
    return Doc(summary="Make an object", answers=_MADE, parameters=parameters, body=_OBJECT, kinds=kinds, errors=errors)


def object_handlers(objects: Objects, streams: OpenStreams, tokens: ContinueTokens, once: Once) -> Router:
    """Return the handlers of all paths of objects."""
    places = Places(objects)
    handlers = [
        *_collections(objects, streams, tokens, once, places),
        *_watches(objects, streams, places),
        *_one(objects, once, [f"{COLLECTION}/{{name:str}}", f"{NAMESPACES}/{{name:str}}"], "", places.cluster_wide),
        *_one(objects, once, [f"{NAMESPACED}/{{name:str}}"], "-in-namespace", places.namespaced),
        *_status(
            objects,
            once,
            [f"{COLLECTION}/{{name:str}}/status", f"{NAMESPACES}/{{name:str}}/status"],
            "",
            places.cluster_wide,
        ),
        *_status(objects, once, [f"{NAMESPACED}/{{name:str}}/status"], "-in-namespace", places.namespaced),
    ]
    # What they return are answers already, not values to be written out.
    return Router("/", route_handlers=handlers, dto=None, return_dto=None)


def _collections(
    objects: Objects, streams: OpenStreams, tokens: ContinueTokens, once: Once, places: Places
) -> list[HTTPRouteHandler]:
    async def listed(request: AnyRequest, kind: Kind, namespace: str | None) -> ASGIApp:
        wanted = selection_of(request, kind, places.owning)
        if flag(request, "watch"):
            return watch_stream(objects, streams, request, kind, namespace, wanted)
        query, token = query_of(request, kind, namespace), request.query_params.get("continue", "")
        position = tokens.read(token, query) if token else None
        start = NO_PAGE if position is None else PageStart(position.last_key, position.revision)
        limit = number(request, "limit", DEFAULT_LIMIT)
        page = await objects.list(kind, namespace, limit=limit, wanted=wanted, start=start)
        token = tokens.make(Position(page.revision, page.last_key), query) if page.last_key else ""
        return list_answer(kind, page.items, page.revision, token)

    async def made(request: AnyRequest, kind: Kind, namespace: str) -> ASGIApp:
        data = await body_of(request)

        def answer(item: Item) -> Raw:
            location = f"{request.url.path}/{data['metadata']['name']}"
            return object_answer(item, status=201, location=location)

        async def act(intent: Intent) -> Raw:
            return answer(await objects.create(kind, namespace, data, intent))

        async def again() -> Raw:
            return answer(objects.get(kind, namespace, data["metadata"]["name"]))

        return await once.answer(request, act, again)

    @get(
        [COLLECTION, NAMESPACES],
        opt=described(Needs("list", "{plural}", narrowed=True), _list_doc(lambda _: True)),
        name="list",
    )
    async def list_all(request: AnyRequest) -> ASGIApp:
        kind = places.kind(request)
        return await listed(request, kind, None if kind.namespaced else "")

    create_all = _create_doc(lambda kind: kind.written and not kind.namespaced)

    @post([COLLECTION, NAMESPACES], opt=described(Needs("create", "{plural}"), create_all), name="create")
    async def create_one(request: AnyRequest) -> ASGIApp:
        kind = places.kind(request, written=True)
        if kind.namespaced:
            text = f"{kind.plural} are made at /api/v1/namespaces/NAMESPACE/{kind.plural}"
            raise MethodNotAllowedException(text, headers={"allow": "GET"})
        return await made(request, kind, "")

    list_some = _list_doc(lambda kind: kind.namespaced)

    @get(NAMESPACED, opt=described(Needs("list", "{plural}", narrowed=True), list_some), name="list-in-namespace")
    async def list_in(request: AnyRequest) -> ASGIApp:
        return await listed(request, places.kind(request, namespaced=True), request.path_params["namespace"])

    create_some = _create_doc(lambda kind: kind.written and kind.namespaced)

    @post(NAMESPACED, opt=described(Needs("create", "{plural}"), create_some), name="create-in-namespace")
    async def create_in(request: AnyRequest) -> ASGIApp:
        kind = places.kind(request, namespaced=True, written=True)
        return await made(request, kind, request.path_params["namespace"])

    return [list_all, create_one, list_in, create_in]


def _watches(objects: Objects, streams: OpenStreams, places: Places) -> list[HTTPRouteHandler]:
    """Return the paths at which all is followed that a list with `watch=true` follows too."""
    summary = "Follow objects"
    everywhere = Doc(summary=summary, answers=_STREAM, parameters=_WATCHED, errors=(404, 410))
    somewhere = Doc(
        summary=summary, answers=_STREAM, parameters=_WATCHED, errors=(404, 410), kinds=lambda kind: kind.namespaced
    )

    @get(
        [_WATCH, f"{_WATCH_ROOT}/namespaces"],
        opt=described(Needs("watch", "{plural}", narrowed=True), everywhere),
        name="watch",
    )
    async def watch_all(request: AnyRequest) -> ASGIApp:
        kind = places.kind(request)
        namespace = None if kind.namespaced else ""
        return watch_stream(objects, streams, request, kind, namespace, selection_of(request, kind, places.owning))

    @get(
        _WATCH_NAMESPACED,
        opt=described(Needs("watch", "{plural}", narrowed=True), somewhere),
        name="watch-in-namespace",
    )
    async def watch_in(request: AnyRequest) -> ASGIApp:
        kind = places.kind(request, namespaced=True)
        namespace = request.path_params["namespace"]
        return watch_stream(objects, streams, request, kind, namespace, selection_of(request, kind, places.owning))

    return [watch_all, watch_in]


def _one(
    objects: Objects, once: Once, paths: list[str], suffix: str, find: Callable[..., Found]
) -> list[HTTPRouteHandler]:
    within = bool(suffix)

    async def changed(request: AnyRequest, found: Found, act: Callable[[Intent], Awaitable[Raw]]) -> ASGIApp:
        async def again() -> Raw:
            return object_answer(objects.get(found.kind, found.namespace, found.name))

        return await once.answer(request, act, again)

    def doc(
        summary: str,
        *,
        of: Callable[[Kind], bool] = lambda kind: kind.written,
        parameters: tuple[str, ...] = (),
        **more: object,
    ) -> Doc:
        def kinds(kind: Kind) -> bool:
            return kind.namespaced is within and of(kind)

        return Doc(summary=summary, parameters=parameters, kinds=kinds, **more)  # type: ignore[arg-type] # all are Doc's

    reading = doc(
        "Read an object",
        of=lambda _: True,
        parameters=("show", "If-None-Match"),
        answers={200: Answered(), **_SAME},
        errors=(404,),
    )

    @get(paths, opt=described(Needs("get", "{plural}"), reading), name=f"get{suffix}")
    async def get_one(request: AnyRequest) -> ASGIApp:
        found = find(request)
        item = objects.get(found.kind, found.namespace, found.name)
        shown = request.query_params.get("show", "object")
        if shown not in ("object", "owners"):
            raise ConfigInvalid((Problem(f"object or owners is wanted, not {shown!r:.80}", path="show"),))
        if shown == "owners":
            item = await objects.with_owners(found.kind, item)
        return read_answer(request.scope, item)

    changing = (*_WRITTEN, "If-Match", "Idempotency-Key")
    refusing = (404, 409, 412)
    replacing = doc("Replace an object", parameters=changing, body=_OBJECT, errors=refusing)

    @put(paths, opt=described(Needs("update", "{plural}"), replacing), name=f"replace{suffix}")
    async def replace_one(request: AnyRequest) -> ASGIApp:
        found = find(request, written=True)
        data = await body_of(request)

        async def act(intent: Intent) -> Raw:
            item = await objects.change(found.kind, found.namespace, found.name, lambda _: data, intent)
            return object_answer(item)

        return await changed(request, found, act)

    answers = {200: Answered(), **_MADE}
    patching = doc(
        "Change an object, or apply a part of it",
        parameters=(*changing, "force"),
        body=PATCH_TYPES,
        errors=refusing,
        answers=answers,
        of=lambda kind: kind.patched,
    )

    @patch(paths, opt=described(Needs("patch", "{plural}", applied=True), patching), name=f"patch{suffix}")
    async def patch_one(request: AnyRequest) -> ASGIApp:
        found = find(request, patched=True)
        if found.kind.marked:
            if is_apply(request):
                text = f"{found.kind.plural} are changed by a merge patch or a JSON patch; they are not applied"
                raise ConfigInvalid((Problem(text, path="Content-Type"),))
            marking = await edit_of(request)

            def permit(verb: str) -> None:
                check_of(request)(Access(verb, found.kind.plural, found.namespace, found.name))

            async def mark(intent: Intent) -> Raw:
                return object_answer(await objects.marking.change(found.name, marking, intent, permit))

            return await changed(request, found, mark)
        if is_apply(request):
            part = await part_of(request)

            async def apply(intent: Intent) -> Raw:
                intent = evolve(intent, creating=check_of(request))
                item, new = await objects.apply(found.kind, found.namespace, found.name, part, intent)
                return object_answer(item, status=201 if new else 200)

            return await changed(request, found, apply)
        edit = await edit_of(request)

        async def act(intent: Intent) -> Raw:
            return object_answer(await objects.change(found.kind, found.namespace, found.name, edit, intent))

        return await changed(request, found, act)

    removing = Doc(
        summary="Remove an object, or begin to; an instance is stopped and replaced by its workload, a node forgotten",
        parameters=("dry_run", "cascade", "If-Match", "Idempotency-Key"),
        kinds=lambda kind: kind.namespaced is within and kind.removable,
        errors=refusing,
    )

    @delete(paths, status_code=200, opt=described(Needs("delete", "{plural}"), removing), name=f"remove{suffix}")
    async def remove_one(request: AnyRequest) -> ASGIApp:
        found = find(request, removed=True)

        async def act(intent: Intent) -> Raw:
            return object_answer(await objects.remove(found.kind, found.namespace, found.name, intent))

        return await changed(request, found, act)

    return [get_one, replace_one, patch_one, remove_one]


def _status(
    objects: Objects, once: Once, paths: list[str], suffix: str, find: Callable[..., Found]
) -> list[HTTPRouteHandler]:
    within = bool(suffix)

    async def changed(request: AnyRequest, found: Found, edit: Edit) -> ASGIApp:
        async def act(intent: Intent) -> Raw:
            if found.kind is NODE:
                item, is_beat = await objects.reports.change(found.name, edit, intent)
                if is_beat:
                    note_unchanged(request.scope)
                return object_answer(item)
            item = await objects.change(found.kind, found.namespace, found.name, edit, intent, status=True)
            return object_answer(item)

        async def again() -> Raw:
            return object_answer(objects.get(found.kind, found.namespace, found.name))

        return await once.answer(request, act, again)

    def reads(kind: Kind) -> bool:
        return kind.namespaced is within

    def writes(kind: Kind) -> bool:
        return kind.namespaced is within and kind.status

    def written(request: AnyRequest) -> Found:
        found = find(request)
        if not found.kind.status:
            text = f"the status of {found.kind.plural} is the server's"
            raise MethodNotAllowedException(text, headers={"allow": "GET"})
        return found

    reading = Doc(
        summary="Read an object with its status",
        parameters=("If-None-Match",),
        answers={200: Answered(), **_SAME},
        kinds=reads,
        errors=(404,),
    )

    @get(paths, opt=described(Needs("get", "{plural}/status"), reading), name=f"get-status{suffix}")
    async def get_status(request: AnyRequest) -> ASGIApp:
        found = find(request)
        return read_answer(request.scope, objects.get(found.kind, found.namespace, found.name))

    parameters, refusing = (*_WRITTEN, "If-Match", "Idempotency-Key"), (404, 409, 412)
    replacing = Doc(
        summary="Replace an object's status", parameters=parameters, body=_OBJECT, kinds=writes, errors=refusing
    )

    @put(paths, opt=described(Needs("update", "{plural}/status"), replacing), name=f"replace-status{suffix}")
    async def replace_status(request: AnyRequest) -> ASGIApp:
        found = written(request)
        data = await body_of(request)
        return await changed(request, found, lambda _: data)

    body = {name: schema for name, schema in PATCH_TYPES.items() if "apply" not in name}
    patching = Doc(summary="Change an object's status", parameters=parameters, body=body, kinds=writes, errors=refusing)

    @patch(paths, opt=described(Needs("patch", "{plural}/status"), patching), name=f"patch-status{suffix}")
    async def patch_status(request: AnyRequest) -> ASGIApp:
        found = written(request)
        edit = await edit_of(request)
        return await changed(request, found, edit)

    return [get_status, replace_status, patch_status]
