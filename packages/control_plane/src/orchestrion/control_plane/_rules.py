"""Whether anything has a say in what changes a state directory, or takes it down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from orchestrion.store_interface import Entry, StateStore

AUDIT_FOLDER: Final = "audit"
"""Where the audit log is, in the server's directory."""

SAYING: Final = (
    "namespaces",
    "resourcequotas",
    "limitranges",
    "priorityclasses",
    "mutatingwebhooks",
    "validatingwebhooks",
)
"""Kinds of objects that have a say in what becomes of workloads."""

_FIELDS: Final = "/fields/"
"""What the keys begin with of whose word the fields of workloads are."""

_ALWAYS_THERE: Final = "/object/namespaces/-/default"


def has_audit_log(state_dir: Path) -> bool:
    """Whether a server has put down there what was done. It blocks, for no longer than a look at a directory."""
    return (state_dir / AUDIT_FOLDER).is_dir()


async def has_rules(store: StateStore, state_dir: Path, /) -> bool:
    """Whether changes of workloads have anything to pass, or are to be put down.

    Where they have not, whoever owns the directory can do without the server that would look after that.

    Args:
        store: The directory's.
        state_dir: The server's own directory, which need not be there.

    Raises:
        OrchestrationError: The store can't be read.
    """
    if has_audit_log(state_dir):
        return True
    for prefix in (_FIELDS, *(f"/object/{plural}/" for plural in SAYING)):
        listed = await store.list(prefix, limit=2)  # one of them may say nothing
        if not all(map(_says_nothing, listed.entries)):
            return True
    return False


def _says_nothing(entry: Entry) -> bool:
    """Whether it is the namespace that every server makes, as it makes it."""
    return entry.key == _ALWAYS_THERE and not json.loads(entry.value)["document"].get("spec")
