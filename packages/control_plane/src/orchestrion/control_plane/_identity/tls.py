"""TLS with the certificates of an authority."""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .authority import Credentials


def server_context(credentials: Credentials, /, *, client_authority: bytes | None) -> ssl.SSLContext:
    """Return the context of a server that speaks TLS 1.2 and later. It blocks.

    Args:
        credentials: The server's certificate and key.
        client_authority: The certificate, in PEM, of whoever signs those of clients. A client may come without one, and
            is nobody then as far as TLS is concerned; one that is not good ends the handshake. None asks for none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_chain(context, credentials.certificate + credentials.key)
    if client_authority is not None:
        context.load_verify_locations(cadata=client_authority.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_context(authority: bytes, /, *, credentials: Credentials | None = None) -> ssl.SSLContext:
    """Return the context of a client that trusts one authority and nobody else. It blocks.

    Args:
        authority: Its certificate, in PEM.
        credentials: By which the client proves who it is; None is by something else, such as a token.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=authority.decode())
    if credentials is not None:
        load_chain(context, credentials.certificate + credentials.key)
    return context


def load_chain(context: ssl.SSLContext, chain: bytes, /) -> None:
    """Let a context prove who it is by certificates and a key, in PEM. It blocks.

    Raises:
        ssl.SSLError: They can't be read, don't belong together, or the key has a password.
    """
    # OpenSSL reads keys from files alone; this one is in memory, and is gone when it was read.
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.memfd_create("credentials", os.MFD_CLOEXEC)
            stack.callback(os.close, descriptor)
            path = Path(f"/proc/self/fd/{descriptor}")
        except OSError:  # a kernel or a sandbox without it
            descriptor, name = tempfile.mkstemp()
            stack.callback(os.close, descriptor)
            path = Path(name)
            stack.callback(path.unlink)
        data = memoryview(chain)
        while data:
            data = data[os.write(descriptor, data) :]
        # A key with a password would have it asked for at a terminal that nobody looks at.
        context.load_cert_chain(path, password=lambda: b"")
