"""What goes over the wire besides the values of the core: request bodies, stream lines, exec messages.

A stream is a sequence of lines, each a JSON object with one key: `item` (a value), `error` (a problem document, the
last line) or `end` (the last line of a stream that came to its end). A stream without a last line was cut off. The
bytes of output are in it as base64, which every client reads, and fast.

Exec is a WebSocket, whose address says in which instance: for that rights are given. The client's first message is an
`ExecRequest`, which can mean no other instance; the answer is a text message with `started` or
`error`. Then binary messages carry standard input to the command, and output back, behind one byte that names the
stream; the client's text message `stdin` closes the input. For a command at a terminal a text with `resize` says how
large the terminal is from then on. The last message is a text with `exit` or `error`.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import evolve, field, frozen, validators
from orchestrion.orchestrator_core import LogRecord
from orchestrion.runtime_interface import LogStream, TerminalSize
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    ConfigInvalid,
    Problem,
    WorkloadDefinition,
    structure_answer,
    to_json,
)

STREAM_MEDIA_TYPE: Final = "application/x-ndjson"

OUTPUT_MARKS: Final = {LogStream.STDOUT: b"\x01", LogStream.STDERR: b"\x02"}

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""The largest request: a manifest of the largest size, with room for how definitions are written out."""

STDIN_CLOSED: Final = "stdin"
"""The text message of exec that closes the command's input."""

MAX_REQUEST_BYTES: Final = 2 * 1024 * 1024
"""The largest request of other kinds: an object of the largest size that is kept, with room for how it is written."""

MAX_QUESTION_BYTES: Final = 64 * 1024
"""The largest request that only says a few words."""


@frozen(kw_only=True)
class WorkloadsRequest:
    """The body of apply and plan."""

    workloads: tuple[WorkloadDefinition, ...]


@frozen(kw_only=True)
class ScaleRequest:
    """The body of scale; None goes back to the file's number."""

    replicas: int | None


@frozen(kw_only=True)
class RetryRequest:
    """The body of retry; without an instance it is about all of the workload."""

    instance: str | None = None


@frozen(kw_only=True)
class EventsQuery:
    """The parameters of events; `types` are words with commas between."""

    namespace: str | None = None
    subject: str | None = None
    since: datetime | None = None
    limit: int = field(default=1000, validator=validators.ge(1))
    types: str = field(default="", validator=validators.matches_re(r"([A-Za-z0-9]{1,63}(,[A-Za-z0-9]{1,63}){0,19})?"))

    @property
    def words(self) -> tuple[str, ...]:
        """The severities and reasons that are wanted; none are all."""
        return tuple(self.types.split(",")) if self.types else ()


@frozen(kw_only=True)
class ExecRequest:
    """The first message of exec; with `terminal` the command is run at one of that size."""

    instance: str
    command: tuple[str, ...]
    namespace: str = DEFAULT_NAMESPACE
    container: str | None = None
    terminal: TerminalSize | None = None


@frozen(kw_only=True)
class ResizeMessage:
    """A text message of exec by which a terminal gets another size."""

    resize: TerminalSize


def record_text(record: LogRecord) -> bytes:
    """Return a piece of output as a JSON text.

    The base64 is put in as it is: to look through it for what JSON has to escape takes longer than all the rest.
    """
    rest = to_json(evolve(record, data=b""))
    return b'%b,"data":"%b"}' % (rest.replace(b',"data":""', b"", 1)[:-1], b64encode(record.data))


def record_of_plain(plain: Any) -> LogRecord:
    """Return the piece of output that plain data stands for.

    Raises:
        ConfigInvalid: It stands for none.
    """
    if not isinstance(plain, Mapping) or not isinstance(plain.get("data"), str):
        raise ConfigInvalid((Problem("this is no piece of output"),))
    try:
        data = b64decode(plain["data"], validate=True)
    except ValueError as err:
        raise ConfigInvalid((Problem("the bytes are no base64", path="data"),)) from err
    return evolve(structure_answer({**plain, "data": ""}, LogRecord), data=data)
