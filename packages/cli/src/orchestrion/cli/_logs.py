"""`logs`: what instances have written."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Literal

import trio
from attrs import define, evolve, field, frozen
from orchestrion.control_plane import HttpControl
from orchestrion.orchestrator_core import LogQuery, LogRecord, parse_subject
from orchestrion.shared_types import ConfigInvalid, NotFound, Problem, unstructure

from ._lines import LineMaker, Print, print_lines
from ._log_lines import Wish, pattern_of, show_lines
from ._log_names import Epochs, naming_of, told_once
from ._output import note
from ._patience import Patience
from ._places import Place, namespace_of, place_of
from ._reach import owner_or_lock
from ._running import run_async
from ._state_directory import Ownership
from ._subjects import check_container
from ._times import moment
from ._where import Where

LogForm = Literal["table", "jsonl"]
"""How output is written."""


def wish_of(tail: int | None, until: str | None, grep: str | None, *, timestamps: bool) -> Wish:
    """Return which lines are wanted, as that was typed.

    Raises:
        ConfigInvalid: Something can't be understood.
    """
    if tail is not None and tail < 0:
        raise ConfigInvalid((Problem("--tail takes a number of lines, 0 or more"),))
    return Wish(
        tail=tail,
        until=None if until is None else moment(until, datetime.now(UTC)),
        pattern=None if grep is None else pattern_of(grep),
        timestamps=timestamps,
    )


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
    replaced: bool = False,
    all_: bool = False,
    wish: Wish | None = None,
) -> int:
    """Print the output of workloads or instances."""
    wish = wish or Wish()
    if follow and wish.until is not None:
        problem = Problem("--until says where it ends, and --follow that it goes on")
        raise ConfigInvalid((problem,), remedy="Leave one of them out.")
    if (bool(subjects), labels is not None, all_).count(True) != 1:
        problem = Problem("say whose output: by names, by --labels, or --all")
        raise ConfigInvalid((problem,), remedy="orchestrion logs -f web, or: orchestrion logs -f -l tier=front")
    if where.namespace == "*":
        problem = Problem("output is of the workloads of one namespace")
        raise ConfigInvalid((problem,), remedy="Name one with -n; `orchestrion get namespaces` shows those there are.")
    place = place_of(where)
    query = LogQuery(
        subject="",
        namespace=namespace_of(where, place),
        container=container,
        follow=follow,
        since=None if since is None else moment(since, datetime.now(UTC)),
        previous=previous,
        replaced=replaced,
    )
    try:
        run_async(_logs, place, subjects, "" if all_ else labels, query, form, wish)
    except NotFound as err:
        if where.namespace is not None and where.namespace.isdecimal():
            err.remedy = f"-n names a namespace. For the last lines: --tail {where.namespace}"
        raise
    return 0


async def _logs(
    place: Place, subjects: Sequence[str], labels: str | None, query: LogQuery, form: LogForm, wish: Wish
) -> None:
    place.must_exist()
    async with owner_or_lock(place, only_looks=True) as found, trio.open_nursery() as nursery:
        source = _Source(place, found, Patience(found) if isinstance(found, HttpControl) else None)
        if labels is not None:
            # Imported here, because `up` imports this module, and has no use for them.
            from ._log_subjects import follow_workloads, workloads_with

            if query.follow and isinstance(found, HttpControl):

                async def show(name: str) -> None:
                    await _show(source, evolve(query, subject=name), form, wish)

                await follow_workloads(found, query.namespace, labels, show, source.patience)
                return
            subjects = await workloads_with(found, query.namespace, labels)
            if not subjects:
                note(f"no workload has the labels {labels}" if labels else "there is no workload")
        elif len(subjects) > 1:
            subjects = await told_once(found, query.namespace, subjects)
        for subject in subjects:
            one = evolve(query, subject=subject)
            if query.follow and len(subjects) > 1:
                nursery.start_soon(_show, source, one, form, wish)
            else:
                await _show(source, one, form, wish)


@frozen
class _Source:
    """Who has the output.

    Attributes:
        place: Where that is.
        found: An owner or a server, or else the directory.
        patience: Waits for who is followed, on behalf of all that is shown; None where nobody is.
    """

    place: Place
    found: HttpControl | Ownership
    patience: Patience | None


async def _show(source: _Source, query: LogQuery, form: LogForm, wish: Wish) -> None:
    seen = False
    taker: Callable[[LogRecord], None]
    end: Callable[[], None]

    def take(record: LogRecord) -> None:
        nonlocal seen
        seen = True
        taker(record)

    if form == "jsonl":
        # There each line has its time in a field of its own.
        wish, taker, end = evolve(wish, timestamps=False), partial(_print_record, query), _nothing
    else:
        naming = await naming_of(source.found, query)
        printer = RecordPrinter(print_lines, naming.with_container, naming.epochs)
        taker, end = printer.take, printer.end
    try:
        if wish.is_everything:
            async with _records(source, query) as records:
                async for record in records:
                    take(record)
        else:
            await show_lines(partial(_records, source), query, wish, take)
    finally:
        end()
    if query.previous and not seen:
        note(f"{query.subject}: nothing was written by an attempt before the latest one")


def _nothing() -> None:
    pass


def _print_record(query: LogQuery, record: LogRecord) -> None:
    print(record_line(record), flush=query.follow)


@asynccontextmanager
async def _records(source: _Source, query: LogQuery) -> AsyncIterator[AsyncIterator[LogRecord]]:
    found = source.found
    async with AsyncExitStack() as stack:
        if isinstance(found, HttpControl):
            if query.container is not None:
                await check_container(query.container, parse_subject(query.subject), query.namespace, found)
            if query.follow and source.patience is not None:
                from ._following import followed_logs

                following = followed_logs(found, source.place, query, source.patience)
                yield await stack.enter_async_context(aclosing(following))
                return
            yield await stack.enter_async_context(found.logs(query))
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
    printer = RecordPrinter(print_, with_container)
    try:
        async for record in records:
            printer.take(record)
    finally:
        printer.end()


@define
class RecordPrinter:
    """Prints records line by line.

    Attributes:
        print_: Prints lines.
        with_container: Whether the prefix names the container; None: as soon as there is more than one.
        epochs: The instances that there are.
    """

    print_: Print
    with_container: bool | None = None
    epochs: Epochs = field(factory=Epochs)
    _maker: LineMaker = field(factory=LineMaker)
    _containers: set[str] = field(factory=set)

    def take(self, record: LogRecord) -> None:
        """Print the lines that a record completes."""
        self._containers.add(record.container)
        self.epochs.see(record.instance)
        source, lines = self._maker.take(record)
        if lines:
            self.print_(source[3], self.epochs.prefix(source, with_container=self._several()), lines)

    def end(self) -> None:
        """Print what has no end of line."""
        for source, line in self._maker.end():
            self.print_(source[3], self.epochs.prefix(source, with_container=self._several()), (line,))

    def _several(self) -> bool:
        return len(self._containers) > 1 if self.with_container is None else self.with_container
