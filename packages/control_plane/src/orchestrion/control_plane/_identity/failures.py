"""Why somebody could not be made out."""

from __future__ import annotations

from enum import StrEnum

from orchestrion.shared_types import Unauthenticated


class Reason(StrEnum):
    """What was wrong with what somebody showed; a word for programs."""

    MISSING_HEADER = "MISSING_HEADER"
    INVALID_HEADER = "INVALID_HEADER"
    TIMESTAMP_EXPIRED = "TIMESTAMP_EXPIRED"
    INVALID_SIGNATURE = "INVALID_SIGNATURE"
    REPLAYED = "REPLAYED"
    UNKNOWN_KEY = "UNKNOWN_KEY"
    INVALID_TOKEN = "INVALID_TOKEN"  # noqa: S105 - a word
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105 - a word
    INVALID_CERTIFICATE = "INVALID_CERTIFICATE"
    CERTIFICATE_EXPIRED = "CERTIFICATE_EXPIRED"


class NotProved(Unauthenticated):
    """Somebody showed something that does not prove who they are; nothing was changed.

    Attributes:
        reason: What was wrong.
    """

    code = "not-proved"

    def __init__(self, message: str, /, *, reason: Reason, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.reason = reason
