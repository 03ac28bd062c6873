"""Secrets at rest: encrypted with a key that only the server has, each bound to the object that it belongs to.

The ciphers are imported when the first secret is sealed or opened: many servers have none, and all are to start soon.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import define, field
from orchestrion.shared_types import StateFailure

from .private_files import read_private, write_private

KEY_FILE: Final = "secrets.key"
_PREFIX: Final = "orc-sealed:1:"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_ID = re.compile(r"[0-9a-f]{16}")


class SealBroken(StateFailure):
    """What was sealed can't be opened: it was changed, belongs to another object, or its key is not here."""

    code = "seal-broken"


@define(eq=False, repr=False)
class Sealer:
    """Seals and opens texts with AES-256-GCM; the keys are in one file of mode 0600, each under an id.

    The newest key seals, all of them open. Nonces are random: a key is to be rotated before it has sealed 2^32 texts
    (NIST SP 800-38D, section 8.3). Without the file nothing that was sealed can be read by anybody, ever.

    Attributes:
        path: The file of the keys.
        current: The id of the key that seals.
    """

    path: Path
    current: str
    _keys: Mapping[str, bytes] = field(alias="keys")
    _random_bytes: Callable[[int], bytes] = field(alias="random_bytes", default=secrets.token_bytes)

    @classmethod
    def open(cls, state_dir: Path, /, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> Sealer:
        """Return a sealer with the keys of a state directory; the first is made where there is no file. It blocks.

        Raises:
            StateFailure: The file is damaged, can be read by others, or can't be written.
        """
        path = state_dir / KEY_FILE
        data = read_private(path)
        if data is None:
            key_id = random_bytes(8).hex()
            sealer = cls(path, key_id, {key_id: random_bytes(_KEY_BYTES)}, random_bytes)
            sealer._save()
            return sealer
        current, keys = _keys_of(path, data)
        return cls(path, current, keys, random_bytes)

    def __repr__(self) -> str:
        return f"Sealer({str(self.path)!r}, current={self.current!r})"

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys, the oldest first."""
        return tuple(self._keys)

    def seal(self, text: str, /, *, name: str) -> str:
        """Return a text in a form that only the holder of the keys can read, and for that name alone.

        Args:
            text: What is to be hidden.
            name: What it belongs to, such as its key in the store; it has to be given again to open it.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = self._random_bytes(_NONCE_BYTES)
        hidden = AESGCM(self._keys[self.current]).encrypt(nonce, text.encode(), _bound_to(self.current, name))
        return f"{_PREFIX}{self.current}:{base64.b64encode(nonce + hidden).decode()}"

    def unseal(self, sealed: str, /, *, name: str) -> str:
        """Return what was sealed.

        Raises:
            SealBroken: It was not sealed, was changed, was sealed for another name, or its key is not known.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key_id, hidden = _parts(sealed)
        key = self._keys.get(key_id)
        if key is None:
            msg = f"what is sealed as {name} needs the key {key_id}, which {self.path} does not have"
            raise SealBroken(msg, remedy="restore the file from a copy; without the key it can't be read")
        try:
            return AESGCM(key).decrypt(hidden[:_NONCE_BYTES], hidden[_NONCE_BYTES:], _bound_to(key_id, name)).decode()
        except (InvalidTag, UnicodeDecodeError) as err:
            msg = f"what is sealed as {name} was changed, or was sealed for something else"
            raise SealBroken(msg, remedy="set the secret anew, and find out who can write to the store") from err

    def is_sealed(self, text: str, /) -> bool:
        """Whether a text looks like one that was sealed."""
        return text.startswith(_PREFIX)

    def is_current(self, sealed: str, /) -> bool:
        """Whether a text was sealed with the key that seals now."""
        return sealed.startswith(f"{_PREFIX}{self.current}:")

    def reseal(self, sealed: str, /, *, name: str) -> str:
        """Return the same, sealed with the key that seals now; itself where it is already.

        Raises:
            SealBroken: See `unseal`.
        """
        return sealed if self.is_current(sealed) else self.seal(self.unseal(sealed, name=name), name=name)

    def rotated(self) -> Sealer:
        """Make a new key, which seals from now on, and return the sealer that has it. It blocks.

        What is sealed with older keys still opens; `reseal` brings it to the new one.

        Raises:
            StateFailure: The file can't be written; nothing was changed.
        """
        key_id = self._random_bytes(8).hex()
        keys = {**self._keys, key_id: self._random_bytes(_KEY_BYTES)}
        sealer = Sealer(self.path, key_id, keys, self._random_bytes)
        sealer._save()
        return sealer

    def without(self, key_id: str, /) -> Sealer:
        """Remove a key, and return the sealer that lacks it: what is still sealed with it is lost. It blocks.

        Raises:
            StateFailure: It is the key that seals, or the file can't be written; nothing was changed.
        """
        if key_id == self.current:
            raise StateFailure(f"the key {key_id} seals what is new", remedy="rotate, and seal all anew, before")
        keys = {name: key for name, key in self._keys.items() if name != key_id}
        sealer = Sealer(self.path, self.current, keys, self._random_bytes)
        sealer._save()
        return sealer

    def _save(self) -> None:
        keys = {key_id: base64.b64encode(key).decode() for key_id, key in self._keys.items()}
        text = json.dumps({"version": 1, "current": self.current, "keys": keys}, indent=2)
        write_private(self.path, f"{text}\n".encode())


def _keys_of(path: Path, data: bytes) -> tuple[str, dict[str, bytes]]:
    try:
        found: Any = json.loads(data)
        keys = {str(key_id): base64.b64decode(key, validate=True) for key_id, key in found["keys"].items()}
        current = found["current"]
        good = found["version"] == 1 and current in keys and all(_ID.fullmatch(key_id) for key_id in keys)
        if not good or any(len(key) != _KEY_BYTES for key in keys.values()):
            raise ValueError
    except (ValueError, LookupError, TypeError, AttributeError):
        # The cause would have parts of the keys in its text.
        msg = f"{path} is damaged, or of a newer version"
        raise StateFailure(msg, remedy="restore it from a copy; without it no secret can be read") from None
    return current, keys


def _parts(sealed: str) -> tuple[str, bytes]:
    key_id, _, text = sealed.removeprefix(_PREFIX).partition(":")
    try:
        hidden = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        hidden = b""
    # Only one spelling of what was sealed counts.
    plain = base64.b64encode(hidden).decode() == text
    if not sealed.startswith(_PREFIX) or not _ID.fullmatch(key_id) or len(hidden) < _NONCE_BYTES or not plain:
        raise SealBroken("a secret is stored in a form that is not known", remedy="set the secret anew")
    return key_id, hidden


def _bound_to(key_id: str, name: str) -> bytes:
    return f"{_PREFIX}{key_id}:{name}".encode()
