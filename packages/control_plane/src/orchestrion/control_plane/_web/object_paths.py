"""Objects of every kind over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from attrs import frozen
from litestar import Router, delete, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send
from orchestrion.control_plane._access import ACCESS, Needs
from orchestrion.control_plane._history.event import Item
from orchestrion.control_plane._objects.json_patch import apply_patch
from orchestrion.control_plane._objects.kinds import Kind
from orchestrion.control_plane._objects.merge_patch import merge_patch
from orchestrion.control_plane._open_streams import OpenStreams
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._service.reading import DEFAULT_LIMIT, Page
from orchestrion.shared_types import ConfigInvalid, Problem

from .queries import AnyRequest, flag, intent_of, number
from .watching import watch_stream


@frozen
class Raw:
    """An answer that is bytes already, as an ASGI application."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        headers = [
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-store"),
            (b"content-length", b"%d" % len(self.body)),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


_COLLECTION: Final = "/api/v1/{plural:str}"
_NAMESPACES: Final = "/api/v1/namespaces"
_NAMESPACED: Final = "/api/v1/namespaces/{namespace:str}/{plural:str}"

MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"


def object_handlers(objects: Objects, streams: OpenStreams) -> Router:
    """Return the handlers of all paths of objects."""

    def kind_of(request: AnyRequest, *, namespaced: bool | None = None) -> Kind:
        kind = objects.kinds.find(request.path_params.get("plural", "namespaces"))
        if namespaced is not None and kind.namespaced is not namespaced:
            where = f"/api/v1/namespaces/NAMESPACE/{kind.plural}" if kind.namespaced else f"/api/v1/{kind.plural}"
            raise ConfigInvalid((Problem(f"{kind.plural} are at {where}", path=request.url.path),))
        return kind

    async def listed(request: AnyRequest, kind: Kind, namespace: str | None) -> ASGIApp:
        if flag(request, "watch"):
            return watch_stream(objects, streams, request, kind, namespace)
        page = await objects.list(kind, namespace, limit=number(request, "limit", DEFAULT_LIMIT))
        return _page(kind, page)

    async def made(request: AnyRequest, kind: Kind, namespace: str) -> ASGIApp:
        item = await objects.create(kind, namespace, await _body(request), intent_of(request))
        name = item.document.metadata.name
        return _object(item, status=201, location=f"{request.url.path}/{name}")

    @get([_COLLECTION, _NAMESPACES], opt={ACCESS: Needs("list", "{plural}")}, name="list")
    async def list_all(request: AnyRequest) -> ASGIApp:
        kind = kind_of(request)
        return await listed(request, kind, None if kind.namespaced else "")

    @post([_COLLECTION, _NAMESPACES], opt={ACCESS: Needs("create", "{plural}")}, name="create")
    async def create_one(request: AnyRequest) -> ASGIApp:
        return await made(request, kind_of(request, namespaced=False), "")

    @get(_NAMESPACED, opt={ACCESS: Needs("list", "{plural}")}, name="list-in-namespace")
    async def list_in(request: AnyRequest) -> ASGIApp:
        return await listed(request, kind_of(request, namespaced=True), request.path_params["namespace"])

    @post(_NAMESPACED, opt={ACCESS: Needs("create", "{plural}")}, name="create-in-namespace")
    async def create_in(request: AnyRequest) -> ASGIApp:
        return await made(request, kind_of(request, namespaced=True), request.path_params["namespace"])

    def one(path: str | list[str], suffix: str, find: Callable[..., tuple[Kind, str, str]]) -> list[HTTPRouteHandler]:
        @get(path, opt={ACCESS: Needs("get", "{plural}")}, name=f"get{suffix}")
        async def get_one(request: AnyRequest) -> ASGIApp:
            kind, namespace, name = find(request)
            return _object(objects.get(kind, namespace, name))

        @put(path, opt={ACCESS: Needs("update", "{plural}")}, name=f"replace{suffix}")
        async def replace_one(request: AnyRequest) -> ASGIApp:
            kind, namespace, name = find(request)
            data = await _body(request)
            return _object(await objects.change(kind, namespace, name, lambda _: data, intent_of(request)))

        @patch(path, opt={ACCESS: Needs("patch", "{plural}")}, name=f"patch{suffix}")
        async def patch_one(request: AnyRequest) -> ASGIApp:
            kind, namespace, name = find(request)
            edit = await _edit(request)
            return _object(await objects.change(kind, namespace, name, edit, intent_of(request)))

        @delete(path, status_code=200, opt={ACCESS: Needs("delete", "{plural}")}, name=f"remove{suffix}")
        async def remove_one(request: AnyRequest) -> ASGIApp:
            kind, namespace, name = find(request)
            return _object(await objects.remove(kind, namespace, name, intent_of(request)))

        return [get_one, replace_one, patch_one, remove_one]

    def status(path: str, suffix: str, find: Callable[..., tuple[Kind, str, str]]) -> list[HTTPRouteHandler]:
        @get(path, opt={ACCESS: Needs("get", "{plural}/status")}, name=f"get-status{suffix}")
        async def get_status(request: AnyRequest) -> ASGIApp:
            kind, namespace, name = find(request)
            return _object(objects.get(kind, namespace, name))

        @put(path, opt={ACCESS: Needs("update", "{plural}/status")}, name=f"replace-status{suffix}")
        async def replace_status(request: AnyRequest) -> ASGIApp:
            kind, namespace, name = find(request)
            data = await _body(request)
            changed = await objects.change(kind, namespace, name, lambda _: data, intent_of(request), status=True)
            return _object(changed)

        @patch(path, opt={ACCESS: Needs("patch", "{plural}/status")}, name=f"patch-status{suffix}")
        async def patch_status(request: AnyRequest) -> ASGIApp:
            kind, namespace, name = find(request)
            edit = await _edit(request)
            return _object(await objects.change(kind, namespace, name, edit, intent_of(request), status=True))

        return [get_status, replace_status, patch_status]

    def cluster_wide(request: AnyRequest) -> tuple[Kind, str, str]:
        return kind_of(request, namespaced=False), "", request.path_params["name"]

    def namespaced(request: AnyRequest) -> tuple[Kind, str, str]:
        path = request.path_params
        return kind_of(request, namespaced=True), path["namespace"], path["name"]

    handlers = [
        list_all,
        create_one,
        list_in,
        create_in,
        *one([f"{_COLLECTION}/{{name:str}}", f"{_NAMESPACES}/{{name:str}}"], "", cluster_wide),
        *one(f"{_NAMESPACED}/{{name:str}}", "-in-namespace", namespaced),
        *status(f"{_COLLECTION}/{{name:str}}/status", "", cluster_wide),
        *status(f"{_NAMESPACED}/{{name:str}}/status", "-in-namespace", namespaced),
    ]
    # What they return are answers already, not values to be written out.
    return Router("/", route_handlers=handlers, dto=None, return_dto=None)


async def _body(request: AnyRequest) -> Any:
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError) as err:
        raise ConfigInvalid((Problem(f"the body is no JSON: {err}"),)) from err


async def _edit(request: AnyRequest) -> Callable[[Any], Any]:
    data = await _body(request)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == JSON_PATCH:
        return lambda document: apply_patch(document, data)
    if media_type in (MERGE_PATCH, "application/json"):
        return lambda document: merge_patch(document, data)
    text = f"a patch is {MERGE_PATCH} or {JSON_PATCH}, not {media_type!r:.80}"
    raise ConfigInvalid((Problem(text, path="Content-Type"),))


def _object(item: Item, *, status: int = 200, location: str = "") -> Raw:
    headers = [(b"etag", b'"%d"' % item.revision)]
    if location:
        headers.append((b"location", location.encode()))
    return Raw(status, item.data, tuple(headers))


def _page(kind: Kind, page: Page) -> Raw:
    head = f'{{"kind":"{kind.name}List","metadata":{{"revision":{page.revision}}},"items":['
    return Raw(200, head.encode() + b",".join([item.data for item in page.items]) + b"]}")
