"""Files with objects of any kind, told from manifests of workloads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from orchestrion.shared_types import ConfigInvalid, Problem
from orchestrion.shared_types.manifest import MAX_BYTES, SUFFIXES, PlacedDocument, placed_documents

from ._manifests import STDIN_NAME

_PERHAPS: Final = re.compile(rb"""(?:^|[{,])\s*["']?(?:kind|items)["']?\s*:""", re.MULTILINE)
"""What is in every file with objects. Of workloads some have it too: only those files are read twice."""


def objects_of(path: Path, text: bytes | None) -> list[PlacedDocument] | None:
    """Return the documents of a file or a folder that holds objects, perhaps with manifests; None where it has none.

    Args:
        path: Where it is.
        text: What was read of standard input, where it is that.

    Raises:
        ConfigInvalid: A file with objects can't be understood, or one beside it can't be read.
    """
    files = _texts_of(path, text)
    if not any(source is not None and _PERHAPS.search(source) for _, source in files):
        return None
    try:
        documents = _documents_in(files)
    except ConfigInvalid:
        if any(source is not None and re.search(rb"^(?:kind|items):", source, re.MULTILINE) for _, source in files):
            raise
        return None  # Who loads manifests says the same of it.
    if not any(_is_object(document.data) for document in documents):
        return None
    missing = tuple(Problem("this can't be read", file=name) for name, source in files if source is None)
    if missing:
        raise ConfigInvalid(missing)
    return documents


def documents_of(path: Path, text: bytes | None) -> list[PlacedDocument]:
    """Return the documents of a file or a folder, whatever they hold; the arguments are those of `objects_of`.

    Raises:
        ConfigInvalid: A file can't be understood.
    """
    return _documents_in(_texts_of(path, text))


def all_documents_of(path: Path, text: bytes | None) -> list[PlacedDocument]:
    """Return what `documents_of` does, of what can be read altogether.

    Raises:
        ConfigInvalid: A file can't be read or understood, or nothing is in what there is.
    """
    files = _texts_of(path, text)
    problems = [Problem("this can't be read", file=name) for name, source in files if source is None]
    documents = _documents_in(files)
    if not documents and not problems:
        problems.append(Problem("there is nothing in it", file=STDIN_NAME if text is not None else str(path)))
    if problems:
        raise ConfigInvalid(tuple(problems))
    return documents


def _documents_in(files: Sequence[tuple[str, bytes | None]]) -> list[PlacedDocument]:
    return [
        document for name, source in files if source is not None for document in placed_documents(source, file=name)
    ]


def _texts_of(path: Path, text: bytes | None) -> list[tuple[str, bytes | None]]:
    """Return what is in the files that a path means, by name; None where one can't be read."""
    return [(STDIN_NAME, text)] if text is not None else [(str(one), _text_of(one)) for one in files_of(path)]


def _is_object(document: Any) -> bool:
    return isinstance(document, Mapping) and ("kind" in document or "items" in document)


def files_of(path: Path) -> list[Path]:
    """Return the files with manifests or objects that a path means: itself, or those of the folder that it is."""
    if not path.is_dir():
        return [path]
    return sorted(each for each in path.iterdir() if each.suffix in SUFFIXES and each.is_file())


def _text_of(path: Path) -> bytes | None:
    """Return what is in a file; None where it can't be read, which who loads manifests tells."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError):
        return None
