"""The memory of the highest epochs and attempts, which outlives the containers."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

from attrs import define, field
from orchestrion.shared_types import InstanceKey

from ._state_dir import write_durably

KEPT_SLOTS = 20_000

Slot = tuple[str, int]


@define
class _Highest:
    epoch: int
    attempts: dict[str, int] = field(factory=dict)


@define
class EpochMemory:
    """For each slot, the highest epoch asked for, and in it the highest attempt of each container.

    It lives in memory. What the records of containers do not say themselves is appended to a file before the last
    record that says it goes.

    Attributes:
        path: The file.
    """

    path: Path
    _slots: dict[Slot, _Highest] = field(factory=dict, init=False)
    _lines: int = field(default=0, init=False)

    def load(self) -> None:
        """Read the file. A last line that was torn by a crash is left out: its record is still there. It blocks."""
        try:
            text = self.path.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            try:
                workload_id, index, epoch, attempts = json.loads(line)
                noted = [
                    (InstanceKey(workload_id, int(index), int(epoch)), name, int(attempt))
                    for name, attempt in (dict(attempts) or {"": 0}).items()
                ]
            except (ValueError, TypeError, RecursionError):
                continue
            self._lines += 1
            for one in noted:
                self.note(*one)

    def known_epoch(self, instance: InstanceKey) -> int:
        """Return the highest epoch of the instance's slot, or 0."""
        highest = self._slots.get((instance.workload_id, instance.index))
        return 0 if highest is None else highest.epoch

    def known_attempt(self, instance: InstanceKey, name: str) -> int:
        """Return the highest attempt of a container of the instance, or -1."""
        highest = self._slots.get((instance.workload_id, instance.index))
        return -1 if highest is None or highest.epoch != instance.epoch else highest.attempts.get(name, -1)

    def note(self, instance: InstanceKey, name: str, attempt: int) -> None:
        """Remember that a container was asked for."""
        slot = (instance.workload_id, instance.index)
        highest = self._slots.get(slot)
        if highest is None or highest.epoch < instance.epoch:
            highest = self._slots[slot] = _Highest(instance.epoch)
        if highest.epoch == instance.epoch:
            highest.attempts[name] = max(attempt, highest.attempts.get(name, attempt))

    def line_for(self, instance: InstanceKey) -> bytes:
        """Return what is to be appended so that the instance's slot is remembered without its records."""
        slot = (instance.workload_id, instance.index)
        # The slots that were written last are kept longest.
        highest = self._slots[slot] = self._slots.pop(slot)
        return _line(slot, highest)

    def append(self, line: bytes) -> None:
        """Write a line durably. It blocks; one call at a time."""
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            # The line break in front ends a line that a full disk may have torn.
            if os.write(fd, b"\n" + line) <= len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fdatasync(fd)
        finally:
            os.close(fd)
        self._lines += 1

    @property
    def is_large(self) -> bool:
        """Whether the file, or what is in memory, has grown far beyond what has to be kept."""
        repeats = self._lines > 2 * max(KEPT_SLOTS, len(self._slots))
        return repeats or len(self._slots) > 2 * KEPT_SLOTS

    def compacted(self, held: set[Slot]) -> bytes:
        """Give up the oldest slots beyond `KEPT_SLOTS`. Return what the whole file should be.

        Args:
            held: Slots that containers exist of; they are never given up.
        """
        surplus = max(0, len(self._slots) - KEPT_SLOTS)
        for slot in [slot for slot in self._slots if slot not in held][:surplus]:
            del self._slots[slot]
        return b"".join(_line(slot, highest) for slot, highest in self._slots.items())

    def rewrite(self, data: bytes) -> None:
        """Replace the file durably. It blocks; one call at a time."""
        write_durably(self.path, data)
        self._lines = data.count(b"\n")


def _line(slot: Slot, highest: _Highest) -> bytes:
    return json.dumps([*slot, highest.epoch, highest.attempts], separators=(",", ":")).encode() + b"\n"
