"""`create`: making objects, all of a file or none."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen
from orchestrion.shared_types import (
    ConfigInvalid,
    Conflict,
    Denied,
    NotFound,
    OrchestrationError,
    PreconditionFailed,
    Problem,
)

from ._complaints import why_unread
from ._kinds import KindName, known_kind
from ._manifests import STDIN_NAME, is_stdin
from ._objects import Data, Objects, reach_objects
from ._output import note
from ._places import Place, place_of
from ._running import run_async
from ._where import Where
from ._write import parsed

STAGES: Final = ("namespace", "customkind", "priorityclass", "role")
"""The kinds of objects that others need, in the order in which these are looked at, in lower case."""


_REFUSALS: Final = (ConfigInvalid, Conflict, Denied, NotFound, PreconditionFailed)
"""What is said of objects that can't be made, after which nothing was."""


@frozen
class _Wanted:
    """An object that is to be made.

    Attributes:
        kind: Its kind, as its author calls it.
        data: The object.
        file: Where it was read; empty where it was typed.
        line: Where it begins there, from 1.
    """

    kind: str
    data: Data
    file: str = ""
    line: int = 0

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What it says of itself."""
        metadata: Mapping[str, Any] = self.data.get("metadata", {})
        return metadata

    @property
    def told(self) -> str:
        """Its kind and name."""
        return f"{self.kind.lower()}/{self.metadata.get('name', '')}"


def run_create(
    what: str, name: str | None, where: Where, *, file: Path | None, data: Sequence[str], dry_run: bool
) -> int:
    """Make objects of a file, or one of its kind and name."""
    wanted = list(_read(file)) if file is not None else [_small(what, name, data)]
    run_async(_create, where, place_of(where), wanted, dry_run)
    return 0


def _small(kind: str, name: str | None, data: Sequence[str]) -> _Wanted:
    if not kind or not name:
        problem = Problem("say which kind and name, or which file")
        raise ConfigInvalid((problem,), remedy="orchestrion create namespace shop, or: orchestrion create -f FILE")
    spec: dict[str, Any] = {}
    if data:
        spec["data"] = dict(_entry(text) for text in data)
    return _Wanted(kind, {"metadata": {"name": name}, "spec": spec})


def _entry(text: str) -> tuple[str, str]:
    key, given, value = text.partition("=")
    if not key or not given:
        raise ConfigInvalid((Problem(f"{text!r:.100} is no KEY=TEXT or KEY=@FILE"),))
    if not value.startswith("@"):
        return key, value
    path = Path("/dev/stdin" if value == "@-" else value[1:])
    try:
        return key, path.read_text()
    except (OSError, UnicodeDecodeError) as err:
        problem = Problem(f"{path} can't be read: {why_unread(err)}")
        raise ConfigInvalid((problem,), remedy=f"Name a file of text, as in: -d {key}=@FILE") from err


def _read(path: Path) -> Iterator[_Wanted]:
    """Yield what each document of a file of YAML or JSON wants."""
    file = STDIN_NAME if is_stdin(path) else str(path)
    text = sys.stdin.read() if is_stdin(path) else _text_of(path)
    for document, line in zip(parsed(text, file), _lines_of(text), strict=True):
        if document is None:
            continue
        kind = document.get("kind") if isinstance(document, Mapping) else None
        if not isinstance(kind, str) or not isinstance(document.get("metadata", {}), Mapping):
            problem = Problem("each document is an object with a kind and metadata", file=file, line=line)
            raise ConfigInvalid((problem,), remedy="A manifest of workloads is for `orchestrion apply`.")
        yield _Wanted(kind, document, file, line)


def _lines_of(text: str) -> list[int]:
    """Return where each document of a text that can be parsed begins."""
    from ruamel.yaml import YAML

    nodes = YAML(typ="safe", pure=True).compose_all(text)
    return [1 if node is None else node.start_mark.line + 1 for node in nodes]


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as err:
        problem = Problem(f"it can't be read: {why_unread(err)}", file=str(path))
        raise ConfigInvalid((problem,), remedy="Name another file, or - for stdin.") from err


async def _create(where: Where, place: Place, wanted: Sequence[_Wanted], dry_run: bool) -> None:
    wanted = sorted(wanted, key=_stage)
    async with reach_objects(where, place) as objects:
        defined = [kind for one in wanted if (kind := _defined_by(one)) is not None]
        kinds = list[KindName]()
        for one in wanted:
            with _naming(one):
                kinds.append(known_kind(one.kind, defined) or await objects.kind(one.kind))
        _check_once(objects, wanted, kinds)
        if len(wanted) == 1:
            with _naming(wanted[0]):
                await objects.create(kinds[0], wanted[0].data, dry_run=dry_run)
        else:
            try:
                await _create_together(objects, wanted, dry_run=dry_run)
            except _REFUSALS:
                # Which of them is refused, only asking for each tells.
                for number, (one, kind) in enumerate(zip(wanted, kinds, strict=True)):
                    with _naming(one):
                        await _check(objects, kind, one, wanted[:number])
                raise
        for one, kind in zip(wanted, kinds, strict=True):
            note(f"{kind.kind.lower()}/{one.metadata.get('name', '')}: {'would be made' if dry_run else 'made'}")


def _stage(one: _Wanted) -> int:
    """Return where an object comes in the order in which objects need each other."""
    return STAGES.index(one.kind.lower()) if one.kind.lower() in STAGES else len(STAGES)


def _defined_by(one: _Wanted) -> KindName | None:
    """Return the kind that an object defines; None where it defines none, or in words that no server takes."""
    spec = one.data.get("spec")
    if one.kind.lower() != "customkind" or not isinstance(spec, Mapping):
        return None
    kind, plural = spec.get("kind"), spec.get("plural")
    if not isinstance(kind, str) or not isinstance(plural, str):
        return None
    if not (plural.isascii() and plural.isalnum()):
        return None  # It could lead to another path than that of a kind.
    return KindName(plural, kind, spec.get("namespaced") is not False)


async def _create_together(objects: Objects, wanted: Sequence[_Wanted], *, dry_run: bool) -> None:
    """Have objects made, all of them or none."""
    items = [dict(each.data) for each in wanted]
    query = {"dry_run": dry_run, "namespace": objects.namespace}
    await objects.api.ask("POST", "/api/v1/create", {"items": items}, query=query)


def _check_once(objects: Objects, wanted: Sequence[_Wanted], kinds: Sequence[KindName]) -> None:
    """Make sure that no object is there twice: each alone could be made."""
    seen = set[tuple[str, str, str]]()
    for one, kind in zip(wanted, kinds, strict=True):
        namespace = str(one.metadata.get("namespace") or objects.namespace) if kind.namespaced else ""
        key = (kind.plural, namespace, str(one.metadata.get("name", "")))
        if key in seen:
            with _naming(one):
                raise ConfigInvalid((Problem("it is there twice"),))
        seen.add(key)


async def _check(objects: Objects, kind: KindName, one: _Wanted, before: Sequence[_Wanted]) -> None:
    """Make sure that an object could be made once those before it are there.

    Raises:
        OrchestrationError: It could not.
    """
    try:
        await objects.create(kind, one.data, dry_run=True)
    except (ConfigInvalid, NotFound) as err:
        if not before:
            raise
        # Its namespace, its kind, its role, or a workload that it comes after, may be among those before it.
        try:
            await _create_together(objects, (*before, one), dry_run=True)
        except Denied:
            raise
        except ConfigInvalid as why:
            raise (err if isinstance(err, ConfigInvalid) else why) from None
        except OrchestrationError:
            raise err from None


@contextmanager
def _naming(one: _Wanted) -> Iterator[None]:
    """Let what is wrong with an object be told with its place in its file, its kind and its name."""
    try:
        yield
    except OrchestrationError as err:
        if not one.file:
            raise
        if isinstance(err, ConfigInvalid):
            problems = err.problems or (Problem(err.message),)
            placed = (
                evolve(each, file=one.file, line=one.line, path=f"{one.told} {each.path}".rstrip()) for each in problems
            )
            raise ConfigInvalid(tuple(placed), remedy=err.remedy) from err
        err.message = f"{one.file}:{one.line}: {one.told}: {err.message}"
        raise
