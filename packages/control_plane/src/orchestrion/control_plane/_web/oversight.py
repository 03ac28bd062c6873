"""What watches over a server: the pipeline of its requests, its health, its metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Final

import trio
from attrs import define, evolve, field
from litestar import Response, get
from orchestrion.control_plane._access import Needs
from orchestrion.control_plane._history.projection import ObjectName
from orchestrion.control_plane._identity.access import Access
from orchestrion.control_plane._identity.audit import AuditLog
from orchestrion.control_plane._limits import Limits
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._telemetry.access_log import AccessLog
from orchestrion.control_plane._telemetry.counts import StepCounts
from orchestrion.control_plane._telemetry.health import Checkup, Condition, Health, Probe
from orchestrion.control_plane._telemetry.metrics import MEDIA_TYPE, Metrics
from orchestrion.shared_types import NodeStatus, to_json

from .answers import JSON
from .caller import Gatekeeper
from .doc import Answered, Doc, described
from .pipeline import Pipeline, Tracer
from .sources import Network

CATCH_UP_SECONDS: Final = 1.0
"""How long what was written may take to be seen, before that is worth a word."""

_TICK_SECONDS: Final = 1.0

_FLOODED: Final = (429,)
"""What everybody may ask is refused only to who asks too often."""

_LIVE: Final = Doc(
    summary="Whether the server is alive",
    answers={200: Answered(description="It is.", forms={JSON: "Alive"})},
    errors=_FLOODED,
)
_METRICS: Final = Doc(
    summary="What the server tells Prometheus",
    answers={200: Answered(description="The numbers, as text.", forms={MEDIA_TYPE: ""})},
)


def _health_doc(summary: str) -> Doc:
    works = Answered(description="It does.", forms={JSON: "Health"})
    fails = Answered(description="It does not, or something of it can't be used.", forms={JSON: "Health"})
    return Doc(summary=summary, answers={200: works, 503: fails}, errors=_FLOODED)


@define(eq=False)
class Oversight:
    """Watches over a server.

    Attributes:
        objects: What it serves.
        pipeline: What its requests go through.
        steps: Counts what its orchestrator does.
        audit: Where it is put down who did what; None where that is nowhere.
        metrics: What it tells Prometheus.
    """

    objects: Objects
    pipeline: Pipeline
    steps: StepCounts = field(factory=StepCounts)
    audit: AuditLog | None = None
    metrics: Metrics = field(init=False)
    _ready: Checkup = field(init=False)
    _well: Checkup = field(init=False)
    _lag_seconds: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        objects = self.objects
        numbers: dict[str, tuple[str, Callable[[], float]]] = {
            "store_revision": ("The revision of the store that is seen here.", lambda: objects.history.revision),
            "object_events_total": ("Changes of objects.", lambda: objects.history.count),
            "event_loop_lag_seconds": ("By how much the loop was late last.", lambda: self._lag_seconds),
        }
        if self.audit is not None:
            head = self.audit
            numbers["audit_records_total"] = ("Records of the audit log.", lambda: head.head.sequence)
            numbers["audit_broken"] = (
                "1 where the audit log was not what was written when the server began, else 0.",
                lambda: int(bool(head.doubt)),
            )
        self.metrics = Metrics(objects.orchestrator, self.pipeline.counts, self.steps, self.pipeline.limits, numbers)
        probes = _probes(objects, self.audit)
        self._well = Checkup(probes)
        self._ready = Checkup({name: probes[name] for name in ("store", "history", "leading")})

    @classmethod
    def over(
        cls,
        objects: Objects,
        keeper: Gatekeeper,
        /,
        *,
        limits: Limits | None = None,
        audit: AuditLog | None = None,
        access_log: AccessLog | None = None,
        tracer: Tracer | None = None,
        proxies: Sequence[Network] = (),
    ) -> Oversight:
        """Return what watches over a server of some objects."""

        def revision_of(access: Access) -> int:
            item = objects.history.get(ObjectName(access.resource.partition("/")[0], access.namespace, access.name))
            return item.revision if item is not None else 0

        pipeline = Pipeline(
            keeper,
            limits=limits or Limits(),
            recorder=audit,
            revision_of=revision_of,
            kinds=objects.kinds,
            access_log=access_log,
            tracer=tracer,
            proxies=proxies,
            now=objects.orchestrator.now,
        )
        oversight = cls(objects, pipeline, audit=audit)
        observer = oversight.steps if tracer is None else Observers(oversight.steps, tracer)
        objects.orchestrator.observed.observer = observer
        return oversight

    def beside(self, keeper: Gatekeeper, /) -> Oversight:
        """Return what watches over another way in to the same objects: with the same limits, counts and record."""
        return Oversight(self.objects, evolve(self.pipeline, keeper=keeper), steps=self.steps, audit=self.audit)

    async def run(self) -> None:
        """Look how late the loop is, and put down what was summed up, until cancelled."""
        while True:
            due = trio.current_time() + _TICK_SECONDS
            await trio.sleep_until(due)
            self._lag_seconds = trio.current_time() - due
            await self.pipeline.sum_up()

    def handlers(self) -> list[Any]:
        """Return the handlers of its paths."""

        @get("/livez", opt=described(None, _LIVE), name="livez")
        async def livez() -> Response[bytes]:
            # It answers, so the loop is alive; what is beside the point of a restart is not asked.
            return Response(b'{"status":"ok"}', media_type="application/json")

        @get("/readyz", opt=described(None, _health_doc("Whether it takes requests")), name="readyz")
        async def readyz() -> Response[bytes]:
            health = await self._ready.health()
            return _told(health, works=health.condition is Condition.HEALTHY)

        @get("/healthz", opt=described(None, _health_doc("How its parts are")), name="healthz")
        async def healthz() -> Response[bytes]:
            health = await self._well.health()
            return _told(health, works=health.works)

        @get("/metrics", opt=described(Needs("get", "metrics"), _METRICS), name="metrics")
        async def metrics() -> Response[bytes]:
            # The framework says the charset of every text itself.
            return Response(await self.metrics.text(), media_type=MEDIA_TYPE.partition("; charset")[0])

        return [livez, readyz, healthz, metrics]


def _told(health: Health, *, works: bool) -> Response[bytes]:
    body = to_json({"status": health.condition.value, "parts": {name: how.value for name, how in health.parts.items()}})
    headers = {"cache-control": "no-store"}
    return Response(body, status_code=200 if works else 503, media_type="application/json", headers=headers)


def _probes(objects: Objects, audit: AuditLog | None) -> Mapping[str, Probe]:
    orchestrator = objects.orchestrator

    async def store() -> Condition:
        await objects.store.get("/")
        return Condition.HEALTHY

    async def history() -> Condition:
        written = (await objects.store.get("/")).revision
        with trio.move_on_after(CATCH_UP_SECONDS):
            await objects.history.wait_for(written)
            return Condition.HEALTHY
        return Condition.DEGRADED

    async def leading() -> Condition:
        await trio.lowlevel.checkpoint()
        return Condition.HEALTHY if orchestrator.cluster_loop.leading.is_set() else Condition.DEGRADED

    async def nodes() -> Condition:
        ready = [node for node in await orchestrator.list_nodes() if node.status is NodeStatus.READY]
        return Condition.HEALTHY if ready else Condition.DEGRADED

    probes: dict[str, Probe] = {"store": store, "history": history, "leading": leading, "nodes": nodes}
    if audit is not None:
        log = audit

        async def recorded() -> Condition:
            await trio.lowlevel.checkpoint()
            if log.failure is not None:
                return Condition.UNHEALTHY
            return Condition.DEGRADED if log.doubt else Condition.HEALTHY

        probes["audit"] = recorded
    return probes


class Observers:
    """Several observers of steps as one."""

    def __init__(self, *observers: Any) -> None:
        """Take them; each has the method `step`."""
        self._observers = observers

    def step(self, name: str, subject: str, /) -> AbstractContextManager[None]:
        """Be at a step while inside, as all of them see it."""
        return self._inside(name, subject)

    @contextmanager
    def _inside(self, name: str, subject: str) -> Iterator[None]:
        with ExitStack() as stack:
            for observer in self._observers:
                stack.enter_context(observer.step(name, subject))
            yield
