"""Where an orchestrator is reached, and as whom: at the socket of a state directory, or over the network."""

from __future__ import annotations

import functools
import ipaddress
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit

import trio
from attrs import field, frozen
from orchestrion.shared_types import ConfigInvalid, NetworkFailure, Problem

from ._identity.secret_text import SecretText
from ._socket import address_of, unreachable

CONNECT_SECONDS: Final = 10.0
"""How long making a connection may take, its handshake too."""

_OTHER_NAMES: Final = (62, 64)
"""OpenSSL's codes for a certificate that is good, of another host name or address (X509_V_ERR_..._MISMATCH)."""

_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG")
"""OpenSSL's reasons, of different versions of it, for an answer that is none in TLS."""

_PORTS: Final = {"http": 80, "https": 443}

Credentials = Callable[[str, str, str, bytes, Mapping[str, str]], Mapping[str, str]]
"""From the method, the path, the query, the body and the other headers of a request to those that say who asks."""

Warned = Callable[[str], None]
"""Takes what a server warns of, a text for people."""


class Peer(Protocol):
    """Somewhere that requests are sent to."""

    @property
    def host(self) -> str:
        """What requests call it."""
        ...

    @property
    def credentials(self) -> Credentials:
        """What says who asks."""
        ...

    async def connect(self) -> trio.abc.Stream:
        """Connect to it.

        Raises:
            NetworkFailure: Nobody listens there, or who does is not who it should be.
        """
        ...

    @property
    def warned(self) -> Warned:
        """Takes each warning that comes with an answer."""
        ...

    def unreachable(self) -> NetworkFailure:
        """Return what to say where nobody answers, or where an answer is cut off."""
        ...


def unheard(_text: str, /) -> None:
    """Pass a warning over."""


def nobody(_method: str, _path: str, _query: str, _body: bytes, _headers: Mapping[str, str], /) -> Mapping[str, str]:
    """Say nothing of who asks."""
    return {}


def bearer(token: SecretText, /) -> Credentials:
    """Return what shows a token."""

    def headers(_method: str, _path: str, _query: str, _body: bytes, _headers: Mapping[str, str]) -> Mapping[str, str]:
        return {"authorization": f"Bearer {token.reveal()}"}

    return headers


def signed_with(key: bytes, /) -> Credentials:
    """Return what signs each request.

    Args:
        key: An Ed25519 private key, in PEM (PKCS #8).

    Raises:
        ConfigInvalid: It is none.
    """
    # Imported where they are used: most clients show tokens, and never need what takes so long.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from ._identity.signing import RequestSigner

    try:
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError) as err:
        raise ConfigInvalid((Problem("is no private key in PEM without a password"),)) from err
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigInvalid((Problem("is no Ed25519 key"),))
    signer = RequestSigner(private)

    def headers(method: str, path: str, query: str, body: bytes, others: Mapping[str, str]) -> Mapping[str, str]:
        return signer.headers(method, path, query=query, body=body, headers=others)

    return headers


@frozen
class SocketPeer:
    """The owner of a state directory, at its socket: who may open that needs no other proof.

    Attributes:
        path: The socket.
        warned: Takes each warning that comes with an answer.
    """

    path: Path
    warned: Warned = field(default=unheard, repr=False, eq=False)

    @property
    def host(self) -> str:
        """What requests call it."""
        return "orchestrion"

    @property
    def credentials(self) -> Credentials:
        """Nothing: the socket's mode says who may use it."""
        return nobody

    async def connect(self) -> trio.abc.Stream:
        """Connect to it. See `Peer.connect`."""
        try:
            with address_of(self.path) as address:
                return await trio.open_unix_socket(address)
        except OSError as err:
            raise self.unreachable() from err

    def unreachable(self) -> NetworkFailure:
        """Return what to say where nobody answers."""
        return unreachable(self.path)


def _url_parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as err:
        raise _bad_url(url) from err
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise _bad_url(url)
    if parts.username is not None or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _bad_url(url)
    return parts


def _bad_url(url: str) -> ConfigInvalid:
    problem = Problem(f"{url!r:.200} is no URL of a server: write https://HOST:PORT, and nothing behind it")
    return ConfigInvalid((problem,))


def _check_url(_instance: object, _attribute: object, url: str) -> None:
    parts = _url_parts(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        problem = Problem(f"{url}: beyond this machine a token could be read on the way")
        raise ConfigInvalid((problem,), remedy=f"https://{parts.netloc}")


@frozen(kw_only=True)
class ServerPeer:
    """A server of the network.

    Attributes:
        url: `https://HOST:PORT`, or `http://` for a server on this machine.
        authority: The certificate, in PEM, of who signs the server's; empty trusts those whom the system trusts.
        server_name: What the server's certificate has to be for; empty is the URL's host.
        certificate: A certificate and its key, in PEM, by which the client proves who it is; empty is none.
        credentials: What says who asks.
        warned: Takes each warning that comes with an answer.
        noted: Takes what there is to say while no answer comes, a text for people.
    """

    url: str = field(validator=_check_url)
    authority: bytes = field(default=b"", repr=False)
    server_name: str = ""
    certificate: bytes = field(default=b"", repr=False)
    credentials: Credentials = field(default=nobody, repr=False)
    warned: Warned = field(default=unheard, repr=False, eq=False)
    noted: Warned = field(default=unheard, repr=False, eq=False)

    @property
    def host(self) -> str:
        """What requests call it."""
        return _url_parts(self.url).netloc

    async def connect(self) -> trio.abc.Stream:
        """Connect to it. See `Peer.connect`."""
        parts = _url_parts(self.url)
        host = parts.hostname or ""
        try:
            with trio.fail_after(CONNECT_SECONDS):
                stream = await trio.open_tcp_stream(host, parts.port or _PORTS[parts.scheme])
                if parts.scheme == "http":
                    return stream
                return await self.secure(stream, self.server_name or host)
        except (OSError, trio.TooSlowError) as err:
            raise self.unreachable() from err

    async def secure(self, stream: trio.SocketStream, name: str) -> trio.abc.Stream:
        """Speak TLS over a connection, with who proves to be the server.

        Raises:
            NetworkFailure: Somebody else answers, or nobody.
            ConfigInvalid: The authority's certificate or the client's can't be used.
        """
        try:
            context = await trio.to_thread.run_sync(_tls_context, self.authority, self.certificate)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return await self.shake_hands(stream, context, name)

    async def shake_hands(self, stream: trio.SocketStream, context: ssl.SSLContext, name: str) -> trio.abc.Stream:
        """Speak TLS over a connection, as a context has it. See `secure`."""
        secured = trio.SSLStream(stream, context, server_hostname=name, https_compatible=True)
        try:
            await secured.do_handshake()
        except trio.BrokenResourceError as err:
            await trio.aclose_forcefully(stream)
            if isinstance(err.__cause__, ssl.SSLCertVerificationError):
                raise self._untrusted(err.__cause__) from err
            if isinstance(err.__cause__, ssl.SSLError) and err.__cause__.reason in _NO_TLS:
                raise self.misunderstood() from err
            raise self.unreachable() from err
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return secured

    def unreachable(self) -> NetworkFailure:
        """Return what to say where nobody answers."""
        return NetworkFailure(
            f"no answer from a server at {self.url}",
            remedy="Look whether it runs and is reached from here; `orchestrion context ls` shows what is asked.",
        )

    def silent(self) -> NetworkFailure:
        """Return what to say where somebody listens who never answers."""
        return NetworkFailure(
            f"what listens at {self.url} takes connections and says nothing",
            remedy="Look whether that server hangs, or whether it is one of Orchestrion at all.",
        )

    def misunderstood(self) -> NetworkFailure:
        """Return what to say where one side speaks TLS and the other does not."""
        parts = _url_parts(self.url)
        if parts.scheme == "http":
            return NetworkFailure(f"the server at {self.url} speaks TLS", remedy=f"Try https://{parts.netloc}")
        remedy = "Look at the port, and at proxies between: beyond this machine nothing is sent without TLS."
        if is_loopback(parts.hostname or ""):
            remedy = f"Try http://{parts.netloc}"
        return NetworkFailure(f"the server at {self.url} speaks no TLS", remedy=remedy)

    def closed(self) -> NetworkFailure:
        """Return what to say where somebody listens, and closes the connection in place of an answer.

        Many servers of TLS do so, ours among them, where they are not spoken to in TLS.
        """
        parts, look = _url_parts(self.url), "Look whether it runs; `orchestrion context ls` shows what is asked."
        return NetworkFailure(
            f"the server at {self.url} closed the connection without an answer",
            remedy=f"If it speaks TLS: https://{parts.netloc}. {look}" if parts.scheme == "http" else look,
        )

    def stalled(self) -> NetworkFailure:
        """Return what to say where an answer has begun and does not go on."""
        return NetworkFailure(
            f"the server at {self.url} has stopped within an answer",
            remedy="Look whether that server hangs, or the network or a proxy on the way to it.",
        )

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> NetworkFailure:
        remedy = f"Compare fingerprints with who runs it, then: orchestrion login {self.url}"
        if error.verify_code in _OTHER_NAMES:
            remedy = f"Name what its certificate is for: orchestrion login {self.url} --server-name localhost"
        msg = f"who answers at {self.url} does not prove to be that server: {error.verify_message}"
        return NetworkFailure(msg, remedy=remedy)


def is_loopback(host: str, /) -> bool:
    """Whether only this machine is reached by a host name or an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@functools.lru_cache(maxsize=8)
def _tls_context(authority: bytes, certificate: bytes) -> ssl.SSLContext:
    """Return how servers prove who they are, and the client. It blocks."""
    context: ssl.SSLContext
    if not authority:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=authority.decode())
        except (ssl.SSLError, ValueError) as err:
            raise ConfigInvalid((Problem("the authority's certificate is none in PEM"),)) from err
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        from ._identity.tls import load_chain

        try:
            load_chain(context, certificate)
        except ssl.SSLError as err:
            raise ConfigInvalid((Problem("is no certificate with its key, in PEM without a password"),)) from err
    return context


def as_peer(target: Path | Peer, /) -> Peer:
    """Return where a path of a socket leads, or what is a peer already."""
    return SocketPeer(target) if isinstance(target, Path) else target
