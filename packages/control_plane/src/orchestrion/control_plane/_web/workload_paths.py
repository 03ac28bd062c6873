"""What is done with workloads and instances beside writing them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from litestar import Router, WebSocket, get, post, put, websocket
from litestar.types import ASGIApp
from orchestrion.control_plane._access import Needs
from orchestrion.control_plane._app import ERROR, noting_failure
from orchestrion.control_plane._control import Control
from orchestrion.control_plane._objects.kinds import INSTANCE, WORKLOAD, Kind
from orchestrion.control_plane._open_streams import OpenStreams
from orchestrion.control_plane._problems import PROBLEM_MEDIA_TYPE, problem_of
from orchestrion.control_plane._service.intent import Intent
from orchestrion.control_plane._service.objects import Objects
from orchestrion.control_plane._service.requested import requested
from orchestrion.control_plane._service.rollouts import Rollouts
from orchestrion.control_plane._standing import standing_of
from orchestrion.control_plane._streams import serve_exec
from orchestrion.control_plane._wire import RetryRequest, ScaleRequest
from orchestrion.orchestrator_core import MAX_TAIL_LINES, LogQuery, parse_subject
from orchestrion.shared_types import (
    ConfigInvalid,
    InstanceNotFound,
    InstanceState,
    NodeId,
    NotFound,
    Problem,
    Unsupported,
    structure,
)

from .answers import JSON, Raw, items_answer, object_answer, value_answer
from .bodies import body_of
from .caller import Connection
from .doc import Answered, Doc, described
from .log_stream import TEXT, log_stream
from .once import Once
from .places import NAMESPACED
from .queries import AnyRequest, flag, moment, number
from .watch_forms import NDJSON, SSE

_ONE: Final = f"{NAMESPACED}/{{name:str}}"

_NO_UPGRADE: Final = 426


def _is_workload(kind: Kind) -> bool:
    return kind is WORKLOAD


def _runs(kind: Kind) -> bool:
    return kind in (WORKLOAD, INSTANCE)


def workload_handlers(control: Control, objects: Objects, streams: OpenStreams, once: Once) -> Router:
    """Return the handlers of all paths below those of workloads and instances."""
    handlers = [
        *_numbers(control, objects, once),
        *_lives(control, objects, once),
        *_rollouts(objects, once),
        *_output(control, objects, streams),
    ]
    return Router("/", route_handlers=handlers, dto=None, return_dto=None)


def name_of(request: Connection, *kinds: Kind) -> tuple[str, str]:
    """Return the namespace and name of the object whose path it is.

    Raises:
        NotFound: What the path names has nothing of that sort.
    """
    path = request.path_params
    if path["plural"] not in [kind.plural for kind in kinds]:
        what = request.url.path.rpartition("/")[2]
        msg = f"{path['plural']!r:.80} have no {what}"
        raise NotFound(msg, remedy=f"There is one for: {', '.join(kind.plural for kind in kinds)}")
    return path["namespace"], path["name"]


async def _shown(objects: Objects, namespace: str, name: str) -> Raw:
    return object_answer(await objects.refreshed(namespace, name))


def _numbers(control: Control, objects: Objects, once: Once) -> list[Any]:
    reading = Doc(
        summary="Read a service's number of instances",
        answers={200: Answered(forms={JSON: "Scale"})},
        kinds=_is_workload,
        errors=(404,),
    )

    def scale_of(namespace: str, name: str) -> dict[str, Any]:
        view = objects.view(namespace, name)
        return {key: getattr(view, key) for key in ("replicas", "scaled", "running", "available")}

    @get(f"{_ONE}/scale", opt=described(Needs("get", "{plural}"), reading), name="get-scale")
    async def get_scale(request: AnyRequest) -> ASGIApp:
        return value_answer(scale_of(*name_of(request, WORKLOAD)))

    writing = Doc(
        summary="Set a service's number of instances; null goes back to the file's",
        answers={200: Answered()},
        parameters=("dry_run", "Idempotency-Key"),
        body={JSON: "ScaleRequest"},
        kinds=_is_workload,
        errors=(404, 409),
    )

    @put(f"{_ONE}/scale", opt=described(Needs("scale", "{plural}"), writing), name="scale")
    async def scale(request: AnyRequest) -> ASGIApp:
        namespace, name = name_of(request, WORKLOAD)
        wanted = structure(await body_of(request), ScaleRequest)
        dry_run = flag(request, "dry_run")
        return await once.doing(
            request,
            lambda: control.scale(name, wanted.replicas, namespace=namespace, dry_run=dry_run),
            lambda: _shown(objects, namespace, name),
        )

    return [get_scale, scale]


def _lives(control: Control, objects: Objects, once: Once) -> list[Any]:
    stopping = Doc(
        summary="Stop all instances, and keep the workload",
        parameters=("dry_run", "Idempotency-Key"),
        kinds=_is_workload,
        errors=(404, 409),
    )

    @post(f"{_ONE}/stop", status_code=200, opt=described(Needs("stop", "{plural}"), stopping), name="stop")
    async def stop(request: AnyRequest) -> ASGIApp:
        namespace, name = name_of(request, WORKLOAD)
        dry_run = flag(request, "dry_run")
        return await once.doing(
            request,
            lambda: control.stop(name, namespace=namespace, dry_run=dry_run),
            lambda: _shown(objects, namespace, name),
        )

    starting = Doc(
        summary="Let a workload run that was stopped, or that has ended",
        parameters=("rerun", "dry_run", "Idempotency-Key"),
        kinds=_is_workload,
        errors=(404, 409),
    )

    @post(f"{_ONE}/start", status_code=200, opt=described(Needs("stop", "{plural}"), starting), name="start")
    async def start(request: AnyRequest) -> ASGIApp:
        namespace, name = name_of(request, WORKLOAD)
        rerun, dry_run = flag(request, "rerun"), flag(request, "dry_run")
        return await once.doing(
            request,
            lambda: objects.workloads.start(namespace, name, rerun=rerun, dry_run=dry_run),
            lambda: _shown(objects, namespace, name),
        )

    retrying = Doc(
        summary="End the waits of back-offs: try again now what waits for it",
        answers={200: Answered(description="Whose waits were ended.", forms={JSON: "Retried"})},
        parameters=("Idempotency-Key",),
        body={JSON: "RetryRequest"},
        kinds=_is_workload,
        errors=(404, 409),
    )

    @post(f"{_ONE}/retry", status_code=200, opt=described(Needs("stop", "{plural}"), retrying), name="retry")
    async def retry(request: AnyRequest) -> ASGIApp:
        namespace, name = name_of(request, WORKLOAD)
        subject = _retried(name, structure(await body_of(request), RetryRequest))
        done = list[str]()

        async def do() -> None:
            await objects.workloads.judged("retry", namespace, name)
            done.extend(await objects.orchestrator.retry(subject, namespace=namespace))

        async def show() -> Raw:
            return value_answer({"instances": done})

        # Many instances are written one after the other; doing it again changes nothing.
        return await once.doing(request, do, show, together=False)

    explaining = Doc(
        summary="Say for each slot why it is where it is, or why it is nowhere",
        answers={200: Answered(forms={JSON: "Placements"})},
        parameters=("node",),
        kinds=_is_workload,
        errors=(404, 422),
    )

    @get(f"{_ONE}/explain", opt=described(Needs("explain", "{plural}"), explaining), name="explain")
    async def explain(request: AnyRequest) -> ASGIApp:
        namespace, name = name_of(request, WORKLOAD)
        node = request.query_params.get("node")
        at = None if node is None else NodeId(node)
        return items_answer(await control.explain(name, namespace=namespace, node=at))

    return [stop, start, retry, explain]


def _retried(name: str, wanted: RetryRequest) -> str:
    """Return what is to be tried again: a workload, or an instance of it.

    Raises:
        ConfigInvalid: The instance is another workload's.
    """
    if wanted.instance is None:
        return name
    if parse_subject(wanted.instance).workload != name:
        raise ConfigInvalid((Problem(f"that is no instance of workload {name!r}", path="instance"),))
    return wanted.instance


def _rollouts(objects: Objects, once: Once) -> list[Any]:
    rollouts = Rollouts(objects)
    reading = Doc(
        summary="Read how an update is getting on, and what there was before",
        answers={200: Answered(forms={JSON: "Rollout"})},
        kinds=_is_workload,
        errors=(404,),
    )

    @get(f"{_ONE}/rollout", opt=described(Needs("get", "{plural}"), reading), name="get-rollout")
    async def get_rollout(request: AnyRequest) -> ASGIApp:
        return value_answer(rollouts.status(*name_of(request, WORKLOAD)))

    changing = Doc(
        summary="Hold up updates, let them go on, promote a canary, go back to an earlier generation, or restart all",
        answers={200: Answered()},
        parameters=("manager", "dry_run", "If-Match", "Idempotency-Key"),
        body={JSON: "RolloutRequest"},
        kinds=_is_workload,
        errors=(404, 409, 412),
    )

    @post(f"{_ONE}/rollout", status_code=200, opt=described(Needs("rollout", "{plural}"), changing), name="rollout")
    async def change_rollout(request: AnyRequest) -> ASGIApp:
        namespace, name = name_of(request, WORKLOAD)
        what, given = _asked(await body_of(request))

        async def act(intent: Intent) -> Raw:
            if what == "undo":
                return object_answer(await rollouts.undo(namespace, name, _generation(given), intent))
            if what == "restart":
                return object_answer(await rollouts.restart(namespace, name, intent))
            await objects.workloads.judged(
                what, namespace, name, dry_run=intent.dry_run, if_revision=intent.if_revision
            )
            with requested(intent):
                if what == "promote":
                    return object_answer(await rollouts.promote(namespace, name, intent))
                return object_answer(await rollouts.pause(namespace, name, intent, paused=what == "pause"))

        async def again() -> Raw:
            return object_answer(objects.get(WORKLOAD, namespace, name))

        return await once.answer(request, act, again)

    return [get_rollout, change_rollout]


def _asked(data: Any) -> tuple[str, Mapping[str, Any]]:
    """Return what a request wants of a rollout, and how."""
    if isinstance(data, Mapping) and len(data) == 1:
        ((what, given),) = data.items()
        known = ("generation",) if what == "undo" else ()
        if (
            what in ("pause", "resume", "promote", "restart", "undo")
            and isinstance(given, Mapping)
            and not set(given) - set(known)
        ):
            return what, given
    text = (
        "one of {pause: {}}, {resume: {}}, {promote: {}}, {restart: {}}, {undo: {generation: NUMBER}}, {undo: {}} is "
        "wanted"
    )
    raise ConfigInvalid((Problem(text),))


def _generation(given: Mapping[str, Any]) -> int | None:
    """Return the generation that is gone back to; None is the one before."""
    generation = given.get("generation")
    if generation is not None and (not isinstance(generation, int) or isinstance(generation, bool) or generation < 1):
        raise ConfigInvalid((Problem("a number from 1 on is wanted", path="undo.generation"),))
    return generation


def _output(control: Control, objects: Objects, streams: OpenStreams) -> list[Any]:
    reading = Doc(
        summary="Read what instances write",
        answers={
            200: Answered(description="Piece after piece.", forms={NDJSON: "", SSE: "", TEXT: ""}),
        },
        parameters=(
            "container",
            "follow",
            "since-time",
            "until",
            "previous",
            "replaced",
            "tail",
            "tail_bytes",
            "timestamps",
            "timeout_seconds",
            "Last-Event-ID",
        ),
        kinds=_runs,
        errors=(404, 501),
    )

    @get(f"{_ONE}/logs", opt=described(Needs("logs", "{plural}"), reading), name="logs")
    async def logs(request: AnyRequest) -> ASGIApp:
        namespace, name = name_of(request, WORKLOAD, INSTANCE)
        return log_stream(control, streams, request, _log_query(request, namespace, name, objects.orchestrator.now()))

    running = Doc(
        summary="Run a command in an instance, over a WebSocket",
        answers={101: Answered(description="A WebSocket.", forms={})},
        kinds=_runs,
        errors=(404, 426),
    )

    @websocket(f"{_ONE}/exec", opt=described(Needs("exec", "{plural}"), running), name="exec-socket")
    async def exec_(socket: WebSocket[Any, Any, Any]) -> None:
        # The rights that were asked for are those of what the path names: that is what it has to be.
        try:
            namespace, name = name_of(socket, WORKLOAD, INSTANCE)
        except NotFound as err:
            socket.scope[ERROR] = err  # type: ignore[typeddict-unknown-key] # for who watches over requests
            raise
        given, standing = {"namespace": namespace, "instance": name}, standing_of(socket.scope)
        is_workload = socket.path_params["plural"] == WORKLOAD.plural
        found = partial(_only_instance, control, namespace, name) if is_workload else None
        failed = noting_failure(socket.scope)
        await serve_exec(control, socket.receive, socket.send, given, standing=standing, found=found, failed=failed)

    @get(f"{_ONE}/exec", opt=described(Needs("exec", "{plural}"), running), name="exec")
    async def exec_plainly(request: AnyRequest) -> ASGIApp:
        name_of(request, WORKLOAD, INSTANCE)
        msg = "a command runs over a WebSocket, and the request asks for none"
        error = Unsupported(msg, remedy="Ask with `Upgrade: websocket`, or by orchestrion exec.")
        request.scope[ERROR] = error  # type: ignore[typeddict-unknown-key] # for who watches over requests
        headers = ((b"upgrade", b"websocket"), (b"connection", b"upgrade"))
        body = json.dumps(problem_of(error) | {"status": _NO_UPGRADE}).encode()
        return Raw(_NO_UPGRADE, body, headers, PROBLEM_MEDIA_TYPE)

    return [logs, exec_, exec_plainly]


async def _only_instance(control: Control, namespace: str, name: str) -> str:
    """Return the instance of a workload that runs.

    Raises:
        WorkloadNotFound: There is no such workload.
        InstanceNotFound: None of its instances runs.
        ConfigInvalid: Several do.
    """
    await control.get_workload(name, namespace=namespace)
    instances = await control.list_instances(namespace=namespace, workload=name)
    running = [each.name for each in instances if each.status.state is InstanceState.RUNNING]
    if not running:
        raise InstanceNotFound(f"no instance of workload {name!r:.80} runs", remedy="see why: orchestrion explain")
    if len(running) > 1:
        problem = Problem(f"{len(running)} instances of {name} run, such as {running[0]}")
        raise ConfigInvalid((problem,), remedy="Name one by the path: /instances/NAME/exec.")
    return running[0]


def _log_query(request: AnyRequest, namespace: str, subject: str, now: datetime) -> LogQuery:
    query = request.query_params
    tail = number(request, "tail", 0) if "tail" in query else None
    if tail is not None and tail > MAX_TAIL_LINES:
        problem = Problem(f"{MAX_TAIL_LINES} lines are the most", path="tail")
        raise ConfigInvalid((problem,), remedy="Ask by since or tail_bytes, or for all.")
    return LogQuery(
        namespace=namespace,
        subject=subject,
        container=query.get("container"),
        follow=flag(request, "follow"),
        since=moment(request, "since", now),
        until=moment(request, "until", now),
        previous=flag(request, "previous"),
        replaced=flag(request, "replaced"),
        tail=tail,
        tail_bytes=number(request, "tail_bytes", 0) if "tail_bytes" in query else None,
        timed=flag(request, "timestamps"),
    )
