"""`init`, `fmt` and `explain-field`: writing manifests."""

from __future__ import annotations

import io
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from orchestrion.shared_types import ConfigInvalid, Conflict, NotFound, Problem
from orchestrion.shared_types.manifest import SUFFIXES, manifest_schema, parse_manifest

from ._complaints import why_unread
from ._exit_codes import ExitCode
from ._output import coloured, columns, note
from ._where import Where

_BEGINNING: Final = """\
# What is to run. `orchestrion up {file}` runs it here, `orchestrion apply {file}` where an orchestrator runs.
# `orchestrion explain-field workloads` tells every key.
workloads:
  hello:
    kind: service
    replicas: 2
    containers:
      - name: main
        command: [sh, -c, "while :; do echo hello from $ORCHESTRION_INDEX; sleep 5; done"]
        resources: {{cpu: 100m, memory: 32Mi}}
  once:
    kind: batch
    containers:
      - name: main
        command: [echo, done]
"""


def run_init(path: Path) -> int:
    """Write a manifest to begin with."""
    is_stdout = path == Path("/dev/stdout")
    text = _BEGINNING.format(file="orchestrion.yaml" if is_stdout else path.name)
    if is_stdout:
        sys.stdout.write(text)
        return 0
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError as err:
        raise Conflict(f"there is a {path} already", remedy="Name another file.") from err
    except OSError as err:
        raise ConfigInvalid((Problem(f"{path} can't be written: {err.strerror}"),)) from err
    note(f"{path}: written; `orchestrion up {path}` runs it")
    return 0


def run_format(paths: Collection[Path], *, check: bool) -> int:
    """Write manifests in one form; 1 where only looking was asked for and some are in another."""
    others = 0
    for path in [one for given in paths for one in _files(given)]:
        before = _text(path)
        after = formatted(before, path)
        if path == Path("/dev/stdin"):
            sys.stdout.write(after)
        elif before != after:
            others += 1
            if not check:
                path.write_text(after)
            note(f"{path}: {'is in another form' if check else 'written anew'}")
    return ExitCode.FAILED if check and others else ExitCode.OK


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(one for one in path.iterdir() if one.suffix in SUFFIXES and one.suffix != ".json")


def _text(path: Path) -> str:
    try:
        return sys.stdin.read() if path == Path("/dev/stdin") else path.read_text()
    except (OSError, UnicodeDecodeError) as err:
        problem = Problem(f"it can't be read: {why_unread(err)}", file=str(path))
        raise ConfigInvalid((problem,), remedy="Name another file, or - for stdin.") from err


def formatted(text: str, path: Path, /) -> str:
    """Return a manifest in our form, with its comments, and with the same meaning.

    Raises:
        ConfigInvalid: It is no manifest.
    """
    from ruamel.yaml import YAML

    before = parse_manifest(text.encode(), file=str(path))
    writer = YAML(typ="rt")
    writer.width = 120
    writer.preserve_quotes = True
    writer.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    writer.dump(writer.load(text), stream)
    after = stream.getvalue()
    # Whatever the writer does with a text it has never seen: the meaning is not ours to change.
    if parse_manifest(after.encode(), file=str(path)).workloads != before.workloads:
        raise ConfigInvalid((Problem("it can't be written in another form without changing it", file=str(path)),))
    return after


def run_explain_field(path: str, where: Where) -> int:
    """Print what a key of a manifest means, or of an object of a kind."""
    parts = [part for part in path.split(".") if part]
    schema: Mapping[str, Any] = manifest_schema()
    passed: list[str] = []
    if parts and parts[0] not in schema["properties"]:
        schema = _schema_of_kind(parts[0], where, there=schema["properties"])
        passed.append(parts.pop(0))
    node = _resolved(schema, schema)
    for part in parts:
        node = _step(node, part, schema, passed)
        passed.append(part)
    for line in _told(".".join(passed), node, schema):
        print(line)
    return 0


def _schema_of_kind(text: str, where: Where, there: Collection[str]) -> Mapping[str, Any]:
    from ._kind_schemas import schema_of_kind

    try:
        return schema_of_kind(text, where)
    except NotFound as err:
        err.message = f"a manifest has no key {text!r:.100}; it has: {', '.join(sorted(there))}; and {err.message}"
        raise


def _step(node: Mapping[str, Any], part: str, schema: Mapping[str, Any], passed: list[str]) -> Mapping[str, Any]:
    """Return what a key is below a node; names that authors choose, and the items of lists, are passed through."""
    known: list[str] = []
    for inner in _within(node, schema):
        keys = inner.get("properties", {})
        if part in keys:
            return _resolved(keys[part], schema)
        known += keys
    where = ".".join(passed) or "a manifest"
    there = ", ".join(sorted(set(known))) or "none"
    raise NotFound(
        f"{where} has no key {part!r:.100}; it has: {there}", remedy="`orchestrion explain-field` shows all."
    )


def _within(node: Mapping[str, Any], schema: Mapping[str, Any], depth: int = 0) -> list[Mapping[str, Any]]:
    """Return a node, and what is in it without a key of ours between."""
    found = [node]
    if depth < 6:
        below = [node.get("items"), node.get("additionalProperties"), *node.get("patternProperties", {}).values()]
        below += [one for word in ("anyOf", "oneOf", "allOf") for one in node.get(word, ())]
        for one in below:
            if isinstance(one, Mapping):
                found += _within(_resolved(one, schema), schema, depth + 1)
    return found


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    target = node.get("$ref")
    if not isinstance(target, str):
        return node
    found: Any = schema
    for part in target.removeprefix("#/").split("/"):
        found = found[part]
    return {**_resolved(found, schema), **{key: value for key, value in node.items() if key != "$ref"}}


def _told(name: str, node: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    lines = [coloured(name or "a manifest", "cyan")]
    words = node.get("description", "")
    if words:
        lines += ["", str(words)]
    facts = [
        (word, node[word])
        for word in ("type", "enum", "const", "pattern", "minimum", "maximum", "default")
        if word in node
    ]
    if facts:
        lines += ["", *columns([(f"  {word}", _fact(value)) for word, value in facts])]
    keys: dict[str, Mapping[str, Any]] = {}
    for inner in _within(node, schema):
        for key, value in inner.get("properties", {}).items():
            keys.setdefault(key, _resolved(value, schema))
    if keys:
        rows = [(f"  {key}", str(value.get("description", "")).split("\n")[0]) for key, value in keys.items()]
        lines += ["", coloured("keys:", "dim"), *columns(rows)]
    return lines


def _fact(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
