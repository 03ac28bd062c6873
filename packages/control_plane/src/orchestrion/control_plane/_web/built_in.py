"""What is there from the start and is no object: standard roles, their bindings and priority classes, as documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from litestar import get
from litestar.types import ControllerRouterHandler
from orchestrion.control_plane._access import Needs
from orchestrion.control_plane._identity.access import rules_data
from orchestrion.control_plane._identity.roles import STANDARD_BINDINGS, STANDARD_ROLES
from orchestrion.control_plane._objects.document import API_VERSION
from orchestrion.control_plane._objects.kinds import PRIORITY_CLASS, ROLE, ROLE_BINDING, Kind
from orchestrion.shared_types import PRIORITY_CLASSES

from .answers import JSON
from .doc import Answered, Doc, described

_DOC: Final = Doc(
    summary="List what is built in: roles, bindings and priority classes",
    answers={200: Answered(forms={JSON: "BuiltIn"})},
)


def built_in_handler() -> ControllerRouterHandler:
    """Return the handler of the path that lists what is built in. It is no secret: the documentation has it too."""
    items = list(_documents())

    @get("/api/v1/built-in", opt=described(Needs("get", "self", anybody=True), _DOC), name="built-in")
    async def built_in() -> dict[str, Any]:
        return {"items": items}

    return built_in


def _documents() -> Iterator[dict[str, Any]]:
    for role in STANDARD_ROLES:
        yield _document(ROLE, role.name, {"rules": rules_data(role.rules)})
    for binding in STANDARD_BINDINGS:
        subjects = [{"kind": one.kind.value, "name": one.name} for one in binding.subjects]
        yield _document(ROLE_BINDING, binding.name, {"role": binding.role, "subjects": subjects})
    for one in PRIORITY_CLASSES:
        spec = {"value": one.value, "preempts": one.preempts, "description": one.description}
        yield _document(PRIORITY_CLASS, one.name, spec)


def _document(kind: Kind, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {"name": name}
    return {"api_version": API_VERSION, "kind": kind.name, "metadata": metadata, "spec": spec, "built_in": True}
