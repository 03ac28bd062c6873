"""The file in which this node remembers who it is and what was ordered: `node.json`."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Final

from attrs import frozen
from orchestrion.cluster_interface import ClusterUnavailable
from orchestrion.shared_types import ClusterFailure, ConfigInvalid, Drain, structure, unstructure

NODE_FILE: Final = "node.json"
SCHEMA_VERSION: Final = 1


class NodeFileInvalid(ClusterFailure):
    """The node's file is damaged, or a newer version wrote it. Nothing was changed."""

    code = "node-file-invalid"


@frozen(kw_only=True)
class NodeRecord:
    """What the file holds.

    Attributes:
        id: The node's id.
        created_at: When the node got it (UTC).
        cordoned: As in `Node`.
        drain: As in `Node`.
    """

    id: str
    created_at: datetime
    cordoned: bool = False
    drain: Drain | None = None


def load_node_record(state_dir: Path) -> NodeRecord | None:
    """Return what the state directory's file holds, or None where there is none. It blocks.

    Raises:
        NodeFileInvalid: The file is damaged, or of a newer version.
        ClusterUnavailable: It can't be read.
    """
    path = state_dir / NODE_FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as err:
        msg = f"reading {path} failed: {err.strerror}"
        raise ClusterUnavailable(msg, remedy="make the state directory readable") from err
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise _damaged(path, "it is not JSON") from err
    version = data.pop("version", None) if isinstance(data, dict) else None
    if type(version) is not int or version < 1:
        raise _damaged(path, "it has no schema version")
    if version > SCHEMA_VERSION:
        msg = f"{path} has schema version {version}; this program knows versions up to {SCHEMA_VERSION}"
        raise NodeFileInvalid(msg, remedy="use the newer program that wrote it, or another state directory")
    try:
        record = structure(data, NodeRecord)
    except ConfigInvalid as err:
        raise _damaged(path, str(err)) from err
    if not record.id:
        raise _damaged(path, "its id is empty")
    if record.drain is not None and not record.cordoned:
        raise _damaged(path, "it has a drain and is not cordoned")
    return record


def save_node_record(state_dir: Path, record: NodeRecord) -> None:
    """Replace the file: after a crash at any moment it holds the old record or the new one. It blocks.

    Raises:
        ClusterUnavailable: It can't be written; the old one is still there.
    """
    path = state_dir / NODE_FILE
    data = json.dumps({"version": SCHEMA_VERSION, **unstructure(record)}, ensure_ascii=False, indent=2) + "\n"
    draft = path.with_suffix(".json.new")
    try:
        absolute = state_dir.absolute()
        missing = [one for one in (absolute, *absolute.parents) if not one.exists()]
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for one in missing:
            _sync_directory(one.parent)
        draft.unlink(missing_ok=True)  # one that a crash has left may be open to others
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data.encode())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        _sync_directory(state_dir)
    except OSError as err:
        msg = f"writing {path} failed: {err.strerror}"
        raise ClusterUnavailable(msg, remedy="make room in the state directory and make it writable") from err


def _sync_directory(path: Path) -> None:
    """Write down which names the directory has; without it a rename may be undone by a power failure."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _damaged(path: Path, why: str) -> NodeFileInvalid:
    msg = f"{path} is damaged: {why}"
    return NodeFileInvalid(
        msg, remedy="restore it from a copy; if there is none, move it away, and this machine becomes a new node"
    )
