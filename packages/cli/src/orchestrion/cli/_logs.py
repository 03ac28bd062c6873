"""`logs`: what instances have written."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Literal

from attrs import evolve
from orchestrion.control_plane import Control, HttpControl
from orchestrion.orchestrator_core import LogQuery, LogRecord, parse_subject
from orchestrion.shared_types import unstructure

from ._lines import LineMaker, Print, prefix_of, print_line
from ._output import note
from ._places import Place, namespace_of, place_of
from ._reach import owner_or_lock
from ._running import run_async
from ._state_directory import Ownership
from ._subjects import check_container
from ._times import moment
from ._where import Where


def run_logs(
    subject: str,
    where: Where,
    container: str | None,
    since: str | None,
    form: Literal["table", "jsonl"],
    *,
    follow: bool,
    previous: bool,
) -> int:
    """Print the output of a workload or an instance."""
    place = place_of(where)
    query = LogQuery(
        subject=subject,
        namespace=namespace_of(where, place),
        container=container,
        follow=follow,
        since=None if since is None else moment(since, datetime.now(UTC)),
        previous=previous,
    )
    run_async(_logs, place, query, form)
    return 0


async def _logs(place: Place, query: LogQuery, form: Literal["table", "jsonl"]) -> None:
    place.must_exist()
    async with owner_or_lock(place) as found, _records(found, query) as records:
        if form == "jsonl":
            async for record in records:
                print(record_line(record), flush=query.follow)
        else:
            await print_records(records, print_line)


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
    fields = {**unstructure(record), "data": None}
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
        print_: Prints a line.
        with_container: Whether the prefix names the container; None: as soon as there is more than one.
    """
    maker = LineMaker()
    containers = set[str]()
    try:
        async for record in records:
            containers.add(record.container)
            several = len(containers) > 1 if with_container is None else with_container
            for source, line in maker.take(record):
                print_(source[3], prefix_of(source, with_container=several), line)
    finally:
        several = len(containers) > 1 if with_container is None else with_container
        for source, line in maker.end():
            print_(source[3], prefix_of(source, with_container=several), line)
