"""`login`, `logout` and `context`: the servers that a user knows."""

from __future__ import annotations

import base64
import binascii
import getpass
import hashlib
import re
import shlex
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import trio
from attrs import evolve, frozen
from orchestrion.control_plane import ApiClient, ServerPeer
from orchestrion.shared_types import (
    ConfigInvalid,
    Conflict,
    Denied,
    NetworkFailure,
    NotFound,
    Problem,
)

from . import _contexts
from ._access import WHO
from ._complaints import why_unread
from ._contexts import Context, Contexts
from ._output import Form, coloured, columns, confirmed, note, show
from ._running import run_async
from ._where import settings_folder

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")


@frozen(kw_only=True)
class Login:
    """What was typed; see the command."""

    url: str
    name: str | None
    token_file: Path | None
    token_command: str | None
    key_file: Path | None
    oidc: bool
    certificate: Path | None
    authority: Path | None
    fingerprint: str | None
    system_trust: bool
    server_name: str
    namespace: str
    yes: bool
    replace: bool = False


def run_login(login: Login) -> int:
    """Get to know a server, and be known to it."""
    proofs = (login.token_file, login.token_command, login.key_file, login.certificate, login.oidc or None)
    if sum(one is not None for one in proofs) > 1:
        problem = Problem(
            "only one of --token-file, --token-command, --key-file, --certificate and --oidc can be given"
        )
        raise ConfigInvalid((problem,))
    url = login.url.rstrip("/")
    if login.certificate is not None and not url.startswith("https:"):
        raise ConfigInvalid((Problem("a certificate is shown where TLS is spoken, at an https:// URL"),))
    ServerPeer(url=url)  # what is no URL is told before anything else
    command = () if login.token_command is None else _words_of(login.token_command)
    contexts = _contexts.load()
    name = _name_for(url, login, contexts)
    context = Context(name=name, url=url, server_name=login.server_name, namespace=login.namespace)
    if login.authority is not None:
        context = evolve(context, authority=str(login.authority.absolute()))
    elif url.startswith("https:") and not login.system_trust:
        certificate, fingerprint = run_async(_authority, context)
        if not _is_trusted(url, fingerprint, login):
            note("nothing was written down")
            return 2
        path = _contexts.write_private(f"{name}.crt", certificate)
        context = evolve(context, authority=str(path), fingerprint=fingerprint)
    context = _with_proof(context, login, command)
    who = run_async(_who, context)
    _contexts.save(contexts.with_one(context))
    note(f"known at {url} as {who}; commands are about {name!r} from now on")
    note("`orchestrion context use local` goes back to the state directory")
    return 0


def _name_for(url: str, login: Login, contexts: Contexts) -> str:
    """Return what a server is called: as was typed, or its host, with the port where another address has that name.

    Raises:
        ConfigInvalid: A context can't be called that.
        Conflict: Another address has the name.
    """
    parts = urlsplit(url)
    name = login.name or (parts.hostname or "").replace(":", "-")
    if login.name is None and not login.replace and _is_of_another(name, url, contexts):
        name = f"{name}-{parts.port or (443 if parts.scheme == 'https' else 80)}"
    _contexts.check_name(name)
    if _is_of_another(name, url, contexts) and not login.replace:
        msg = f"{name!r} is the server at {contexts.known[name].url} already"
        raise Conflict(msg, remedy="Say another --name, or --replace to forget that server.")
    return name


def _is_of_another(name: str, url: str, contexts: Contexts) -> bool:
    return name in contexts.known and contexts.known[name].url != url


def _is_trusted(url: str, fingerprint: str, login: Login) -> bool:
    if login.fingerprint is not None:
        wanted = login.fingerprint.lower().removeprefix("sha256:").replace(":", "")
        if wanted != fingerprint.removeprefix("sha256:"):
            msg = f"the authority of {url} has the fingerprint {fingerprint}, which is not the one that was given"
            raise Denied(msg, remedy="Somebody else may be answering. Ask who runs the server.")
        return True
    note(f"the authority of {url} has the fingerprint")
    note(f"    {fingerprint}")
    if login.yes:
        return True
    note("`orchestrion server` tells it when it begins: compare the two")
    return confirmed(
        instead="Say --fingerprint with what the server told when it began; --yes trusts whoever answers, unseen."
    )


def _words_of(command: str) -> tuple[str, ...]:
    """Return a command that prints a token as its program and what that is given.

    Raises:
        ConfigInvalid: It is none.
    """
    try:
        words = tuple(shlex.split(command))
    except ValueError:
        words = ()
    if not words:
        problem = Problem(f"{command!r:.100} is no command that could print a token")
        raise ConfigInvalid((problem,), remedy="Close each quote, as in: --token-command 'pass show orchestrion'")
    return words


def _with_proof(context: Context, login: Login, command: tuple[str, ...]) -> Context:
    if login.key_file is not None:
        return evolve(context, key_file=str(login.key_file.absolute()))
    if login.certificate is not None:
        return evolve(context, certificate_file=str(login.certificate.absolute()))
    if login.oidc:
        return evolve(context, oidc_file=str(run_async(_at_issuer, context)))
    if command:
        return evolve(context, token_command=command)
    token = _contexts.checked_token(_given_token(login), "the input")
    return evolve(context, token_file=str(_contexts.write_private(f"{context.name}.token", token.encode() + b"\n")))


async def _at_issuer(context: Context) -> Path:
    from ._oidc import new_login, write_login

    peer = await trio.to_thread.run_sync(context.peer)
    return write_login(context.name, await new_login(peer))


def _given_token(login: Login) -> str:
    if login.token_file is None:
        if not sys.stdin.isatty():
            problem = Problem("there is no terminal to ask for a token on")
            raise ConfigInvalid((problem,), remedy="Name a file with --token-file, or - for stdin.")
        return getpass.getpass("token: ", sys.stderr)
    try:
        return sys.stdin.read() if login.token_file == Path("/dev/stdin") else login.token_file.read_text()
    except (OSError, UnicodeDecodeError) as err:
        problem = Problem(f"{login.token_file} can't be read: {why_unread(err)}")
        raise ConfigInvalid((problem,), remedy="Name another file with --token-file, or - for stdin.") from err


async def _authority(context: Context) -> tuple[bytes, str]:
    """Return a server's own authority, and its fingerprint. Nothing is sent that is nobody else's to know."""
    peer = _Unproved(url=context.url, server_name=context.server_name)
    try:
        reply = await ApiClient(peer).ask("GET", "/authority.crt", may_be_text=True)
    except NotFound as err:
        msg = f"the server at {context.url} tells no authority of its own"
        remedy = "Where it has a certificate of a public one: --system-trust; of another one: --authority FILE"
        raise NetworkFailure(msg, remedy=remedy) from err
    data = str(reply.data).encode()
    found = _PEM.fullmatch(data.strip())
    try:
        der = base64.b64decode(b"".join(found[1].split()), validate=True) if found is not None else b""
    except (binascii.Error, ValueError):
        der = b""
    if not der:
        raise NetworkFailure(f"what {context.url} gives as its authority is no certificate")
    return data, f"sha256:{hashlib.sha256(der).hexdigest()}"


@frozen(kw_only=True)
class _Unproved(ServerPeer):
    """A server that has not proved yet who it is: all that it is asked for is by what it would."""

    async def secure(self, stream: trio.SocketStream, name: str) -> trio.abc.Stream:
        """Speak TLS with whoever it is."""
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return await self.shake_hands(stream, context, name)


async def _who(context: Context) -> str:
    """Return as who the user is known, by the proof that is written down.

    Raises:
        Unauthenticated: The proof is not good.
    """
    peer = await trio.to_thread.run_sync(context.peer)
    data: Any = (await ApiClient(peer).ask("GET", "/api/v1/whoami", expects=WHO)).data
    return f"{data['kind']} {data['name']}"


def run_logout(name: str | None) -> int:
    """Forget a server."""
    contexts = _contexts.load()
    wanted = name or contexts.current
    if not wanted:
        raise NotFound("no server is the current one", remedy="`orchestrion context ls` shows those there are.")
    context = contexts.get(wanted)
    _contexts.save(contexts.without(wanted))
    own = settings_folder()
    for text in (context.authority, context.token_file, context.oidc_file):
        path = Path(text)
        if text and path.parent == own and path.stem == context.name:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    note(f"{wanted}: forgotten")
    return 0


def run_context_use(name: str) -> int:
    """Say which server commands are about."""
    contexts = _contexts.load().using(name)
    _contexts.save(contexts)
    note(f"commands are about {name!r} from now on")
    return 0


@frozen(kw_only=True)
class ShownContext:
    """A server that is known, as it is shown."""

    name: str
    url: str
    namespace: str
    proof: str
    fingerprint: str
    current: bool


def run_context_list(form: Form) -> int:
    """Print the servers that are known."""
    contexts = _contexts.load()
    shown = [
        ShownContext(
            name=one.name,
            url=one.url,
            namespace=one.namespace,
            proof=_proof(one),
            fingerprint=one.fingerprint,
            current=name == contexts.current,
        )
        for name, one in sorted(contexts.known.items())
    ]
    show(shown, form, table=lambda items: columns(_context_rows(items)), name=lambda one: one.name)
    if not shown:
        note("no server is known; `orchestrion login URL` changes that")
    return 0


def _proof(context: Context) -> str:
    if context.key_file:
        return "key"
    if context.certificate_file:
        return "certificate"
    if context.token_command:
        return "command"
    if context.oidc_file:
        return "oidc"
    return "token" if context.token_file else ""


def _context_rows(items: Any) -> list[tuple[str, ...]]:
    rows = [tuple(coloured(title, "dim") for title in ("", "NAME", "URL", "NAMESPACE", "BY"))] if items else []
    return rows + [("*" if one.current else "", one.name, one.url, one.namespace, one.proof) for one in items]
