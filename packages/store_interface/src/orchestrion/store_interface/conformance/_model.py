"""What a store should hold, as plain lists and dicts of plain values. It shares no code with any store."""

from __future__ import annotations

from dataclasses import dataclass, field

Held = tuple[bytes, int, int, int | None]
"""A value, the revision of its key's creation, that of its last put, and its lease."""

Happened = tuple[str, Held | None]
"""A key, and what it holds after a change; None is a deletion."""


@dataclass
class Model:
    """All states that a store has gone through, whole.

    Attributes:
        states: What was held at each revision.
        changes: What changed at each revision; nothing at 0.
        oldest: The oldest revision that must be kept.
        deadlines: When each lease ends that has not.
        ttls: The length of each lease.
    """

    states: list[dict[str, Held]] = field(default_factory=lambda: [{}])
    changes: list[list[Happened]] = field(default_factory=lambda: [[]])
    oldest: int = 0
    deadlines: dict[int, float] = field(default_factory=dict)
    ttls: dict[int, float] = field(default_factory=dict)

    @property
    def revision(self) -> int:
        """The current revision."""
        return len(self.states) - 1

    @property
    def now(self) -> dict[str, Held]:
        """What is current."""
        return self.states[-1]

    def modified(self, key: str) -> int:
        """Return the revision of a key's last put, 0 where it does not exist."""
        return self.now[key][2] if key in self.now else 0

    def write(self, operations: list[tuple[str, bytes | None, int | None]]) -> int:
        """Do all operations and return the revision: a key, its value or None to delete it, its lease."""
        state = dict(self.now)
        revision = self.revision + 1
        changed: list[Happened] = []
        for key, value, lease in operations:
            if value is not None:
                created = state[key][1] if key in state else revision
                state[key] = (value, created, revision, lease)
                changed.append((key, state[key]))
            elif key in state:
                del state[key]
                changed.append((key, None))
        if changed:
            self.states.append(state)
            self.changes.append(changed)
        return self.revision

    def end_lease(self, lease: int) -> None:
        """End a lease, and its keys with it."""
        if lease in self.deadlines:
            del self.deadlines[lease]
            self.write([(key, None, None) for key in sorted(self.now) if self.now[key][3] == lease])

    def page(
        self, prefix: str, at: int, limit: int | None = None, start_after: str | None = None
    ) -> tuple[list[tuple[str, Held]], bool]:
        """Return what a list should give, and whether there is more."""
        keys = [
            key
            for key in sorted(self.states[at])
            if key.startswith(prefix) and (start_after is None or key > start_after)
        ]
        cut = keys if limit is None else keys[:limit]
        return [(key, self.states[at][key]) for key in cut], len(cut) < len(keys)

    def history(self, prefix: str, since: int) -> list[tuple[int, str, Held | None]]:
        """Return all changes under a prefix after a revision: the revision, the key, what it holds."""
        return [
            (revision, key, held)
            for revision in range(since + 1, self.revision + 1)
            for key, held in self.changes[revision]
            if key.startswith(prefix)
        ]
