"""The files that pages are made with: compressed once, and kept by browsers until they change."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from attrs import frozen

FOLDER: Final = Path(__file__).parent / "static"

_MEDIA_TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


@frozen
class Asset:
    """A file.

    Attributes:
        media_type: What it is.
        data: It as it is.
        packed: It compressed by gzip.
        etag: Changes when it changes.
    """

    media_type: str
    data: bytes
    packed: bytes
    etag: str


@cache
def assets() -> Mapping[str, Asset]:
    """Return all files by their paths. It reads them when it is first called, which takes some 20 ms."""
    found = dict[str, Asset]()
    for path in sorted(FOLDER.rglob("*")):
        media_type = _MEDIA_TYPES.get(path.suffix)
        if media_type is not None:
            data = path.read_bytes()
            etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
            found[path.relative_to(FOLDER).as_posix()] = Asset(media_type, data, gzip.compress(data, 9, mtime=0), etag)
    return found


@cache
def version() -> str:
    """Return a word that changes when any file changes; it is part of their addresses."""
    return hashlib.sha256("".join(asset.etag for asset in assets().values()).encode()).hexdigest()[:12]
