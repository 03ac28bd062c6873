"""What is refused is refused in words of the document, not in those of a programming language."""

from __future__ import annotations

import re
from typing import Any

import attrs
import pytest
from orchestrion.control_plane._objects.document import ObjectMetadata
from orchestrion.control_plane._objects.kinds import CONFIG_MAP, KINDS
from orchestrion.control_plane._objects.proposal import read_document
from orchestrion.shared_types import ConfigInvalid, structure

from .api_stage import Api

SCALARS: tuple[Any, ...] = (None, "x", 3, 1.5, True)
VALUES = (*SCALARS, [], {}, [[]], *([each] for each in SCALARS), *({"a": each} for each in (*SCALARS, [], {})))
FOREIGN = re.compile(r"<class|NoneType|object (has no|is not)|not part of|unhashable|argument|\b(dict|str|int)\b")
FIELDS = [
    (kind.name, kind.spec, field.name) for kind in KINDS if kind.spec is not None for field in attrs.fields(kind.spec)
]


def words_about(data: Any, of: type) -> str:
    try:
        structure(data, of)
    except ConfigInvalid as err:
        return "; ".join(problem.message for problem in err.problems)
    return ""


@pytest.mark.parametrize(("spec", "field"), [each[1:] for each in FIELDS], ids=[f"{a}.{c}" for a, _, c in FIELDS])
def test_each_field_of_a_spec_is_refused_in_plain_words(spec: type, field: str) -> None:
    for value in VALUES:
        assert not FOREIGN.search(words_about({field: value}, spec)), value


@pytest.mark.parametrize("field", [field.name for field in attrs.fields(ObjectMetadata)])
def test_each_field_of_metadata_is_refused_in_plain_words(field: str) -> None:
    for value in VALUES:
        assert not FOREIGN.search(words_about({"name": "a", field: value}, ObjectMetadata)), value


def test_a_key_with_nothing_behind_it_is_not_there() -> None:
    metadata = {"labels": None, "annotations": None, "owners": None, "finalizers": None}
    empty = read_document({"metadata": {"name": "a", **metadata}, "spec": None}, CONFIG_MAP, "default", None)
    assert empty == read_document({"metadata": {"name": "a"}}, CONFIG_MAP, "default", None)


@pytest.mark.parametrize(
    ("plural", "spec", "told"),
    [
        ("customkinds", {"kind": "backup", "plural": "backups"}, "spec.kind: 'backup' is not of the form "),
        (
            "validatingwebhooks",
            {"timeout": "31s"},
            "spec.timeout: more than 0 and at most 30 seconds are wanted, not 31",
        ),
        ("validatingwebhooks", {"timeout": 0}, "spec.timeout: more than 0 and at most 30 seconds are wanted, not 0"),
        ("validatingwebhooks", {"url": "ftp://x"}, "spec.url: "),
    ],
)
async def test_what_is_beyond_its_bounds_is_told_by_the_name_that_it_has_in_a_document(
    api: Api, plural: str, spec: dict[str, Any], told: str
) -> None:
    if plural == "validatingwebhooks":
        spec = {"url": "https://hooks.example.org/", "rules": [{"kinds": ["ConfigMap"]}], **spec}
    refused = await api.client.ask("POST", f"/api/v1/{plural}", {"metadata": {"name": "backups"}, "spec": spec})
    assert (refused.status, refused.json["code"]) == (400, "config-invalid")
    assert refused.json["detail"].startswith(told)
    assert not re.search(r"_seconds|regex|must be [<>]", refused.json["detail"])
