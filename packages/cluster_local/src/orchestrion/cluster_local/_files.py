"""Reads the small text files in which the kernel tells about itself. What is not there is None."""

from __future__ import annotations

from pathlib import Path


def read_text(path: Path) -> str | None:
    """Return the file's text without white space around it, or None where it can't be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """Return the whole number that the file holds, or None where it holds none, such as "max"."""
    text = read_text(path)
    try:
        return None if text is None else int(text, 0)
    except ValueError:
        return None


def read_fields(path: Path, separator: str | None = None) -> dict[str, str]:
    """Return the lines of the file as name and rest; empty where it can't be read."""
    fields: dict[str, str] = {}
    for line in (read_text(path) or "").splitlines():
        name, *rest = line.split(separator, 1)
        fields[name.strip()] = rest[0].strip() if rest else ""
    return fields


def parse_cpu_list(text: str) -> frozenset[int]:
    """Return the numbers in a kernel's list such as "0-3,8"; empty for an empty text.

    Raises:
        ValueError: It is no such list.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        if part.strip():
            first, _, last = part.partition("-")
            numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)
