"""Manifests: loading one or a directory of them, checking them, and their schema."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrion.shared_types import DEFAULT_NAMESPACE, OrchestrationError, WorkloadDefinition
from orchestrion.shared_types.manifest import MAX_BYTES, Manifest, load_manifest, manifest_schema, parse_manifest

from ._node_names import names_at
from ._output import note

if TYPE_CHECKING:
    from orchestrion.control_plane import Control

    from ._where import Where

STDIN_NAME: Final = "-"
"""What standard input is called where files are named: what was typed for it."""


def load(
    path: Path,
    /,
    *,
    others: Collection[WorkloadDefinition] = (),
    text: bytes | None = None,
    namespace: str = DEFAULT_NAMESPACE,
) -> tuple[WorkloadDefinition, ...]:
    """Return all workloads of a file, of all manifests in a directory (sorted by name), or of stdin.

    Args:
        path: Where it is; "-" on the command line is /dev/stdin here.
        others: Workloads that exist already, which those of the file may come after.
        text: What was read of standard input already; None reads it.
        namespace: Where workloads are that do not say it.

    Raises:
        ConfigInvalid: Something can't be read or accepted.
    """
    manifest = _manifest(path, others, text, namespace)
    for warning in manifest.warnings:
        note(f"warning: {warning}")
    return manifest.workloads


def is_stdin(path: Path) -> bool:
    """Whether a path is standard input, which can be read once, and whose relative paths are those of this folder."""
    return path == Path("/dev/stdin")


def _manifest(path: Path, others: Collection[WorkloadDefinition], text: bytes | None, namespace: str) -> Manifest:
    if not is_stdin(path):
        return load_manifest(path, others=others, classes=None, namespace=namespace)
    if text is None:
        text = sys.stdin.buffer.read(MAX_BYTES + 1)
    folder = Path.cwd()
    return parse_manifest(text, file=STDIN_NAME, folder=folder, others=others, classes=None, namespace=namespace)


@asynccontextmanager
async def naming(path: Path, control: Control) -> AsyncIterator[None]:
    """Let what no node could run be told with the file that asks for it, and nodes by their names."""
    try:
        yield
    except OrchestrationError as err:
        if err.code == "unschedulable":
            file = STDIN_NAME if is_stdin(path) else path
            err.message = f"{file}: {(await names_at(control)).within(err.message)}"
        raise


def run_schema(kind: str, where: Where) -> int:
    """Print the JSON Schema of a manifest, or of the objects of a kind."""
    if not kind:
        print(json.dumps(manifest_schema(), indent=2))
        return 0
    from ._kind_schemas import schema_of_kind

    print(json.dumps(schema_of_kind(kind, where), indent=2))
    return 0
