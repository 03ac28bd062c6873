"""What each page shows, gathered from all that there is."""

from __future__ import annotations

from typing import Any, Final

from attrs import define, evolve, field
from litestar import Request
from orchestrion.control_plane._history.projection import ObjectName
from orchestrion.control_plane._objects.kinds import RESOURCE_QUOTA
from orchestrion.control_plane._objects.specs import amount_of
from orchestrion.control_plane._service.objects import Objects
from orchestrion.orchestrator_core import WorkloadName, WorkloadView, parse_subject
from orchestrion.shared_types import Event, EventSeverity, WorkloadInstance, WorkloadNotFound

from . import overview, workload_page
from .pending import unplaced
from .samples import Sample, Samples
from .scene import Scene, Scenes, is_ended
from .sight import Sight
from .usage import Meter
from .watched import Watched, no_samples
from .words import amount, share

AnyRequest = Request[Any, Any, Any]

MAX_EXPLAINED: Final = 20
"""How many workloads the page of what waits explains."""

MAX_EVENTS: Final = 300
SOME_EVENTS: Final = 8
MAX_FOUND: Final = 20
MAX_WORKLOADS: Final = 1_000


@define(eq=False)
class Pages:
    """Gathers what pages show.

    Attributes:
        objects: All objects.
    """

    objects: Objects
    _samples: Samples = field(factory=Samples)
    _watched: Watched = field(init=False)
    _meter: Meter = field(init=False)
    _scenes: Scenes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._meter = Meter(self.objects.orchestrator)
        self._watched = Watched(self.objects.orchestrator)
        self._scenes = Scenes(self.objects)

    async def overview(self, _request: AnyRequest, sight: Sight) -> dict[str, Any]:
        """Return how full the cluster is, what waits and what fails."""
        scene = await self._measured(sight)
        names = scene.node_names()
        events = await self._events(sight, None, SOME_EVENTS, warnings=True)
        return {
            "revision": scene.revision,
            "live": "workloads instances nodes events",
            "fresh": True,
            "lines": [workload_page.event_line(event, names) for event in reversed(events)],
            **overview.overview(scene),
        }

    async def topology(self, _request: AnyRequest, sight: Sight) -> dict[str, Any]:
        """Return the map."""
        scene = await self._measured(sight)
        return {
            "revision": scene.revision,
            "live": "workloads instances nodes",
            "fresh": True,
            "places": overview.topology(scene),
            "node_count": len(scene.nodes),
            "hidden": max(0, len(scene.nodes) - overview.MAX_NODES),
        }

    async def workloads(self, request: AnyRequest, sight: Sight) -> dict[str, Any]:
        """Return all workloads, or those of a namespace or a phase."""
        scene = await self._scenes.seen_by(sight)
        query = request.query_params
        names = scene.node_names()
        lines = [workload_page.workload_line(view, names) for view in scene.workloads]
        namespace, phase = query.get("namespace", ""), query.get("phase", "")
        chosen = [line for line in lines if namespace in ("", line["namespace"]) and phase in ("", line["phase"])]
        return {
            "revision": scene.revision,
            "live": "workloads",
            "lines": chosen[:MAX_WORKLOADS],
            "hidden": max(0, len(chosen) - MAX_WORKLOADS),
            "namespace": namespace,
            "phase": phase,
            "namespaces": sorted({line["namespace"] for line in lines}),
            "phases": sorted({line["phase"] for line in lines}),
        }

    async def workload(self, request: AnyRequest, sight: Sight) -> dict[str, Any]:
        """Return one workload.

        Raises:
            WorkloadNotFound: There is none of that name, or it is not seen.
        """
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        scene = await self._scenes.seen_by(sight)
        found = _workload_of(scene, namespace, name)
        if sight.sees("instances", namespace):
            scene = evolve(scene, usage=await self._watched.look(scene, WorkloadName(namespace, name)))
        names = scene.node_names()
        events = await self._events(sight, f"workload/{name}", MAX_EVENTS, namespace=namespace)
        record = self.objects.orchestrator.world.workloads.get(WorkloadName(namespace, name))
        templates = record.templates if record is not None else {}
        query = request.query_params
        return {
            "revision": scene.revision,
            "fresh": True,
            "live": (
                f"workloads={namespace}/{name} instances={namespace}/{name}. "
                f"events={namespace}/workload/{name} events={namespace}/instance/{name}."
            ),
            "line": workload_page.workload_line(found, names),
            "instances": workload_page.instance_lines(scene, namespace, name),
            "timeline": workload_page.timeline(events, names),
            "versions": workload_page.versions(templates, _number(query.get("from")), _number(query.get("to"))),
            "may": {
                verb: sight.may(verb, resource, namespace, name)
                for verb, resource in (
                    ("scale", "workloads"),
                    ("stop", "workloads"),
                    ("rollout", "workloads"),
                    ("delete", "workloads"),
                    ("logs", "workloads"),
                )
            }
            | {"exec": sight.may("exec", "instances", namespace)},
        }

    async def pending(self, _request: AnyRequest, sight: Sight) -> dict[str, Any]:
        """Return what has no place, and why."""
        scene = await self._scenes.seen_by(sight)
        names = scene.node_names()
        waiting = [view for view in scene.workloads if overview.is_pending(view)]
        lines = list[dict[str, Any]]()
        for view in waiting[:MAX_EXPLAINED]:
            metadata = view.definition.metadata
            line = workload_page.workload_line(view, names)
            groups = list[dict[str, Any]]()
            if sight.may("explain", "workloads", metadata.namespace, metadata.name):
                try:
                    placements = await self.objects.orchestrator.explain(metadata.name, namespace=metadata.namespace)
                except WorkloadNotFound:
                    continue
                groups = unplaced(placements, names)
            lines.append({**line, "groups": groups})
        return {
            "revision": scene.revision,
            "live": "workloads nodes",
            "lines": lines,
            "hidden": max(0, len(waiting) - MAX_EXPLAINED),
        }

    async def nodes(self, _request: AnyRequest, sight: Sight) -> dict[str, Any]:
        """Return all nodes."""
        scene = await self._measured(sight)
        return {
            "revision": scene.revision,
            "live": "nodes instances",
            "fresh": True,
            "lines": overview.nodes(scene),
            "hidden": max(0, len(scene.nodes) - overview.MAX_NODES),
            "may": {"cordon": sight.may("cordon", "nodes"), "drain": sight.may("drain", "nodes")},
            "seen": sight.sees("nodes"),
        }

    async def events(self, request: AnyRequest, sight: Sight) -> dict[str, Any]:
        """Return the latest events, or those of a namespace, about a subject, or that somebody should look at."""
        query = request.query_params
        revision = self.objects.history.revision
        namespace, subject = query.get("namespace", ""), query.get("subject", "")
        warnings = query.get("severity") == EventSeverity.WARNING.value
        about = _full_subject(subject.strip()) or None
        found = await self._events(sight, about, MAX_EVENTS, namespace=namespace or None, warnings=warnings)
        names = (await self._scenes.seen_by(sight)).node_names()
        return {
            "revision": revision,
            "live": "events",
            "lines": [workload_page.event_line(event, names) for event in reversed(found)],
            "namespace": namespace,
            "subject": subject,
            "warnings": warnings,
            "limit": MAX_EVENTS,
        }

    async def quotas(self, _request: AnyRequest, sight: Sight) -> dict[str, Any]:
        """Return all quotas, and how much of them is used."""
        revision = self.objects.history.revision
        lines = list[dict[str, Any]]()
        for name in self.objects.history.names(RESOURCE_QUOTA.plural):
            item = self.objects.history.get(name)
            if item is not None and sight.sees(RESOURCE_QUOTA.plural, name.namespace):
                lines.append({"namespace": name.namespace, "name": name.name, "bars": _quota_bars(item.document)})
        return {"revision": revision, "live": "resourcequotas instances workloads", "lines": lines}

    async def search(self, request: AnyRequest, sight: Sight) -> dict[str, Any]:
        """Return what has a text in its name: workloads, nodes and instances."""
        text = request.query_params.get("q", "").strip().lower()
        found = list[dict[str, str]]()
        if text:
            history = self.objects.history
            for kind in ("workloads", "nodes", "instances"):
                for name in history.names(kind):
                    if text in name.name.lower() and sight.sees(kind, name.namespace):
                        found.append(_found(name))
                    if len(found) >= MAX_FOUND:
                        break
        return {"revision": 0, "live": "", "found": found, "text": text}

    async def samples(self, sight: Sight) -> dict[str, Any]:
        """Return how full the cluster was lately, and is now."""
        if not sight.sees("nodes"):
            return Samples().shown()
        if self._samples.is_due(self.objects.orchestrator.now()):
            scene = await self._measured(sight)
            percent = {f"{bar['title']} reserved": bar["percent"] for bar in overview.capacity(scene.nodes, scene)}
            if scene.usage is not None:
                percent |= overview.used(scene.nodes, scene.usage)
            now = ", ".join(f"{title} {value} %" for title, value in percent.items())
            self._samples.take(Sample(scene.now, percent, f"Now: {now}." if now else self._samples.nothing))
        return self._samples.shown()

    async def samples_of(self, sight: Sight, workload: WorkloadName) -> dict[str, Any]:
        """Return what a workload used lately, and uses now.

        Raises:
            WorkloadNotFound: There is none of that name, or it is not seen.
        """
        scene = await self._scenes.seen_by(sight)
        _workload_of(scene, workload.namespace, workload.name)
        if not sight.sees("instances", workload.namespace):
            return no_samples().shown()
        await self._watched.look(scene, workload)
        return self._watched.shown(workload)

    async def _measured(self, sight: Sight) -> Scene:
        """Return what somebody sees with what is used; that who sees nodes sees as a sum of all that is on them."""
        scene = await self._scenes.seen_by(sight)
        if not sight.sees("nodes"):
            return scene
        return evolve(scene, usage=await self._meter.latest(self._live))

    async def _live(self) -> list[WorkloadInstance]:
        return [each for each in await self.objects.orchestrator.list_instances() if not is_ended(each)]

    async def _events(
        self,
        sight: Sight,
        subject: str | None,
        limit: int,
        *,
        namespace: str | None = None,
        warnings: bool = False,
    ) -> list[Event]:
        """Return the latest events that are seen, oldest first."""
        # Those that are left out are many at most where somebody sees few namespaces.
        wide = namespace is None and not sight.may("list", "events")
        found = await self.objects.orchestrator.events(
            namespace=namespace, subject=subject, limit=limit * (10 if wide or warnings else 1)
        )
        seen = [
            event
            for event in found
            if sight.sees("events", event.namespace) and (not warnings or event.severity is EventSeverity.WARNING)
        ]
        return seen[-limit:]


def _full_subject(text: str) -> str:
    """Return the subject of events that a text means: a name without a kind is a workload's, or an instance's."""
    if not text or "/" in text:
        return text
    return f"workload/{text}" if parse_subject(text).index is None else f"instance/{text}"


def _workload_of(scene: Scene, namespace: str, name: str) -> WorkloadView:
    for view in scene.workloads:
        if (view.definition.metadata.namespace, view.definition.metadata.name) == (namespace, name):
            return view
    msg = f"there is no workload {name!r:.80} in namespace {namespace!r:.80}"
    raise WorkloadNotFound(msg, remedy="See what there is: /ui/workloads")


def _quota_bars(document: Any) -> list[dict[str, Any]]:
    used = document.status.get("used", {})
    bars = list[dict[str, Any]]()
    for name, given in sorted(document.spec.get("hard", {}).items()):
        hard = amount_of(name, given)
        taken = amount_of(name, used.get(name, 0))
        text = f"{amount(name, taken)} of {amount(name, hard)}"
        bars.append({"title": name, "percent": share(taken, hard), "text": text})
    return bars


def _found(name: ObjectName) -> dict[str, str]:
    if name.kind == "nodes":
        return {"title": name.name, "kind": "node", "place": f"/ui/nodes#{name.name}"}
    workload = name.name.partition(".")[0]
    place = f"/ui/workloads/{name.namespace}/{workload}"
    if name.kind == "instances":
        return {"title": f"{name.namespace}/{name.name}", "kind": "instance", "place": f"{place}#{name.name}"}
    return {"title": f"{name.namespace}/{name.name}", "kind": "workload", "place": place}


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 10 else None
