"""`debug bundle`: what helps with finding a fault, in one file, and nothing that is secret."""

from __future__ import annotations

import json
import os
import platform
import re
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import trio
from orchestrion.control_plane.audit import last_records
from orchestrion.orchestrator_core import LogQuery
from orchestrion.shared_types import (
    ConfigInvalid,
    Conflict,
    Denied,
    OrchestrationError,
    Problem,
    StateFailure,
    unstructure,
)

from ._kinds import KINDS, KindName
from ._objects import Data, Objects, reach_objects
from ._output import note
from ._places import Place, place_of
from ._running import run_async
from ._state_directory import StateDirectory
from ._tables import at
from ._version import installed
from ._where import Where

MASKED: Final = "***"

_MISSING: Final = "missing.txt"

_LOG_BYTES: Final = 262_144
_LOG_SECONDS: Final = 10.0

_AUDIT_RECORDS: Final = 1_000

_LOOKED_AT: Final = 200
"""Of how many workloads it is asked one by one what they ran before and what they wait for."""

_ENDED: Final = ("Succeeded", "Failed", "Stopped")
_WELL: Final = ("Healthy", "Succeeded", "Stopped")

_HIDDEN_KEYS: Final = frozenset({"env", "env_vars"})
"""Whose values are hidden: what authors put there is as often as not a password."""


_WEBHOOKS: Final = ("MutatingWebhook", "ValidatingWebhook")
_BUILT_IN: Final = frozenset(kind.plural for kind in KINDS)

_TELLING: Final = re.compile(r"pass(?!ive)|secret|token|credential|private|api_?key|auth", re.IGNORECASE)
"""What keys are called under which authors of their own kinds put what is secret."""


def run_bundle(path: Path, where: Where, *, logs: bool) -> int:
    """Write the file."""
    if path.exists() or path.is_symlink():
        raise Conflict(f"there is a {path} already", remedy="Name another file.")
    if not path.absolute().parent.is_dir():
        problem = Problem(f"{path.parent} is no folder that is there")
        raise ConfigInvalid((problem,), remedy="Make the folder first, or name another file.")
    where = where._replace(namespace="*")
    place = place_of(where)
    files = run_async(_gathered, where, place, logs)
    try:
        with (
            os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle,
        ):
            for name, data in files.items():
                bundle.writestr(name, data)
    except FileExistsError as err:
        raise Conflict(f"there is a {path} already", remedy="Name another file.") from err
    except OSError as err:
        raise StateFailure(f"writing {path} failed: {err.strerror}", remedy="Name another file.") from err
    note(f"{path}: {len(files)} files, without secrets and without the values of environment variables")
    if _MISSING in files:
        count = len(files[_MISSING].splitlines())
        note(f"{count} {'thing' if count == 1 else 'things'} could not be read; {_MISSING} in it says which")
    return 0


async def _gathered(where: Where, place: Place, logs: bool) -> dict[str, bytes]:
    files = {"about.json": _encoded(_about())}
    troubles, denied, read = list[str](), list[Denied](), False
    async with reach_objects(where, place) as objects:
        for kind in await _kinds(objects, troubles):
            try:
                items, read = (await objects.list(kind)).items, True
            except OrchestrationError as err:
                denied += [err] if isinstance(err, Denied) else []
                troubles.append(f"{kind.plural}: {err.message}")
                continue
            files[f"objects/{kind.plural}.json"] = _encoded([_shown(kind, item) for item in items])
            if kind.kind == "Workload":
                await _add_more(objects, items, files, troubles)
                for item in items if logs else ():
                    await _add_log(objects, item, files, troubles)
        for path in ("/livez", "/readyz", "/healthz", "/metrics", "/api/v1/whoami"):
            try:
                data = (await objects.api.ask("GET", path, may_be_text=True)).data
            except OrchestrationError as err:
                troubles.append(f"{path}: {err.message}")
                continue
            files[f"server{path}.txt"] = data.encode() if isinstance(data, str) else _encoded(data)
    if denied and not read:
        raise Denied(f"nothing of it can be read: {denied[0].message}", remedy=denied[0].remedy)
    try:
        files |= await trio.to_thread.run_sync(_audited, place)
    except (OSError, ValueError) as err:
        troubles.append(f"audit log: {err}")
    if troubles:
        files[_MISSING] = "\n".join(troubles).encode() + b"\n"
    return files


async def _add_more(objects: Objects, items: Sequence[Data], files: dict[str, bytes], troubles: list[str]) -> None:
    """Add what workloads ran before, and why what waits for a place has none; first of those that are not well."""
    looked_at = sorted(items, key=lambda item: at(item, "status.phase") in _WELL)[:_LOOKED_AT]
    if len(items) > len(looked_at):
        troubles.append(f"rollouts and places: only of {len(looked_at)} of {len(items)} workloads")
    for item in looked_at:
        namespace, name = str(at(item, "metadata.namespace")), str(at(item, "metadata.name"))
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/workloads/{quote(name, safe='')}/rollout"
        try:
            rollout = (await objects.api.ask("GET", path)).data
            files[f"rollouts/{namespace}/{name}.json"] = _encoded(redacted(rollout))
            if at(item, "status.phase") in _ENDED or at(item, "status.replicas", 0) <= at(item, "status.placed", 0):
                continue
            placements = await objects.control.explain(name, namespace=namespace)
        except OrchestrationError as err:
            troubles.append(f"rollout and places of {namespace}/{name}: {err.message}")
            continue
        pending = [unstructure(placement) for placement in placements if placement.node_id is None]
        if pending:
            files[f"pending/{namespace}/{name}.json"] = _encoded(pending)


async def _kinds(objects: Objects, troubles: list[str]) -> list[KindName]:
    """Return all kinds that there are: those of webhooks and of users are known to the other side alone."""
    try:
        told = (await objects.api.ask("GET", "/api/v1", expects={"resources": list})).data["resources"]
        return [KindName(one["name"], one["kind"], bool(one["namespaced"])) for one in told]
    except OrchestrationError as err:
        troubles.append(f"kinds of webhooks and of users: {err.message}")
        return list(KINDS)


def _audited(place: Place) -> dict[str, bytes]:
    """Return the end of the audit log, in a file; nothing where there is none here. It blocks.

    Raises:
        OSError: It can't be read.
        ValueError: It is not on this machine.
    """
    if not isinstance(place, StateDirectory):
        msg = "it is in the server's state directory; a bundle that is made there, with --state, has it"
        raise ValueError(msg)
    lines = last_records(place.part("server", "api") / "audit", _AUDIT_RECORDS)
    return {"audit.jsonl": b"".join(_record(line) + b"\n" for line in lines)} if lines else {}


def _record(line: bytes) -> bytes:
    """Return a line of the audit log without where somebody was."""
    try:
        record = json.loads(line)
    except ValueError:
        return line[:200]  # what is left of a record that was torn
    if isinstance(record, dict) and record.get("source"):
        record["source"] = MASKED
    return json.dumps(record, ensure_ascii=False).encode()


async def _add_log(objects: Objects, item: Data, files: dict[str, bytes], troubles: list[str]) -> None:
    namespace, name = str(at(item, "metadata.namespace")), str(at(item, "metadata.name"))
    query = LogQuery(subject=name, namespace=namespace, tail_bytes=_LOG_BYTES, replaced=True)
    text = b""
    try:
        with trio.fail_after(_LOG_SECONDS):
            async with objects.control.logs(query) as records:
                async for record in records:
                    text = (text + record.data)[-_LOG_BYTES:]
    except (OrchestrationError, trio.TooSlowError) as err:
        troubles.append(f"logs of {namespace}/{name}: {err}")
    files[f"logs/{namespace}/{name}.txt"] = text


def _about() -> Mapping[str, Any]:
    return {
        "made_at": datetime.now(UTC).isoformat(),
        "parts": {part.name: part.version for part in installed()},
        "platform": platform.platform(),
    }


def _shown(kind: KindName, item: Data) -> Any:
    """Return an object without what is secret, or may be."""
    item = redacted(item)
    spec = item.get("spec", {})
    if kind.kind == "Secret":
        return {**item, "spec": {**spec, "data": dict.fromkeys(spec.get("data", {}), MASKED)}}
    if kind.kind in _WEBHOOKS:
        return {**item, "spec": {**spec, "url": _bare(str(spec.get("url", "")))}}
    if kind.plural not in _BUILT_IN:
        return _without_secrets(item)
    return item


def _bare(url: str) -> str:
    """Return where a webhook is; what stands behind its host is as often as not a password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}/{MASKED}"


def _without_secrets(value: Any) -> Any:
    """Return what users defined, with those texts hidden whose keys say that they are secret."""
    if isinstance(value, Mapping):
        return {
            key: _masked(inner) if _TELLING.search(str(key)) else _without_secrets(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return value


def _masked(value: Any) -> Any:
    """Return something of which nothing is left but its form."""
    if isinstance(value, Mapping):
        return {key: _masked(inner) for key, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list) else MASKED


def redacted(value: Any) -> Any:
    """Return plain data in which the values of environment variables are hidden, wherever they are."""
    if isinstance(value, Mapping):
        return {key: _hidden(inner) if key in _HIDDEN_KEYS else redacted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [redacted(inner) for inner in value]
    return value


def _hidden(value: Any) -> Any:
    return dict.fromkeys(value, MASKED) if isinstance(value, Mapping) else MASKED


def _encoded(value: Any) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
