"""The page about identity says what the server does: its example is computed, and its tables have all there is."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from orchestrion.control_plane._identity.failures import Reason
from orchestrion.control_plane._identity.principals import SYSTEM_GROUPS, PrincipalKind
from orchestrion.control_plane._identity.roles import STANDARD_BINDINGS, STANDARD_ROLES
from orchestrion.control_plane._identity.signing import RequestSigner, fingerprint_of_key, signed_text
from orchestrion.control_plane._web.certificate_paths import MAX_SECONDS

BODY = b'{"replicas":3}'
SIGNER = RequestSigner.from_seed(
    bytes(range(32)),
    now=lambda: datetime(2026, 11, 22, 10, 30, tzinfo=UTC),
    random_bytes=lambda size: bytes(range(size)),
)


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "identity.md").read_text()


def block(page: str, title: str) -> list[str]:
    found = re.search(rf'```text title="{title}"\n(.*?)\n```', page, flags=re.DOTALL)
    assert found is not None
    return found[1].splitlines()


def test_its_example_is_what_is_signed_and_its_signature(page: str) -> None:
    lines = block(page, "what is signed")
    _, method, target, form, revision, key, timestamp, nonce, _ = lines
    path, _, query = target.partition("?")
    headers = {"content-type": form, "if-match": revision, "idempotency-key": key}
    made = signed_text(method, path, query, timestamp, nonce, BODY, headers)
    assert made.decode().split("\n") == lines
    shown = {name.lower(): value for name, _, value in (line.partition(": ") for line in block(page, "headers"))}
    for name, value in headers.items():
        assert shown.pop(name, "") == value
    assert shown == SIGNER.headers(method, path, query=query, body=BODY, headers=headers)
    assert f"`{BODY.decode()}`" in page
    assert f"`{fingerprint_of_key(SIGNER.public_key)}`" in page


def test_it_has_every_kind_group_role_and_word(page: str) -> None:
    reasons = [one for one in Reason if not one.endswith(("_TOKEN", "_CERTIFICATE")) and "TOKEN_" not in one]
    names = [
        *PrincipalKind,
        *SYSTEM_GROUPS,
        *(role.name for role in STANDARD_ROLES),
        *(one for one in reasons if not one.startswith("CERTIFICATE")),
    ]
    assert [name for name in names if f"`{name}`" not in page] == []
    given = [(binding.role, binding.subjects[0].name) for binding in STANDARD_BINDINGS]
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert all(any(f"| `{role}` |" in row and f"`{group}`" in row for row in rows) for role, group in given)
    assert f"{MAX_SECONDS // 86400} days" in page


def test_it_names_every_verb_that_a_role_from_the_start_allows(page: str) -> None:
    verbs = {verb for role in STANDARD_ROLES for rule in role.rules for verb in rule.verbs} - {"*"}
    assert sorted(verb for verb in verbs if f"`{verb}`" not in page) == []
