"""`certificate` and `key`: by what else than a token somebody is known to a server."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from orchestrion.shared_types import ConfigInvalid, Problem, StateFailure

from ._access import Wanted, asked, lasting, proof_rows
from ._output import Form, columns, note, show, show_one
from ._tables import at
from ._times import seconds_of
from ._where import Where

Data = Mapping[str, Any]

_ED25519_DER: Final = bytes.fromhex("302a300506032b6570032100")
"""What a public key of Ed25519 begins with in DER (RFC 8410); its 32 bytes follow."""

_ED25519_SSH: Final = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"
"""What a public key of Ed25519 begins with in the form of SSH (RFC 8709); its 32 bytes follow."""

_KEY_BYTES: Final = 32


def run_certificate_create(
    name: str, kind: str | None, lifetime: str | None, file: Path | None, words: str, where: Where, form: Form
) -> int:
    """Get a certificate, and write it down with its key, which was made here and has gone nowhere."""
    from orchestrion.control_plane.certificates import make_request

    path = file or Path(f"{name or 'me'}.pem".replace("/", "."))
    if path.exists() and not (path.is_file() and b"CERTIFICATE" in path.read_bytes()):
        raise ConfigInvalid(
            (Problem(f"{path} is there already, and is no certificate"),), remedy="Name another --file."
        )
    made = make_request()
    grant: dict[str, Any] = {"name": name, "note": words, "request": made.text}
    if kind is not None:
        grant["kind"] = kind
    if lifetime is not None:
        grant["lifetime_seconds"] = max(1, round(seconds_of(lifetime)))
    issued: Data = asked(where, "POST", "/api/v1/certificates", grant)
    _write_private(path, str(issued["certificate"]).encode() + made.key)
    show_one(
        {key: value for key, value in issued.items() if key != "key"},
        form,
        table=lambda _: [str(path)],
        name=lambda one: str(one["serial"]),
    )
    serial, whose = at(issued, "serial"), f"{at(issued, 'kind')} {at(issued, 'name')}"
    note(f"{serial}: a certificate of {whose}, good until {at(issued, 'expires_at')}, with its key in {path}")
    note("it says who that is, and nothing of groups: bindings give roles to that name")
    return 0


def _write_private(path: Path, data: bytes) -> None:
    draft = path.with_name(f"{path.name}.new")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(data)
        draft.replace(path)
    except OSError as err:
        raise StateFailure(f"writing {path} failed: {err.strerror}", remedy="Name another --file.") from err


def run_certificate_list(where: Where, form: Form) -> int:
    """Print what is known of certificates."""
    items: Sequence[Data] = asked(where, "GET", "/api/v1/certificates", expects={"items": list})["items"]
    now = datetime.now(UTC)

    def until(one: Data) -> str:
        if one.get("revoked"):
            return "revoked"
        return "over" if datetime.fromisoformat(one["expires_at"]) <= now else lasting(one)

    def table(given: Sequence[Data]) -> list[str]:
        return columns(proof_rows(given, "SERIAL", "serial", now, until))

    show(items, form, table=table, name=lambda one: str(one["serial"]))
    return 0


def run_certificate_revoke(serials: Sequence[str], where: Where) -> int:
    """Make certificates worthless."""
    for serial in serials:
        was: Data = asked(where, "DELETE", f"/api/v1/certificates/{quote(serial, safe='')}")
        note(f"{at(was, 'serial')}: a certificate of {at(was, 'kind')} {at(was, 'name')}; it is worthless now")
    return 0


def public_key_of(data: bytes, where: str, /) -> str:
    """Return a public key of Ed25519 as a server is told it: its 32 bytes, in base64.

    Args:
        data: The key in PEM, as a line of SSH, or in base64.
        where: Where it is from, for errors.

    Raises:
        ConfigInvalid: It is none.
    """
    text = data.decode(errors="replace").strip()
    if "PRIVATE KEY" in text:
        problem = Problem(f"{where} has a private key, which is nobody's business; its public one is wanted")
        raise ConfigInvalid((problem,), remedy=f"openssl pkey -in {where} -pubout -out {where}.pub")
    words = text.split()
    if words[:1] == ["ssh-ed25519"]:
        body = words[1] if len(words) > 1 else ""
    else:
        body = "".join(line for line in text.splitlines() if not line.startswith("-----"))
    try:
        found = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    for head in (_ED25519_DER, _ED25519_SSH):
        if len(found) == len(head) + _KEY_BYTES:
            found = found.removeprefix(head)
    if len(found) != _KEY_BYTES:
        problem = Problem(f"{where} has no public key of Ed25519, in PEM, as ssh-ed25519 or in base64")
        raise ConfigInvalid((problem,), remedy="openssl genpkey -algorithm ed25519 makes one.")
    return base64.b64encode(found).decode()


def run_key_add(file: Path, wanted: Wanted, where: Where, form: Form) -> int:
    """Have a key trusted."""
    try:
        data = file.read_bytes()
    except OSError as err:
        raise ConfigInvalid((Problem(f"{file} can't be read: {err.strerror}"),)) from err
    grant = {**wanted.document(datetime.now(UTC)), "public_key": public_key_of(data, str(file))}
    key: Data = asked(where, "POST", "/api/v1/keys", grant)
    show_one(key, form, table=lambda one: [str(at(one, "fingerprint"))], name=lambda one: str(one["fingerprint"]))
    note(
        f"{at(key, 'fingerprint')}: requests signed with that key are those of {at(key, 'kind')} {at(key, 'name')} now"
    )
    return 0


def run_key_list(where: Where, form: Form) -> int:
    """Print which keys are trusted."""
    items: Sequence[Data] = asked(where, "GET", "/api/v1/keys", expects={"items": list})["items"]
    now = datetime.now(UTC)

    def table(given: Sequence[Data]) -> list[str]:
        return columns(proof_rows(given, "FINGERPRINT", "fingerprint", now))

    show(items, form, table=table, name=lambda one: str(one["fingerprint"]))
    return 0


def run_key_remove(fingerprints: Sequence[str], where: Where) -> int:
    """Have keys trusted no longer."""
    for fingerprint in fingerprints:
        was: Data = asked(where, "DELETE", f"/api/v1/keys/{quote(fingerprint, safe='')}")
        note(f"{at(was, 'fingerprint')}: a key of {at(was, 'kind')} {at(was, 'name')}; it is trusted no longer")
    return 0


def run_rotate_sealing(where: Where, form: Form) -> int:
    """Have secrets sealed with a new key."""
    keys: Data = asked(where, "POST", "/api/v1/sealingkeys")
    show_one(keys, form, table=lambda one: [str(at(one, "current"))], name=lambda one: str(one["current"]))
    note(f"{at(keys, 'current')} seals from now on; what others have sealed is sealed anew, and then they are removed")
    return 0
