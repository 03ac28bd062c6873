"""What goes over the wire besides the values of the core: request bodies, stream lines, exec messages.

A stream is a sequence of lines, each a JSON object with one key: `item` (a value), `error` (a problem document, the
last line) or `end` (the last line of a stream that came to its end). A stream without a last line was cut off.

Exec is a WebSocket. The client's first message is an `ExecRequest`; the answer is a text message with `started` or
`error`. Then binary messages carry standard input to the command, and output back, behind one byte that names the
stream; the client's text message `stdin` closes the input. The last message is a text with `exit` or `error`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from attrs import field, frozen, validators
from orchestrion.runtime_interface import LogStream
from orchestrion.shared_types import DEFAULT_NAMESPACE, WorkloadDefinition

STREAM_MEDIA_TYPE: Final = "application/x-ndjson"

OUTPUT_MARKS: Final = {LogStream.STDOUT: b"\x01", LogStream.STDERR: b"\x02"}

MAX_BODY_BYTES: Final = 64 * 1024 * 1024
"""The largest request: a manifest of the largest size, with room for how definitions are written out."""


@frozen(kw_only=True)
class WorkloadsRequest:
    """The body of apply and plan."""

    workloads: tuple[WorkloadDefinition, ...]


@frozen(kw_only=True)
class ScaleRequest:
    """The body of scale; None goes back to the file's number."""

    replicas: int | None


@frozen(kw_only=True)
class EventsQuery:
    """The parameters of events."""

    namespace: str | None = None
    subject: str | None = None
    since: datetime | None = None
    limit: int = field(default=1000, validator=validators.ge(1))


@frozen(kw_only=True)
class ExecRequest:
    """The first message of exec."""

    instance: str
    command: tuple[str, ...]
    namespace: str = DEFAULT_NAMESPACE
    container: str | None = None
