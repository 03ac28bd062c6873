"""Certificates that were issued to clients, and those of them that are good no longer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import trio
from attrs import define, evolve, field, frozen
from orchestrion.shared_types import ConfigInvalid, NotFound, Problem
from orchestrion.store_interface import ABSENT, Compare, Delete, Entry, Operation, Put, StateStore

from .mirror import Mirror
from .principals import Principal, PrincipalKind

if TYPE_CHECKING:
    from .authority import Authority, Credentials

KEY_PREFIX: Final = "/certificate/default/"
SCHEMA_VERSION: Final = 1

_MAX_FORGOTTEN: Final = 64
"""How many records of certificates that have ended are removed at once, as another is issued."""

_SERIAL = re.compile(r"[1-9a-f][0-9a-f]{0,39}")


@frozen
class IssuedCertificate:
    """What is known of a certificate; the key that belongs to it is not.

    Attributes:
        serial: Its serial number, in hexadecimal digits.
        principal: Whom it is for, and until when.
        created_at: When it was issued.
        note: What it is for, in the words of who asked for it.
        revoked: Whether it is good no longer, before its end.
    """

    serial: str
    principal: Principal
    created_at: datetime
    note: str = ""
    revoked: bool = False

    def encode(self) -> bytes:
        """Return what is stored."""
        ends = self.principal.expires_at
        data = {
            "version": SCHEMA_VERSION,
            "name": self.principal.name,
            "kind": self.principal.kind.value,
            "created_at": self.created_at.isoformat(),
            "expires_at": None if ends is None else ends.isoformat(),
            "note": self.note,
            "revoked": self.revoked,
        }
        return json.dumps(data, ensure_ascii=False).encode()


@define(eq=False)
class IssuedCertificates:
    """Issues certificates over a store, which knows whom each is for, and revokes them.

    `follow` has to run for `is_revoked` to know what there is. A record is kept until its certificate has ended.

    Attributes:
        store: Where they are kept, under `/certificate/default/`.
        authority: Who signs them.
    """

    store: StateStore
    authority: Authority
    _known: Mirror[IssuedCertificate] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._known = Mirror(self.store, KEY_PREFIX, _read)

    def call_when_ended(self, listener: Callable[[], None], /) -> None:
        """Have a listener called after a certificate was revoked, here or elsewhere; it replaces the one before."""
        self._known.ended = listener

    async def follow(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the store until cancelled; started when all are known. See `Mirror.follow`."""
        await self._known.follow(task_status=task_status)

    def now(self) -> datetime:
        """Return the time by which certificates are issued."""
        return self.authority.now()

    async def issue(
        self, principal: Principal, lifetime: timedelta, /, *, request: bytes = b"", note: str = ""
    ) -> tuple[IssuedCertificate, Credentials]:
        """Issue a certificate. When this returns what is known of it is durable.

        Whether who asks may be given one is for the caller to check.

        **Cancellation.** *Indeterminate*: a record of a certificate that nobody has may stay.

        Args:
            principal: Whom it is for.
            lifetime: How long it is good.
            request: See `Authority.issue_client`.
            note: What it is for.

        Raises:
            ConfigInvalid: See `Authority.issue_client`.
        """
        credentials = await trio.to_thread.run_sync(
            lambda: self.authority.issue_client(principal, lifetime=lifetime, request=request)
        )
        serial = serial_text(credentials.serial)
        whose = Principal(principal.name, principal.kind, via=f"mtls:{serial}", expires_at=credentials.ends)
        record = IssuedCertificate(serial, whose, credentials.begins, note)
        await self._write(record, [Compare(KEY_PREFIX + serial, ABSENT)], self._ended())
        return record, credentials

    async def revoke(self, serial: str, /) -> IssuedCertificate:
        """Make a certificate worthless. When this returns it is refused. Repeating it succeeds.

        **Cancellation.** *Indeterminate*; a repeat is safe.

        Raises:
            NotFound: None of that number is known.
        """
        record = evolve(self.get(serial), revoked=True)
        await self._write(record, [], [])
        return record

    def is_revoked(self, serial: int, /) -> bool:
        """Whether the certificate of a serial number is good no longer."""
        record = self._known.items.get(serial_text(serial))
        return record is not None and record.revoked

    def all(self) -> tuple[IssuedCertificate, ...]:
        """Return what is known of all certificates, in the order in which they were issued."""
        return tuple(sorted(self._known.items.values(), key=lambda one: (one.created_at, one.serial)))

    def get(self, serial: str, /) -> IssuedCertificate:
        """Return what is known of a certificate.

        Raises:
            NotFound: None of that number is known.
        """
        record = self._known.items.get(serial.lower().replace(":", "").lstrip("0"))
        if record is None:
            msg = f"no certificate with the serial number {serial!r:.80} is known"
            raise NotFound(msg, remedy="list them to see those there are")
        return record

    def _ended(self) -> list[str]:
        now = self.now()
        return [one.serial for one in self._known.items.values() if one.principal.is_expired(now)][:_MAX_FORGOTTEN]

    async def _write(self, record: IssuedCertificate, compares: list[Compare], ended: list[str]) -> None:
        key, value = KEY_PREFIX + record.serial, record.encode()
        operations: list[Operation] = [Put(key, value), *(Delete(KEY_PREFIX + serial) for serial in ended)]
        revision = await self.store.transaction(compares, operations)
        self._known.apply_own(record.serial, Entry(key, value, revision, revision), revision)
        for serial in ended:
            self._known.apply_own(serial, None, revision)


def serial_text(serial: int, /) -> str:
    """Return what people and paths call a certificate: its serial number in hexadecimal digits."""
    return f"{serial:x}"


def _read(entry: Entry) -> IssuedCertificate:
    serial = entry.key.removeprefix(KEY_PREFIX)
    try:
        data: Any = json.loads(entry.value)
        if data["version"] != SCHEMA_VERSION or not _SERIAL.fullmatch(serial):
            raise ConfigInvalid((Problem(f"is not of version {SCHEMA_VERSION}", "version"),))
        ends = datetime.fromisoformat(data["expires_at"])
        whose = Principal(str(data["name"]), PrincipalKind(data["kind"]), via=f"mtls:{serial}", expires_at=ends)
        made = datetime.fromisoformat(data["created_at"])
        return IssuedCertificate(serial, whose, made, str(data["note"]), data["revoked"] is not False)
    except (ValueError, KeyError, TypeError) as err:
        raise ConfigInvalid((Problem(f"is no record of a certificate: {err}"),)) from err
