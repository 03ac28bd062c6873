"""The server's log: lines for people, or JSON for programs; a reader that is late costs lines, not time."""

from __future__ import annotations

import json
import logging
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from logging.handlers import QueueHandler, QueueListener
from typing import Final, TextIO

from orchestrion.control_plane._at_request import at_request

from .access_log import LOGGER as ACCESS_LOGGER

SERVER_LOGGER: Final = "orchestrion.server"
"""What a server says of itself, which is no fault, and worth a line in any case."""

MAX_WAITING: Final = 10_000
"""Lines that wait to be written; those beyond are dropped, and counted."""


class LogForm(StrEnum):
    """How the log is written."""

    TEXT = "text"
    """Lines for people: faults and warnings, and what a server says of itself."""
    JSON = "json"
    """A JSON object each: the same, and one for each request."""


_OF_REQUEST: Final = ("request", "trace_id")
"""What a record has that was made while a request was answered."""


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        text = record.getMessage()
        if record.name == ACCESS_LOGGER:
            return text  # it is JSON already
        fields = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": text,
        }
        for name in _OF_REQUEST:
            if getattr(record, name, ""):
                fields[name] = getattr(record, name)
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields, separators=(",", ":"))


class _Queue(QueueHandler):
    """Hands records to a thread, and drops those that would have to wait too long."""

    dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        # Only here it is known which request it is: what writes it is another thread.
        request = at_request()
        if request is not None:
            record.request, record.trace_id = request.request_id, request.trace_id
        prepared: logging.LogRecord = super().prepare(record)
        return prepared

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1


class _Listener(QueueListener):
    """Writes what waits, also where there is no room left for the word to end."""

    def __init__(self, waiting: queue.Queue[logging.LogRecord | None], target: logging.Handler) -> None:
        super().__init__(waiting, target)
        self._waiting = waiting

    def enqueue_sentinel(self) -> None:
        self._waiting.put(None)  # which the listener takes for its end


@contextmanager
def logging_to(stream: TextIO | None = None, form: LogForm = LogForm.TEXT) -> Iterator[None]:
    """Write what Orchestrion logs, and what libraries warn of, to a stream while inside; a thread does the writing.

    Args:
        stream: Where to; None is standard error.
        form: How. Requests are logged as JSON alone.
    """
    target = logging.StreamHandler(stream if stream is not None else sys.stderr)
    target.setFormatter(
        JsonFormatter() if form is LogForm.JSON else logging.Formatter("%(levelname)s %(name)s: %(message)s")
    )
    waiting = queue.Queue[logging.LogRecord | None](MAX_WAITING)
    own, others = _Queue(waiting), _Queue(waiting)
    others.setLevel(logging.WARNING)
    listener = _Listener(waiting, target)
    ours, access, server = [logging.getLogger(name) for name in ("orchestrion", ACCESS_LOGGER, SERVER_LOGGER)]
    root = logging.getLogger()
    before = ours.propagate, access.level, server.level
    ours.addHandler(own)
    # What is ours does not go on to the root, where it would be written a second time.
    ours.propagate = False
    root.addHandler(others)
    server.setLevel(logging.INFO)
    if form is LogForm.JSON:
        access.setLevel(logging.INFO)
    listener.start()
    try:
        yield
    finally:
        root.removeHandler(others)
        ours.removeHandler(own)
        ours.propagate = before[0]
        access.setLevel(before[1])
        server.setLevel(before[2])
        listener.stop()
        dropped = own.dropped + others.dropped
        if dropped:
            text = f"{dropped} lines of the log were dropped: nobody took them"
            target.handle(
                logging.makeLogRecord(
                    {"name": SERVER_LOGGER, "levelno": logging.WARNING, "levelname": "WARNING", "msg": text}
                )
            )
