"""The servers that a user knows: where each is, by what it is known, and by what the user is known there."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, fields, frozen
from orchestrion.control_plane import SecretText, ServerPeer, bearer, signed_with
from orchestrion.shared_types import ConfigInvalid, NotFound, Problem, StateFailure, Unauthenticated

from ._output import note, warn
from ._where import CONTEXTS_FILE, settings_folder

LOCAL: Final = "local"
"""What is said for "no context": the state directory."""

COMMAND_SECONDS: Final = 60.0
"""How long a command may take that prints a token; it may ask its user for something."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _as_words(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(words)


@frozen(kw_only=True)
class Context:
    """A server, as a user knows it.

    Attributes:
        name: What the user calls it.
        url: Where it is.
        authority: A file with the certificate of who signs the server's; empty trusts whom the system trusts.
        fingerprint: That certificate's, as it was compared at the login.
        server_name: What the server's certificate has to be for; empty is the URL's host.
        token_file: A file with a token; empty is none.
        token_command: A program with its arguments that prints a token; empty is none.
        key_file: A file with an Ed25519 key, which signs requests; empty is none.
        oidc_file: A file with what an issuer of tokens has given; empty is none.
        certificate_file: A file with a certificate and its key, which proves who connects; empty is none.
        namespace: Where commands act that are told no namespace; empty is "default".
    """

    name: str
    url: str
    authority: str = ""
    fingerprint: str = ""
    server_name: str = ""
    token_file: str = ""
    token_command: tuple[str, ...] = field(default=(), converter=_as_words)
    key_file: str = ""
    oidc_file: str = ""
    certificate_file: str = ""
    namespace: str = ""

    def peer(self, token: str = "") -> ServerPeer:
        """Return the server, as who the user is there. It blocks, and may run the context's command.

        Args:
            token: What to show instead of what the context names; empty is that.

        Raises:
            ConfigInvalid: A file or what a command prints can't be used.
            StateFailure: Others can read a file that should be the user's alone.
            Unauthenticated: The issuer of tokens gives no new one, or the certificate has come to its end.
            NetworkFailure: The issuer of tokens can't be reached, and a new one is due.
        """
        authority = _read(Path(self.authority), private=False) if self.authority else b""
        peer = ServerPeer(url=self.url, authority=authority, server_name=self.server_name, warned=warn, noted=note)
        if self.key_file and not token:
            return evolve(peer, credentials=signed_with(read_private(Path(self.key_file))))
        if self.certificate_file and not token:
            return evolve(peer, certificate=_good_certificate(Path(self.certificate_file)))
        token = checked_token(token, "ORCHESTRION_TOKEN") if token else self._token()
        return evolve(peer, credentials=bearer(SecretText(token))) if token else peer

    def _token(self) -> str:
        if self.token_command:
            return _printed(self.token_command)
        if self.oidc_file:
            from ._oidc import token_of

            return checked_token(token_of(Path(self.oidc_file)), self.oidc_file)
        if not self.token_file:
            return ""
        return checked_token(read_private(Path(self.token_file)).decode(errors="replace"), self.token_file)


@frozen
class Contexts:
    """All contexts of a user.

    Attributes:
        known: By name.
        current: Which one commands are about that name none; empty is the state directory.
    """

    known: Mapping[str, Context] = field(factory=dict)
    current: str = ""

    def get(self, name: str, /) -> Context:
        """Return a context.

        Raises:
            NotFound: There is none of that name.
        """
        if name not in self.known:
            there = ", ".join(sorted(self.known)) or "none yet"
            raise NotFound(
                f"there is no context {name!r}; there are: {there}", remedy="`orchestrion login URL` makes one."
            )
        return self.known[name]

    def with_one(self, context: Context, /) -> Contexts:
        """Return them with one more, or with one replaced, as the current one."""
        return Contexts({**self.known, context.name: context}, context.name)

    def without(self, name: str, /) -> Contexts:
        """Return them without one."""
        self.get(name)
        return Contexts(
            {key: one for key, one in self.known.items() if key != name}, "" if self.current == name else self.current
        )

    def using(self, name: str, /) -> Contexts:
        """Return them with another current one; `LOCAL` is none."""
        return evolve(self, current="" if name == LOCAL else self.get(name).name)


def check_name(name: str, /) -> None:
    """Make sure that a context can be called that.

    Raises:
        ConfigInvalid: It can't.
    """
    if name == LOCAL or not _NAME.fullmatch(name):
        problem = Problem(
            f"{name!r:.100} can't be the name of a context: letters, digits, '.', '_', '-', not {LOCAL!r}"
        )
        raise ConfigInvalid((problem,))


def load() -> Contexts:
    """Return what contexts there are. It blocks.

    Raises:
        ConfigInvalid: The file says something that can't be understood.
        StateFailure: It can't be read, or others can write it.
    """
    path = settings_folder() / CONTEXTS_FILE
    try:
        found = path.stat()
        text = path.read_text()
    except FileNotFoundError:
        return Contexts()
    except (OSError, UnicodeDecodeError) as err:
        raise StateFailure(f"reading {path} failed: {err}", remedy="Mend or remove it.") from err
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or found.st_uid not in (0, os.geteuid()):
        msg = f"others can write {path}, and so decide which programs run as you"
        raise StateFailure(msg, remedy=f"Look what is in it, then: chmod 600 {path}")
    try:
        document = tomllib.loads(text)
        known = {name: _context(name, data) for name, data in document.get("contexts", {}).items()}
    except (tomllib.TOMLDecodeError, TypeError, AttributeError) as err:
        raise ConfigInvalid((Problem(str(err), file=str(path)),), remedy="Mend or remove it.") from err
    current = document.get("current", "")
    return Contexts(known, current if current in known else "")


def _context(name: str, data: Mapping[str, Any]) -> Context:
    wrong = [key for key, value in data.items() if not isinstance(value, list if key == "token_command" else str)]
    if wrong:
        msg = f"contexts.{name}.{wrong[0]} is not what it should be"
        raise TypeError(msg)
    return Context(name=name, **data)


def save(contexts: Contexts, /) -> None:
    """Write down what contexts there are. It blocks.

    Raises:
        StateFailure: They can't be written.
    """
    lines = [f"current = {json.dumps(contexts.current)}"]
    for name in sorted(contexts.known):
        lines += ["", f"[contexts.{json.dumps(name)}]"]
        for one in fields(Context):
            value = getattr(contexts.known[name], one.name)
            if value and one.name != "name":
                lines.append(f"{one.name} = {json.dumps(list(value) if isinstance(value, tuple) else value)}")
    write_private(CONTEXTS_FILE, "\n".join(lines).encode() + b"\n")


def write_private(name: str, data: bytes, /) -> Path:
    """Write a file among a user's contexts that nobody else can read, and return where it is. It blocks.

    Raises:
        StateFailure: It can't be written.
    """
    path = settings_folder() / name
    draft = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as err:
        msg = f"writing {path} failed: {err.strerror}"
        raise StateFailure(msg, remedy="Make the folder writable, or set XDG_CONFIG_HOME.") from err
    return path


def _good_certificate(path: Path) -> bytes:
    # Imported here: who shows tokens, as most do, never needs what takes so long.
    from orchestrion.control_plane.certificates import end_of

    data = read_private(path)
    try:
        end = end_of(data)
    except ConfigInvalid as err:
        problem = Problem(f"{path} has no certificate in PEM")
        raise ConfigInvalid((problem,), remedy="`orchestrion certificate create` gets one.") from err
    if end <= datetime.now(UTC):
        msg = f"the certificate in {path} was good until {end.isoformat()}"
        raise Unauthenticated(msg, remedy="Get another one into that file: orchestrion certificate create --file")
    return data


def from_environment() -> Context | None:
    """Return the server that the environment names, or None where it names none."""
    url = os.environ.get("ORCHESTRION_URL", "")
    if not url:
        return None
    return Context(name="ORCHESTRION_URL", url=url, authority=os.environ.get("ORCHESTRION_AUTHORITY", ""))


def checked_token(text: str, where: str, /) -> str:
    """Return a token, without the white space around it.

    Raises:
        ConfigInvalid: It is none.
    """
    token = text.strip()
    if (
        not token
        or not token.isascii()
        or any(character.isspace() or not character.isprintable() for character in token)
    ):
        raise ConfigInvalid(
            (Problem(f"what {where} gives is no token"),), remedy="A token is one line, such as orc_..."
        )
    return token


def _printed(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=COMMAND_SECONDS)
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired) as err:
        problem = Problem(f"the command {command[0]!r}, which is to print a token, {_how_it_failed(err)}")
        raise ConfigInvalid((problem,), remedy="Try it by hand, or `orchestrion login` anew.") from err
    return checked_token(done.stdout.decode(errors="replace"), f"the command {command[0]!r}")


def _how_it_failed(error: OSError | subprocess.CalledProcessError | subprocess.TimeoutExpired) -> str:
    match error:
        case subprocess.TimeoutExpired():
            return f"did not end within {error.timeout:g} s"
        case subprocess.CalledProcessError() if error.returncode < 0:
            return f"was ended by signal {-error.returncode}"
        case subprocess.CalledProcessError():
            return f"ended with {error.returncode}"
        case _:
            return f"can't be run: {error.strerror or error}"


def read_private(path: Path, /) -> bytes:
    """Return what a file of the user's holds. It blocks.

    Raises:
        ConfigInvalid: It can't be read.
        StateFailure: Others than the user can read or write it.
    """
    return _read(path, private=True)


def _read(path: Path, *, private: bool) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read()
    except OSError as err:
        raise ConfigInvalid(
            (Problem(f"{path} can't be read: {err.strerror}"),), remedy="`orchestrion login` anew."
        ) from err
    if private and mode & (stat.S_IRWXG | stat.S_IRWXO):
        msg = f"others than you can read or write {path} (mode {stat.S_IMODE(mode):o})"
        raise StateFailure(msg, remedy=f"Revoke what it holds if somebody may have seen it, then: chmod 600 {path}")
    return data
