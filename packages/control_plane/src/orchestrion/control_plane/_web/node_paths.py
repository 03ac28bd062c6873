"""Orders to nodes, and what is told of the cluster as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import field, frozen, validators
from litestar import Router, get, post
from litestar.types import ASGIApp
from orchestrion.control_plane._access import Needs
from orchestrion.control_plane._control import Control
from orchestrion.control_plane._objects.document import API_VERSION
from orchestrion.control_plane._objects.kinds import NODE, Kind
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._service.usage import usage_of
from orchestrion.orchestrator_core import Orchestrator
from orchestrion.shared_types import (
    ConfigInvalid,
    InstanceState,
    NodeId,
    NodeStatus,
    NotFound,
    Problem,
    structure,
)

from .answers import JSON, Raw, object_answer, value_answer
from .bodies import body_of
from .doc import Answered, Doc, described
from .once import Once
from .places import COLLECTION
from .queries import AnyRequest, flag

_ONE: Final = f"{COLLECTION}/{{name:str}}"


MAX_DEADLINE_SECONDS: Final = 366 * 86_400
"""The longest that a drain may be given: beyond a year it is as good as for ever."""


@frozen(kw_only=True)
class DrainRequest:
    """The body of drain.

    Attributes:
        reason: One line for people.
        deadline: From then on instances are stopped without waiting for their replacements; None waits for ever.
        deadline_seconds: The same as so many seconds from now, >= 0, for who does not trust their own clock.
    """

    reason: str
    deadline: datetime | None = None
    deadline_seconds: float | None = field(
        default=None,
        validator=validators.optional([validators.ge(0), validators.le(MAX_DEADLINE_SECONDS)]),
    )

    def deadline_at(self, now: datetime) -> datetime | None:
        """Return the deadline, whichever way it was given.

        Raises:
            ConfigInvalid: It was given both ways.
        """
        if self.deadline_seconds is None:
            return self.deadline
        if self.deadline is not None:
            raise ConfigInvalid((Problem("there is a deadline already", "deadline_seconds"),))
        return now + timedelta(seconds=self.deadline_seconds)


def node_handlers(orchestrator: Orchestrator, objects: Objects, once: Once) -> Router:
    """Return the handlers of orders to nodes."""

    def doc(summary: str, body: Mapping[str, str]) -> Doc:
        return Doc(
            summary=summary,
            parameters=("dry_run", "Idempotency-Key"),
            body=body,
            kinds=lambda kind: kind is NODE,
            errors=(404, 409, 501),
        )

    def node_of(request: AnyRequest) -> NodeId:
        path = request.path_params
        if path["plural"] != NODE.plural:
            msg = f"{path['plural']!r:.80} have no {request.url.path.rpartition('/')[2]}"
            raise NotFound(msg, remedy="There is one for: nodes")
        return NodeId(path["name"])

    async def ordered(request: AnyRequest, order: Callable[[NodeId], Awaitable[None]]) -> ASGIApp:
        node_id, dry_run = node_of(request), flag(request, "dry_run")

        async def do() -> None:
            orchestrator.check_takes_node_orders()
            if not dry_run:
                await order(node_id)

        async def show() -> Raw:
            return object_answer(await objects.node_now(node_id))

        # Who manages the nodes has a record of its own, in which nothing of the request can be written.
        return await once.doing(request, do, show, together=False)

    cordoning = doc("Keep new work off a node", {})

    @post(f"{_ONE}/cordon", status_code=200, opt=described(Needs("cordon", "{plural}"), cordoning), name="cordon")
    async def cordon(request: AnyRequest) -> ASGIApp:
        return await ordered(request, orchestrator.cordon_node)

    letting = doc("Let work on a node again", {})

    @post(f"{_ONE}/uncordon", status_code=200, opt=described(Needs("cordon", "{plural}"), letting), name="uncordon")
    async def uncordon(request: AnyRequest) -> ASGIApp:
        return await ordered(request, orchestrator.uncordon_node)

    draining = doc("Move everything off a node", {JSON: "DrainRequest"})

    @post(f"{_ONE}/drain", status_code=200, opt=described(Needs("drain", "{plural}"), draining), name="drain")
    async def drain(request: AnyRequest) -> ASGIApp:
        node_of(request)  # another kind's object is told before anything is wrong with the body
        order = structure(await body_of(request), DrainRequest)
        deadline = order.deadline_at(orchestrator.now())
        return await ordered(
            request, lambda node_id: orchestrator.drain_node(node_id, reason=order.reason, deadline=deadline)
        )

    return Router("/", route_handlers=[cordon, uncordon, drain], dto=None, return_dto=None)


def discovery_handlers(control: Control, objects: Objects) -> Router:
    """Return the handlers that tell what there is: versions, kinds, the state of the cluster."""

    @get("/api", opt=described(None, _told("Which versions there are", "Versions")), name="versions")
    async def versions() -> ASGIApp:
        return value_answer({"kind": "APIVersions", "versions": ["v1"]})

    @get("/apis", opt=described(None, _told("Which groups of kinds there are", "Groups")), name="groups")
    async def groups() -> ASGIApp:
        name = API_VERSION.partition("/")[0]
        version = {"group_version": API_VERSION, "version": "v1"}
        group = {"name": name, "versions": [version], "preferred_version": version}
        return value_answer({"kind": "APIGroupList", "groups": [group]})

    kinds_doc = _told("Which kinds there are", "Kinds")

    @get("/api/v1", opt=described(Needs("list", "customkinds"), kinds_doc), name="kinds")
    async def kinds() -> ASGIApp:
        return value_answer({"kind": "APIResourceList", "group_version": API_VERSION, "resources": _kinds(objects)})

    status_doc = _told("How the cluster is doing", "ClusterStatus")

    @get("/api/v1/cluster/status", opt=described(Needs("list", "nodes"), status_doc), name="cluster-status")
    async def cluster_status() -> ASGIApp:
        return value_answer(await _cluster_status(control))

    usage_doc = _told("What containers use that run", "Usage", "only-namespace")
    usage_needs = Needs("get", "instances", query=("namespace",))

    @get("/api/v1/cluster/usage", opt=described(usage_needs, usage_doc), name="cluster-usage")
    async def cluster_usage(request: AnyRequest) -> ASGIApp:
        # An empty namespace is all of them to who checks what is asked for, and so it is here.
        instances = await control.list_instances(namespace=request.query_params.get("namespace") or None)
        return value_answer(await usage_of(objects.orchestrator, instances))

    handlers = [versions, groups, kinds, cluster_status, cluster_usage]
    return Router("/", route_handlers=handlers, dto=None, return_dto=None)


def _told(summary: str, schema: str, *parameters: str) -> Doc:
    return Doc(summary=summary, answers={200: Answered(forms={JSON: schema})}, parameters=parameters)


def _kinds(objects: Objects) -> list[dict[str, Any]]:
    return [
        {"name": kind.plural, "kind": kind.name, "namespaced": kind.namespaced, "verbs": list(_verbs(kind))}
        for kind in objects.kinds
    ]


def _verbs(kind: Kind) -> tuple[str, ...]:
    if kind.written:
        return ("get", "list", "watch", "create", "update", "patch", "delete", "apply")
    others = (("patch", kind.patched), ("label", kind.marked), ("taint", kind.marked), ("delete", kind.removable))
    return ("get", "list", "watch", *(verb for verb, may in others if may))


async def _cluster_status(control: Control) -> dict[str, Any]:
    nodes = await control.list_nodes()
    instances = await control.list_instances()
    states = Counter(each.status.state for each in instances)
    ready = [node for node in nodes if node.status is NodeStatus.READY]

    def total(part: str) -> dict[str, int]:
        amounts = [getattr(node, part) for node in nodes]
        return {
            "cpu_millicores": sum(each.cpu_millicores for each in amounts),
            "memory_bytes": sum(each.memory_bytes for each in amounts),
        }

    return {
        "nodes": {"total": len(nodes), "ready": len(ready), "not_ready": len(nodes) - len(ready)},
        "workloads": len(await control.list_workloads()),
        "instances": {
            "total": len(instances),
            **{state.value.lower(): states.get(state, 0) for state in InstanceState},
        },
        "capacity": total("capacity"),
        "allocatable": total("allocatable"),
    }
