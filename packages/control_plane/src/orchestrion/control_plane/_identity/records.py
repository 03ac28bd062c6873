"""Principals as the store has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import define
from orchestrion.shared_types import ConfigInvalid, Problem, structure, unstructure

from .access import rules_data, rules_of
from .principals import Principal, PrincipalKind

SCHEMA_VERSION: Final = 1


@define
class StoredPrincipal:
    """The fields that tokens and keys have alike; `secret` is a hash or a public key."""

    version: int
    secret: str
    name: str
    kind: PrincipalKind
    created_at: datetime
    groups: tuple[str, ...] = ()
    namespaces: tuple[str, ...] | None = None
    scope: tuple[Mapping[str, Any], ...] | None = None
    expires_at: datetime | None = None
    note: str = ""

    @classmethod
    def of(cls, principal: Principal, secret: str, created_at: datetime, note: str) -> StoredPrincipal:
        """Return what is stored of a principal that shows what `secret` proves."""
        return cls(
            version=SCHEMA_VERSION,
            secret=secret,
            name=principal.name,
            kind=principal.kind,
            groups=tuple(sorted(principal.groups)),
            namespaces=None if principal.namespaces is None else tuple(sorted(principal.namespaces)),
            scope=None if principal.scope is None else tuple(rules_data(principal.scope)),
            created_at=created_at,
            expires_at=principal.expires_at,
            note=note,
        )

    @classmethod
    def decode(cls, value: bytes) -> StoredPrincipal:
        """Return what was stored.

        Raises:
            ConfigInvalid: It is damaged, or of a newer version.
        """
        try:
            data = json.loads(value)
        except ValueError as err:
            raise ConfigInvalid((Problem("is no JSON"),)) from err
        if not isinstance(data, dict) or data.get("version") != SCHEMA_VERSION:
            raise ConfigInvalid((Problem(f"is not of version {SCHEMA_VERSION}", "version"),))
        return structure(data, cls)

    def encode(self) -> bytes:
        """Return what is stored."""
        return json.dumps(unstructure(self), ensure_ascii=False).encode()

    def principal(self, via: str) -> Principal:
        """Return the principal.

        Args:
            via: How it is authenticated.

        Raises:
            ConfigInvalid: Its scope is damaged.
        """
        return Principal(
            name=self.name,
            kind=self.kind,
            groups=frozenset(self.groups),
            namespaces=None if self.namespaces is None else frozenset(self.namespaces),
            scope=None if self.scope is None else rules_of(list(self.scope), "scope"),
            via=via,
            expires_at=self.expires_at,
        )
