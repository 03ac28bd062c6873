"""Resources: what clients read by its address, and show or attach as they like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

import trio
from attrs import frozen
from orchestrion.shared_types import NotFound

from .desk import Desk
from .looking import get_cluster_status, get_node, get_workload, list_nodes, list_workloads
from .shown import cluster_metrics
from .tool import cut, json_text

SCHEME: Final = "orchestrion://"
_MOST: Final = {"limit": 500}


async def _metrics(desk: Desk, _given: Mapping[str, Any]) -> dict[str, Any]:
    desk.check("get", "metrics")
    control = desk.control
    return cluster_metrics(await control.list_nodes(), await control.list_workloads(), await control.list_instances())


@frozen
class _Resource:
    path: str
    name: str
    description: str
    read: Callable[[Desk, Mapping[str, Any]], Awaitable[dict[str, Any]]]


_RESOURCES: Final = (
    _Resource("nodes", "Nodes", "All nodes, with their status and what can be promised of them.", list_nodes),
    _Resource("workloads", "Workloads", "All workloads, with their phase.", list_workloads),
    _Resource("cluster/status", "Cluster status", "How the cluster is doing, as a whole.", get_cluster_status),
    _Resource("cluster/metrics", "Cluster metrics", "Numbers of the cluster.", _metrics),
)

_TEMPLATES: Final = (
    _Resource("nodes/{node}", "Node", "One node, and what is on it.", get_node),
    _Resource("workloads/{namespace}/{name}", "Workload", "One workload, and its instances.", get_workload),
)


async def list_resources() -> dict[str, Any]:
    """Return the resources that there always are."""
    await trio.lowlevel.checkpoint()
    return {"resources": [{"uri": f"{SCHEME}{each.path}", **_declared(each)} for each in _RESOURCES]}


async def list_templates() -> dict[str, Any]:
    """Return what the addresses of the others look like."""
    await trio.lowlevel.checkpoint()
    return {"resourceTemplates": [{"uriTemplate": f"{SCHEME}{each.path}", **_declared(each)} for each in _TEMPLATES]}


async def read_resource(desk: Desk, uri: str) -> dict[str, Any]:
    """Return what is at an address.

    Raises:
        NotFound: Nothing is.
        Denied: Who asks may not read it.
    """
    for resource in (*_RESOURCES, *_TEMPLATES):
        given = _matched(f"{SCHEME}{resource.path}", uri)
        if given is not None:
            found = cut(json_text(await resource.read(desk, given | _MOST)))
            return {"contents": [{"uri": uri, "mimeType": "application/json", "text": found}]}
    msg = f"there is no resource {uri!r:.200}"
    raise NotFound(msg, remedy="resources/list and resources/templates/list show what there is.")


def _declared(resource: _Resource) -> dict[str, Any]:
    return {"name": resource.name, "description": resource.description, "mimeType": "application/json"}


def _matched(template: str, uri: str) -> dict[str, Any] | None:
    """Return what stands in an address for the names of a template, or None where it is no address of that form."""
    wanted, found = template.split("/"), uri.split("/")
    if len(wanted) != len(found):
        return None
    given = dict[str, Any]()
    for part, text in zip(wanted, found, strict=True):
        if part.startswith("{") and text:
            given[part.strip("{}")] = unquote(text)
        elif part != text:
            return None
    return given
