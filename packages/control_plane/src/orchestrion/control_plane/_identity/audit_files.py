"""Reading the audit log: where it ends, and whether it is what was written. All of it blocks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen
from orchestrion.shared_types import StateFailure

from .audit_records import TORN_MARK, Head, head_before, next_head

_NAME = re.compile(r"([0-9]{4,})\.jsonl")
_LOSS: Final = b',"via":"server","verb":"verify","resource":"audit",'
"""What only a record has that says that others were taken from the log."""

_TAIL_BYTES: Final = 1_048_576
"""Longer than any two lines: fields are limited, and escapes make them six times as long at most."""


@frozen
class BrokenRecord:
    """The first place where a log is not what was written.

    Attributes:
        file: The file's name.
        line: From 1.
        sequence: The number of the record that should be there.
        why: What is wrong, for people.
    """

    file: str
    line: int
    sequence: int
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: record {self.sequence}: {self.why}"


@frozen
class AuditCheck:
    """What a look at a log has found.

    Attributes:
        records: How many records are right, up to the first that is not.
        torn: How many of them are remains of records that a crash has torn, completed by a marker.
        first: The number of the first record; above 1 where older files were put away. 0 of an empty log.
        head: The last record that is right.
        unfinished: Whether the last line is torn and not completed yet; the next start of the server does it.
        broken: The first place that is wrong, or None.
        told: What the log itself says was taken from it, of the last time that a server found that; or empty.
    """

    records: int
    torn: int
    first: int
    head: Head
    unfinished: bool
    broken: BrokenRecord | None
    told: str = ""


def file_name(number: int, /) -> str:
    """Return the name of the n-th file."""
    return f"{number:04}.jsonl"


def audit_files(directory: Path, /) -> list[tuple[int, Path]]:
    """Return the files of a log with their numbers, in order; none where there is no directory."""
    if not directory.is_dir():
        return []
    return sorted((int(match[1]), path) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name)))


def last_head(files: Sequence[tuple[int, Path]], /) -> tuple[Head, bytes | None]:
    """Return the last record of a log, and what is left behind it of a line without an end.

    Returns:
        The last record. And None where the last file ends with its line break; empty where nothing but that is missing;
        else what the last line has.

    Raises:
        StateFailure: The last line that has an end is no record.
    """
    remains: bytes | None = None
    for _, path in reversed(files):
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            *lines, rest = file.read().split(b"\n")
        if rest:
            remains = rest
        if lines:
            try:
                head, _ = next_head(lines[-1], head_before(lines[-1]))
            except ValueError as err:
                raise _damaged(path) from err
        elif rest and len(rest) == size:
            # The first line of the file may have all but its end; otherwise the last record is in the file before.
            try:
                return _complete(rest, head_before(rest))
            except ValueError:
                continue
        elif rest:
            raise _damaged(path)
        else:
            continue
        return _complete(remains, head) if remains is not None else (head, None)
    return Head(), remains


def _complete(rest: bytes, head: Head) -> tuple[Head, bytes]:
    """Take over a last line that lacks nothing but its end."""
    try:
        return next_head(rest, head)[0], b""
    except ValueError:
        return head, rest


def last_records(directory: Path, count: int, /) -> list[bytes]:
    """Return the last lines of a log, oldest first: its records, and what marks where one was torn.

    None of them is looked at: whether they are what was written, `verify_audit` says. It blocks.

    Args:
        directory: Where the log is; where there is none, there are no records.
        count: How many at most, >= 1; fewer where they are very long.

    Raises:
        OSError: A file can't be read.
    """
    found = list[bytes]()
    for _, path in reversed(audit_files(directory)):
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().split(b"\n")
        # Where it does not begin at the beginning, the first line may be the end of one.
        found = [*(line for line in lines[int(size > _TAIL_BYTES) :] if line), *found]
        if len(found) >= count or size > _TAIL_BYTES:
            break
    return found[-count:]


def find_record(files: Sequence[tuple[int, Path]], sequence: int, /) -> Head | None:
    """Return a record of a log by its number; None where it is not there, or is none any longer.

    The one before the first that is there is known by that one. The newest file is looked at first.

    Raises:
        StateFailure: A file can't be read.
    """
    mark = b'{"seq":%d,' % sequence
    try:
        for _, path in reversed(files):
            data = path.read_bytes()
            if not data:
                continue
            at = data.rfind(mark)
            if at >= 0:
                line = data[data.rfind(b"\n", 0, at) + 1 :].partition(b"\n")[0]
                return next_head(line, head_before(line))[0]
            before = head_before(data.partition(b"\n")[0])
            if before.sequence <= sequence:
                return before if before.sequence == sequence else None
    except ValueError:
        return None
    except OSError as err:
        msg = f"reading the audit log failed: {err.strerror}"
        raise StateFailure(msg, remedy="make it readable for the server") from err
    return None


def verify_audit(directory: Path, /, *, head: Head | None = None, archive: Path | None = None) -> AuditCheck:
    """Look at all records of a log, and find the first that is not what was written.

    A record that was changed, moved, put in or taken out is found, unless all that follows was made anew as well, or it
    was taken from the end: `head` finds that, too.

    Args:
        directory: Where the log is.
        head: A last record that was seen before, kept where who can write to the log can't.
        archive: Where older files of it were put; what is in both places is read in the log's own.

    Raises:
        StateFailure: It can't be read.
    """
    files = audit_files(directory)
    if archive is not None:
        files = sorted({**dict(audit_files(archive)), **dict(files)}.items())
    at, first, records, torn, seen = Head(), 0, 0, 0, head is None or head.sequence == 0
    unfinished, broken, told = False, None, ""
    try:
        for position, (number, path) in enumerate(files):
            if position and number != files[position - 1][0] + 1:
                missing = file_name(files[position - 1][0] + 1)
                broken = BrokenRecord(path.name, 1, at.sequence + 1, f"the file {missing} is missing")
            for line_number, (line, ended) in enumerate(_lines(path), 1):
                if broken is not None:
                    break
                if not ended:
                    unfinished = position == len(files) - 1
                    if not unfinished:
                        broken = BrokenRecord(path.name, line_number, at.sequence + 1, "it has no end")
                    break
                try:
                    if not records and number > 1:
                        at = head_before(line)
                        seen = seen or (head is not None and head.sequence <= at.sequence)
                    at, was_torn = next_head(line, at)
                except ValueError as err:
                    broken = BrokenRecord(path.name, line_number, at.sequence + 1, str(err))
                    break
                first = first or at.sequence
                records += 1
                if _LOSS in line:
                    told = f"record {at.sequence}: {json.loads(line.rpartition(TORN_MARK)[2])['reason']}"
                torn += was_torn
                if head is not None and at.sequence == head.sequence:
                    seen = True
                    if at.hash != head.hash:
                        broken = BrokenRecord(path.name, line_number, at.sequence, "it is not the one that was there")
            if broken is not None:
                break
    except OSError as err:
        msg = f"reading the audit log in {directory} failed: {err.strerror}"
        raise StateFailure(msg, remedy="make it readable for who verifies it") from err
    if broken is None and not seen and head is not None:
        name = files[-1][1].name if files else file_name(1)
        why = f"the log ends here, and had {head.sequence} records before"
        broken = BrokenRecord(name, records + 1, at.sequence + 1, why)
    return AuditCheck(records, torn, first, at, unfinished, broken, told)


def _lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Give the lines of a file without their ends, and whether they have one."""
    with path.open("rb") as file:
        for line in file:
            yield (line[:-1], True) if line.endswith(b"\n") else (line, False)


def _damaged(path: Path) -> StateFailure:
    msg = f"the last record of {path} is damaged"
    return StateFailure(msg, remedy="verify the log, find out what happened, and move its directory away to begin anew")
