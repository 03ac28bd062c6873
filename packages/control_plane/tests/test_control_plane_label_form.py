"""Labels are what selectors can name; what has others from before keeps them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.control_plane._objects.label_form import check_labels
from orchestrion.control_plane._objects.selectors import parse_label_selector
from orchestrion.shared_types import ConfigInvalid

from .api_stage import Api

PAIRS = st.tuples(st.text(min_size=1), st.text()) | st.tuples(
    st.from_regex(r"([a-z.-]{1,9}/)?[\w.-]{1,70}", fullmatch=True), st.from_regex(r"[\w.-]{0,70}", fullmatch=True)
)

WRONG = [
    {"a b": "x"},
    {"ü": "x"},
    {"": "x"},
    {"-a": "x"},
    {"a/b/c": "x"},
    {"/a": "x"},
    {"A.example/a": "x"},
    {f"{'a' * 254}/a": "x"},
    {"a" * 64: "x"},
    {"a": "x" * 300_000},
    {"a": "b c"},
    {"a": "b."},
    {"a": "b\n"},
]


@pytest.mark.parametrize("labels", WRONG, ids=range(len(WRONG)))
def test_what_is_no_label_is_refused_in_few_words_unless_it_was_there_before(labels: dict[str, str]) -> None:
    with pytest.raises(ConfigInvalid, match="label") as caught:
        check_labels(labels, {})
    assert len(str(caught.value)) < 1000
    check_labels(labels, labels)
    with pytest.raises(ConfigInvalid):
        check_labels(labels, dict.fromkeys(labels, "other"))


@pytest.mark.parametrize(
    "labels", [{"a": ""}, {"a": "x" * 63}, {"a" * 63: "b_c.d-E"}, {f"{'a' * 253}/a": "1"}, {"example.org/App": "Web"}]
)
def test_what_is_a_label_is_accepted(labels: dict[str, str]) -> None:
    check_labels(labels, {})


@given(PAIRS)
def test_every_label_that_is_accepted_is_selected(pair: tuple[str, str]) -> None:
    key, value = pair
    try:
        check_labels({key: value}, {})
    except ConfigInvalid:
        return
    assert parse_label_selector(f"{key}={value}").matches({key: value})


@pytest.mark.parametrize(
    ("kind", "spec"),
    [("configmaps", {"data": {}}), ("workloads", {"containers": [{"name": "main", "command": ["run"]}]})],
)
async def test_objects_are_not_given_what_is_no_label(kind: str, spec: dict[str, Any], api: Api) -> None:
    path = f"/api/v1/namespaces/default/{kind}"
    wrong = {"metadata": {"name": "a", "labels": {"a b": "x"}}, "spec": spec}
    refused = await api.client.ask("POST", path, wrong)
    assert (refused.status, 'metadata.labels["a b"]' in refused.json["detail"]) == (400, True), refused.json
    assert (await api.client.ask("POST", path, {"metadata": {"name": "a"}, "spec": spec})).status == 201
    refused = await api.client.ask("PATCH", f"{path}/a", {"metadata": {"labels": {"ü": "x"}}})
    assert refused.status == 400
    assert (await api.client.ask("PATCH", f"{path}/a", {"metadata": {"labels": {"b": "x"}}})).status == 200


async def test_a_node_is_not_given_what_is_no_label(api: Api) -> None:
    refused = await api.client.ask("PATCH", "/api/v1/nodes/node-00000", {"metadata": {"labels": {"a": "x" * 64}}})
    assert (refused.status, "metadata.labels.a" in refused.json["detail"]) == (400, True), refused.json
