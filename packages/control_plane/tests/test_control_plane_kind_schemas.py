"""The schemas of what authors write of each kind."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from orchestrion.control_plane._objects.kinds import KINDS, Kind
from orchestrion.control_plane.kinds import custom_kind_schema, kind_schema
from orchestrion.shared_types import NotFound


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.written], ids=lambda kind: kind.name)
def test_a_kind_has_a_schema_that_its_objects_are_valid_by(kind: Kind) -> None:
    schema = kind_schema(kind.name)
    assert schema["title"] == kind.name
    Draft202012Validator.check_schema(schema)
    errors = list(Draft202012Validator(schema).iter_errors({"kind": "Other", "metadata": {}, "spec": {"no": 1}}))
    places = {".".join(map(str, error.absolute_path)) for error in errors}
    assert {"kind", "metadata", "spec"} <= places
    Draft202012Validator(schema["properties"]["metadata"]).validate({"name": "x", "labels": {"a": "b"}})


def test_a_kind_of_users_has_the_schema_that_they_gave_it() -> None:
    words: dict[str, Any] = {
        "$defs": {"at": {"type": "string", "description": "When."}},
        "properties": {"at": {"$ref": "#/$defs/at"}},
    }
    schema = custom_kind_schema({"kind": "Backup", "plural": "backups", "schema": {"type": "object", **words}})
    assert schema["$defs"] == words["$defs"]
    Draft202012Validator(schema).validate({"kind": "Backup", "metadata": {"name": "x"}, "spec": {"at": "noon"}})
    assert not Draft202012Validator(schema).is_valid({"kind": "Backup", "metadata": {"name": "x"}, "spec": {"at": 1}})


@pytest.mark.parametrize("name", ["Node", "Event", "Instance", "Cloud"])
def test_what_nobody_writes_has_no_schema(name: str) -> None:
    with pytest.raises(NotFound):
        kind_schema(name)


def test_each_field_of_a_kind_says_what_it_means() -> None:
    def silent(schema: dict[str, Any], at: str) -> list[str]:
        below = [*schema.get("properties", {}).items(), ("", schema.get("items", {}))]
        own = [] if not at or at.endswith(".") or "description" in schema else [at]
        return own + [path for name, each in below if each for path in silent(each, f"{at}.{name}")]

    assert not [path for kind in KINDS if kind.written and kind.spec for path in silent(kind_schema(kind.name), "")]
