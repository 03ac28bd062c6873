"""`logs`: what instances have written."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Literal

import trio
from attrs import evolve
from orchestrion.control_plane import Control, HttpControl
from orchestrion.orchestrator_core import LogQuery, LogRecord, parse_subject
from orchestrion.shared_types import ConfigInvalid, Problem, unstructure

from ._lines import LineMaker, Print, prefix_of, print_lines
from ._output import note
from ._places import Place, namespace_of, place_of
from ._reach import owner_or_lock
from ._running import run_async
from ._state_directory import Ownership
from ._subjects import check_container
from ._times import moment
from ._where import Where

LogForm = Literal["table", "jsonl"]
"""How output is written."""


def run_logs(
    subjects: Sequence[str],
    where: Where,
    labels: str | None,
    container: str | None,
    since: str | None,
    form: LogForm,
    *,
    follow: bool,
    previous: bool,
    all_: bool = False,
) -> int:
    """Print the output of workloads or instances."""
    if (bool(subjects), labels is not None, all_).count(True) != 1:
        problem = Problem("say whose output: by names, by --labels, or --all")
        raise ConfigInvalid((problem,), remedy="orchestrion logs -f web, or: orchestrion logs -f -l tier=front")
    place = place_of(where)
    query = LogQuery(
        subject="",
        namespace=namespace_of(where, place),
        container=container,
        follow=follow,
        since=None if since is None else moment(since, datetime.now(UTC)),
        previous=previous,
    )
    run_async(_logs, place, tuple(dict.fromkeys(subjects)), "" if all_ else labels, query, form)
    return 0


async def _logs(place: Place, subjects: Sequence[str], labels: str | None, query: LogQuery, form: LogForm) -> None:
    place.must_exist()
    async with owner_or_lock(place) as found, trio.open_nursery() as nursery:
        if labels is not None:
            # Imported here, because `up` imports this module, and has no use for them.
            from ._log_subjects import follow_workloads, workloads_with

            if query.follow and isinstance(found, HttpControl):
                await follow_workloads(
                    found, query.namespace, labels, lambda name: _show(found, evolve(query, subject=name), form)
                )
                return
            subjects = await workloads_with(found, query.namespace, labels)
            if not subjects:
                note(f"no workload has the labels {labels}" if labels else "there is no workload")
        for subject in subjects:
            one = evolve(query, subject=subject)
            if query.follow and len(subjects) > 1:
                nursery.start_soon(_show, found, one, form)
            else:
                await _show(found, one, form)


async def _show(found: HttpControl | Ownership, query: LogQuery, form: LogForm) -> None:
    async with _records(found, query) as records:
        if form == "jsonl":
            async for record in records:
                print(record_line(record), flush=query.follow)
        else:
            await print_records(records, print_lines)


@asynccontextmanager
async def _records(found: HttpControl | Ownership, query: LogQuery) -> AsyncIterator[AsyncIterator[LogRecord]]:
    async with AsyncExitStack() as stack:
        if isinstance(found, HttpControl):
            source: Control = found
            if query.container is not None:
                await check_container(query.container, parse_subject(query.subject), query.namespace, source)
            yield await stack.enter_async_context(source.logs(query))
            return
        from ._offline import offline_logs

        if query.follow:
            note("no orchestrator runs here: this is what was kept, and nothing comes after it")
        yield await stack.enter_async_context(offline_logs(found, evolve(query, follow=False)))


def record_line(record: LogRecord) -> str:
    """Return a record as one line of JSON: `data` is text; where it is no UTF-8, `data_base64` is given."""
    fields = {**unstructure(evolve(record, data=b"")), "data": None}
    try:
        fields["data"] = record.data.decode()
    except UnicodeDecodeError:
        fields["data_base64"] = b64encode(record.data).decode()
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


async def print_records(
    records: AsyncIterator[LogRecord], print_: Print, *, with_container: bool | None = None
) -> None:
    """Print records line by line, to the end.

    Args:
        records: What to print.
        print_: Prints lines.
        with_container: Whether the prefix names the container; None: as soon as there is more than one.
    """
    maker = LineMaker()
    containers = set[str]()
    try:
        async for record in records:
            containers.add(record.container)
            several = len(containers) > 1 if with_container is None else with_container
            source, lines = maker.take(record)
            if lines:
                print_(source[3], prefix_of(source, with_container=several), lines)
    finally:
        several = len(containers) > 1 if with_container is None else with_container
        for source, line in maker.end():
            print_(source[3], prefix_of(source, with_container=several), (line,))
