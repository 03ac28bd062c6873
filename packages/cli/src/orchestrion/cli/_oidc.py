"""Logins at an issuer of tokens: begun in a browser, written down, and renewed when a token has come to its end."""

from __future__ import annotations

import fcntl
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from attrs import asdict
from orchestrion.control_plane import ApiClient, ServerPeer
from orchestrion.control_plane.oidc import DeviceCode, IssuerAbout, OidcLogin, log_in, renewed
from orchestrion.shared_types import ConfigInvalid, Problem, StateFailure

from . import _contexts
from ._output import note

if TYPE_CHECKING:
    from orchestrion.control_plane.server import OidcConfig


async def new_login(peer: ServerPeer) -> OidcLogin:
    """Log in where a server says that its users do, in a browser anywhere.

    Raises:
        NotFound: The server believes no issuer.
        OrchestrationError: See `log_in`.
    """
    about = IssuerAbout.of((await ApiClient(peer).ask("GET", "/issuer.json")).data)
    return await log_in(about, _tell)


def _tell(code: DeviceCode) -> None:
    note(f"open {code.url} in a browser, and enter {code.code}")
    if code.complete_url:
        note(f"or open {code.complete_url}, where it is entered already, and compare it")


def write_login(name: str, login: OidcLogin, /) -> Path:
    """Write a login down for the user alone, and return where. It blocks."""
    return _contexts.write_private(f"{name}.oidc", json.dumps(asdict(login)).encode() + b"\n")


def token_of(path: Path, /) -> str:
    """Return the token of a login, which is renewed if it has come to its end. It blocks.

    Raises:
        ConfigInvalid: The file can't be used.
        StateFailure: Others can read it, or it can't be written.
        Unauthenticated: The issuer gives no new token.
        NetworkFailure: The issuer can't be reached.
    """
    login = _read(path)
    if not login.is_due(datetime.now(UTC)):
        return login.id_token
    with _alone(path):
        # An issuer may give a new refresh token each time: of two commands, one renews, and the other has it then.
        login = _read(path)
        if login.is_due(datetime.now(UTC)):
            login = trio.run(renewed, login)
            write_login(path.stem, login)
    return login.id_token


def _read(path: Path) -> OidcLogin:
    try:
        data = json.loads(_contexts.read_private(path))
        if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
            raise TypeError
        return OidcLogin(**data)
    except (ValueError, TypeError) as err:
        raise ConfigInvalid((Problem(f"{path} is damaged"),), remedy="`orchestrion login` anew.") from err


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    lock = path.with_name(f"{path.name}.lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as err:
        msg = f"writing {lock} failed: {err.strerror}"
        raise StateFailure(msg, remedy="Make the folder writable, or set XDG_CONFIG_HOME.") from err
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def issuer_config(file: Path | None, typed: Mapping[str, str | None], /) -> OidcConfig | None:
    """Return whose tokens a server is to believe, or None for nobody's. It blocks.

    Args:
        file: A TOML file that says it, or None.
        typed: What was typed besides, by the names in the file; it counts more. None was not typed.

    Raises:
        ConfigInvalid: What there is can't be used.
    """
    given = {name: value for name, value in typed.items() if value is not None}
    if file is None and not given:
        return None
    from orchestrion.control_plane.server import oidc_config_of

    data: dict[str, Any] = {}
    if file is not None:
        try:
            data = tomllib.loads(file.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
            raise ConfigInvalid((Problem(f"can't be read: {err}", file=str(file)),)) from err
        if isinstance(data.get("authority"), str) and data["authority"]:
            data["authority"] = str(file.parent / data["authority"])
    return oidc_config_of({**data, **given})
