"""What an object of a kind that there always is can't say, whatever else there is."""

from __future__ import annotations

from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import (
    LIMIT_RANGE,
    MUTATING_WEBHOOK,
    NAMESPACE,
    PRIORITY_CLASS,
    VALIDATING_WEBHOOK,
    Kind,
)
from orchestrion.control_plane._objects.specs import NamespaceSpec
from orchestrion.control_plane._reach import Reach
from orchestrion.shared_types import ConfigInvalid, Problem, structure

from .hooks import mutating_of, validating_of
from .images import check_policy
from .workload_rules import STANDARD_CLASSES, range_of


def check_form(kind: Kind, document: Document, reach: Reach) -> None:
    """Make sure that an object whose spec fits its kind says what can be.

    Args:
        kind: Its kind.
        document: The object.
        reach: Where webhooks may be.

    Raises:
        ConfigInvalid: It can't be accepted.
    """
    if kind is NAMESPACE:
        check_policy(structure(dict(document.spec), NamespaceSpec).images)
    elif kind is LIMIT_RANGE:
        range_of(document)
    elif kind is PRIORITY_CLASS:
        if document.metadata.name in STANDARD_CLASSES:
            text = f"{document.metadata.name!r} is one of the standard classes, which can't be changed"
            raise ConfigInvalid((Problem(text, path="metadata.name"),), remedy="Choose another name.")
    elif kind is MUTATING_WEBHOOK:
        mutating_of(document, reach=reach)
    elif kind is VALIDATING_WEBHOOK:
        validating_of(document, reach=reach)
