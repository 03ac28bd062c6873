"""What the query and the headers of a request say, checked."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, Final

from litestar import Request
from orchestrion.control_plane._objects.claims import Cascade
from orchestrion.control_plane._service.intent import Intent
from orchestrion.control_plane._service.workload_fields import CONTROL
from orchestrion.control_plane._service.writing import NOBODY
from orchestrion.shared_types import ConfigInvalid, Problem, structure

from .caller import caller_of

MANAGER_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"

AnyRequest = Request[Any, Any, Any]


def flag(request: AnyRequest, name: str) -> bool:
    """Return whether a parameter says `true`.

    Raises:
        ConfigInvalid: It says something else than true or false.
    """
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise ConfigInvalid((Problem(f"true or false is wanted, not {text!r:.80}", path=name),))
    return bool(text == "true")


def number(request: AnyRequest, name: str, default: int) -> int:
    """Return the number that a parameter says.

    Raises:
        ConfigInvalid: It says none.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise ConfigInvalid((Problem(f"a number is wanted, not {text!r:.80}", path=name),))
    return int(text)


_MAX_DIGITS = 18

_CONTENT: Final = re.compile("[0-9a-f]{16}")
"""What an ETag has behind its revision where that does not tell all; see `Item.tag`."""


def moment(request: AnyRequest, name: str, now: datetime) -> datetime | None:
    """Return the time that a parameter says, also as a span such as "10m" or "1h30m" before `now`; None without one.

    Raises:
        ConfigInvalid: It says none.
    """
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        if _SPAN.fullmatch(text):
            return now - timedelta(seconds=sum(int(part[:-1]) * _UNITS[part[-1]] for part in _PART.findall(text)))
        # A plus in an address that was not written as %2B is a space.
        return structure(text.replace(" ", "+"), datetime)
    except (ConfigInvalid, OverflowError) as err:
        problem = Problem(
            f"a time such as 2026-11-22T10:30:00Z, or a span such as 1h30m, is wanted, not {text!r:.80}", name
        )
        raise ConfigInvalid((problem,)) from err


_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

_PART: Final = re.compile("[0-9]{1,9}[smhd]")

_SPAN: Final = re.compile(f"({_PART.pattern}){{1,4}}")

_MANAGER: Final = re.compile(MANAGER_PATTERN)

_OWN_MANAGERS: Final = (CONTROL, NOBODY)

_AS_CONTROL: Final = ("/api/v1/apply", "/api/v1/plan")
"""Where whole files are applied: who does so by a `Control` is the same there, or would be at odds with themselves."""


def intent_of(request: AnyRequest) -> Intent:
    """Return how a change is meant.

    Raises:
        ConfigInvalid: It does not say it in a way that can be read.
    """
    return Intent(
        manager=_manager(request),
        dry_run=flag(request, "dry_run"),
        force=flag(request, "force"),
        if_revision=_if_match(request),
        if_there="if-match" in request.headers,
        if_index=number(request, "if_index", 0) if "if_index" in request.query_params else None,
        principal=caller_of(request),
        cascade=_cascade(request),
    )


def _manager(request: AnyRequest) -> str:
    text: str = request.query_params.get("manager", "api")
    if not _MANAGER.fullmatch(text):
        problem = Problem("1 to 63 letters, digits, dots, lines and underscores are wanted", path="manager")
        raise ConfigInvalid((problem,))
    if text in _OWN_MANAGERS and not (text == CONTROL and request.url.path in _AS_CONTROL):
        raise ConfigInvalid((Problem(f"{text!r} is the server's own", path="manager"),))
    return text


def _cascade(request: AnyRequest) -> Cascade:
    text = request.query_params.get("cascade", Cascade.BACKGROUND.value)
    try:
        return Cascade(text)
    except ValueError as err:
        known = ", ".join(each.value for each in Cascade)
        raise ConfigInvalid((Problem(f"one of {known} is wanted, not {text!r:.80}", path="cascade"),)) from err


def _if_match(request: AnyRequest) -> int | None:
    text = request.headers.get("if-match")
    if text is None or text == "*":
        return None
    # What else is in an ETag tells of how the object is, and a change depends on what was written of it.
    bare, dash, content = text.strip().removeprefix("W/").strip('"').partition("-")
    if not (bare.isascii() and bare.isdecimal() and len(bare) <= _MAX_DIGITS) or bool(dash) != bool(
        _CONTENT.fullmatch(content)
    ):
        problem = Problem(f'the ETag of an object is wanted, such as "12", not {text!r:.80}', path="If-Match")
        raise ConfigInvalid((problem,))
    return int(bare)
