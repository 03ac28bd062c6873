"""The names of images, as engines take them.

The grammar is that of distribution/reference (reference.go, normalize.go), by which the Docker engine and others read
names, and which the OCI distribution specification has for repositories and tags; digests are those of the OCI image
specification. What a name leaves out stands for what engines take then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv6Address
from typing import Final

from attrs import frozen

MAX_NAME: Final = 255
"""The longest name, with its registry and without tag and digest."""

_MAX_REFERENCE: Final = 1000
_REGISTRY: Final = ".".join(("docker", "io"))
_FOLDER: Final = "library"
_TAG: Final = "latest"
_HTTPS: Final = 443
_MAX_PORT: Final = 65535

_LABEL: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST: Final = re.compile(rf"({_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]+\])(?::([0-9]{{1,20}}))?")
_PART: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_TAGS: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_LENGTHS: Final = {"sha256": 64, "sha384": 96, "sha512": 128}
_HEX: Final = re.compile(r"[0-9a-f]+")
_ID: Final = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


@frozen
class Reference:
    """What image a name stands for, with all that it may leave out.

    Attributes:
        registry: Where it is: a host in lower case, with a port that is not that of https.
        path: Its folders and name there.
        tag: Its tag; empty where it has a digest alone.
        digest: Its digest, by which engines go where there is one; or empty.
    """

    registry: str
    path: str
    tag: str
    digest: str

    @property
    def full(self) -> str:
        """The whole of it."""
        return f"{self.registry}/{self.path}{self._ends()[0]}"

    def ways(self) -> Iterator[str]:
        """Give all ways in which it can be written, the full one first."""
        for name in self._names():
            for end in self._ends():
                yield name + end

    def _names(self) -> Iterator[str]:
        yield f"{self.registry}/{self.path}"
        if self.registry != _REGISTRY:
            return
        first, slash, rest = self.path.partition("/")
        if slash and not is_host(first):
            yield self.path
        if first == _FOLDER and rest and "/" not in rest:
            yield rest

    def _ends(self) -> list[str]:
        if not self.digest:
            return [f":{self.tag}", *([""] if self.tag == _TAG else [])]
        return [*([f":{self.tag}@{self.digest}"] if self.tag else []), f"@{self.digest}"]


def reference_of(image: str) -> Reference | None:
    """Return what a name stands for, or None where no engine takes it for the name of an image.

    The id of an image is no name: it says nothing of where the image is from.
    """
    if len(image) > _MAX_REFERENCE or _ID.fullmatch(image):
        return None
    name, at, digest = image.partition("@")
    if at and not _is_digest(digest):
        return None
    before, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAGS.fullmatch(tag):
        return None
    name = before + slash + last
    first, slash, rest = name.partition("/")
    host, path = (first, rest) if slash and is_host(first) else (_REGISTRY, name)
    registry = registry_of(host)
    if registry is None or not _PATH.fullmatch(path) or len(registry) + 1 + len(path) > MAX_NAME:
        return None
    if registry == _REGISTRY and "/" not in path:
        path = f"{_FOLDER}/{path}"
    return Reference(registry, path, tag or ("" if digest else _TAG), digest)


def is_host(first: str) -> bool:
    """Return whether the first part of several of a name is the registry's host, and no folder."""
    return "." in first or ":" in first or first == "localhost" or first.lower() != first


def registry_of(host: str) -> str | None:
    """Return a registry's host and port as one of all ways to write them; None where that is none."""
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    name, port = found[1].lower(), int(found[2] or _HTTPS)
    if not 0 < port <= _MAX_PORT:
        return None
    if name.startswith("["):
        try:
            name = f"[{IPv6Address(name[1:-1])}]"
        except AddressValueError:
            return None
    if port != _HTTPS:
        return f"{name}:{port}"
    return _REGISTRY if name == f"index.{_REGISTRY}" else name


def _is_digest(digest: str) -> bool:
    algorithm, _, text = digest.partition(":")
    length = _LENGTHS.get(algorithm)
    if length is not None:
        return len(text) == length and _HEX.fullmatch(text) is not None
    return _DIGEST.fullmatch(digest) is not None
