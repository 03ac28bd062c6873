"""The description of the API (OpenAPI 3.1), made from the handlers that answer and the kinds that there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from litestar.routes import BaseRoute, HTTPRoute
from orchestrion.control_plane._access import ACCESS, Needs
from orchestrion.control_plane._cloud_events import CLOUD_EVENT
from orchestrion.control_plane._objects.kinds import EVENT, NAMESPACE, Kind
from orchestrion.control_plane._problems import PROBLEM_MEDIA_TYPE

from .doc import DOC, Doc
from .parameters import NAME_PATTERN, PARAMETERS
from .schemas import common_schemas, kind_schemas, ref

_PLURAL: Final = "{plural}"
_OWN_PATHS: Final = (f"/api/v1/{_PLURAL}", f"/api/v1/watch/{_PLURAL}")
"""Where namespaces would be if they had no paths of their own."""
_ALWAYS: Final = (400,)
_KNOWN: Final = (401, 403, 429, 503)
"""What everything can be refused with that not everybody may do."""

_UNREAD: Final = (414, 431)
"""Refused before anything is known of a request but that its head is too long."""

_HEADERS: Final = {
    "X-Request-Id": {"description": "The request's id, taken from it or made.", "schema": {"type": "string"}},
    "X-Trace-Id": {
        "description": "The id of the trace that the request's `traceparent` names, or else the request's id.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": 'A limit of who asks, `"NAME";q=REQUESTS;w=SECONDS` (draft-ietf-httpapi-ratelimit-headers-10).',
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": 'What is left of it, `"NAME";r=REQUESTS;t=SECONDS`; `t` is when there is more.',
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "What tells the object from itself at any other time; not in the answer to a dry run.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "After how many seconds to come again.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
}
_ANY_ANSWER: Final = ("X-Request-Id", "X-Trace-Id")
_LIMITED: Final = (*_ANY_ANSWER, "RateLimit-Policy", "RateLimit")

_SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"signature": []}, {"certificate": []}]
_SCHEMES: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token: `orchestrion login`."},
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Auth-Signature",
        "description": "A request signed with an Ed25519 key, beside X-Auth-PublicKey, X-Auth-Timestamp, X-Auth-Nonce.",
    },
    "certificate": {"type": "mutualTLS", "description": "A certificate with a SPIFFE id."},
}


def openapi_document(routes: Iterable[BaseRoute], kinds: Iterable[Kind]) -> dict[str, Any]:
    """Return the description of all operations that say what they are.

    Args:
        routes: Of an application.
        kinds: That there are now.
    """
    known = list(kinds)
    paths: dict[str, dict[str, Any]] = {}
    for path, method, kind, needs, doc, name in operations(routes, known):
        operation = _operation(path, kind, needs, doc, name)
        paths.setdefault(path, {})[method.lower()] = operation
    schemas = common_schemas()
    for kind in known:
        schemas.update(kind_schemas(kind))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Orchestrion",
            "version": version("orchestrion-control-plane"),
            "description": "Objects of every kind, and what is done with them.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "headers": _HEADERS,
            "securitySchemes": _SCHEMES,
        },
        "tags": [{"name": name} for name in sorted({kind.plural for kind in known} | {"cluster"})],
    }


def operations(
    routes: Iterable[BaseRoute], kinds: Iterable[Kind]
) -> Iterator[tuple[str, str, Kind | None, Needs | None, Doc, str]]:
    """Yield path, method, kind, needs, description and name of all operations, kind by kind."""
    known = list(kinds)
    for route in routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            doc = handler.opt.get(DOC)
            if not isinstance(doc, Doc):
                continue
            needs: Needs | None = handler.opt.get(ACCESS)
            for method in sorted(handler.http_methods - {"OPTIONS"}):
                for path, kind in _places(route.path_format, needs, doc, known):
                    name = handler.name or ""
                    yield path, method, kind, needs, doc, name if kind is None else f"{name}-{kind.plural}"


def _places(path: str, needs: Needs | None, doc: Doc, kinds: list[Kind]) -> Iterator[tuple[str, Kind | None]]:
    if _PLURAL in path:
        for kind in kinds:
            # What is at a path of its own is answered there.
            if doc.kinds(kind) and not (kind is NAMESPACE and path.startswith(_OWN_PATHS)):
                yield path.replace(_PLURAL, kind.plural), kind
    elif needs is None or _PLURAL not in needs.resource:
        yield path, None
    elif doc.kinds(NAMESPACE):
        yield path, NAMESPACE


def _operation(path: str, kind: Kind | None, needs: Needs | None, doc: Doc, name: str) -> dict[str, Any]:
    parameters = [_path_parameter(part[1:-1], kind) for part in path.split("/") if part.startswith("{")]
    parameters += [dict(PARAMETERS[each]) for each in doc.parameters]
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": doc.summary,
        "tags": [kind.plural if kind is not None else "cluster"],
        "responses": _responses(kind, needs, doc),
        "security": [] if needs is None else _SECURITY,
    }
    if needs is not None and not needs.anybody:
        resource = needs.resource.replace(_PLURAL, kind.plural if kind is not None else "")
        operation["x-access"] = {"verb": needs.verb, "resource": resource}
    if parameters:
        operation["parameters"] = parameters
    if doc.body:
        content = {media_type: {"schema": _schema(schema, kind, sent=True)} for media_type, schema in doc.body.items()}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _path_parameter(name: str, kind: Kind | None) -> dict[str, Any]:
    named_by_users = name == "namespace" or kind is None or kind.written
    schema = {"type": "string", "pattern": NAME_PATTERN if named_by_users else "^[A-Za-z0-9._-]{1,253}$"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _responses(kind: Kind | None, needs: Needs | None, doc: Doc) -> dict[str, Any]:
    found = dict[str, Any]()
    headers = _references(_ANY_ANSWER if needs is None else _LIMITED)
    for status, answer in doc.answers.items():
        content = {
            media_type: {"schema": _schema(schema, kind)} if schema else {}
            for media_type, schema in answer.forms.items()
            if media_type != CLOUD_EVENT or kind is EVENT
        }
        tagged = "Object" in answer.forms.values() or status == HTTPStatus.NOT_MODIFIED
        found[str(status)] = {
            "description": answer.description,
            "headers": {**headers, **_references(("ETag",))} if tagged else headers,
            "content": content,
        }
    refusals = {*_ALWAYS, *doc.errors}
    if needs is not None:
        refusals.update(_KNOWN)
    if doc.body:
        refusals.add(413)
    for status in _UNREAD:
        found[str(status)] = {"description": HTTPStatus(status).phrase}
    for status in sorted(refusals):
        others = found.get(str(status), {}).get("content", {})
        found[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": {**headers, **_references(("Retry-After",))}
            if status == HTTPStatus.TOO_MANY_REQUESTS
            else headers,
            "content": {**others, PROBLEM_MEDIA_TYPE: {"schema": ref("Problem")}},
        }
    return found


def _references(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _schema(name: str, kind: Kind | None, *, sent: bool = False) -> dict[str, Any]:
    if kind is not None and name == "Object":
        return ref(f"{kind.name}Input" if sent else kind.name)
    if kind is not None and name == "List":
        return ref(f"{kind.name}List")
    return ref(name)
