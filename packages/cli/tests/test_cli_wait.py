"""`wait` tells of an object that is not there, which may be one that nobody will ever make."""

from __future__ import annotations

import json

import pytest

from .served_directory import Do


@pytest.fixture(autouse=True)
def _imported(do: Do) -> None:
    """Let no test's time be over before the command has looked at all: the first one imports much."""
    assert do("wait", "workload", "typo", "--for", "deleted")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("goal", ["done", "status.available=1"])
def test_that_there_is_no_such_object_is_told_at_once_and_when_time_is_over(do: Do, goal: str) -> None:
    code, out, said = do("wait", "workload", "typo", "--for", goal, "--timeout", "0.5s")
    assert (code, out) == (8, "")
    missing = "there is no such workload in namespace default"
    assert said.splitlines() == [
        f"workload typo: {missing} yet; it is waited for",
        f"workload typo: {goal} was not reached within 0.5s; {missing}, nor was there one",
    ]


@pytest.mark.slow
def test_what_is_in_no_namespace_is_told_of_without_one(do: Do) -> None:
    _, _, said = do("wait", "node", "typo", "--for", "spec.name=typo", "--timeout", "0.5s")
    assert said.startswith("node typo: there is no such node yet; it is waited for\n")


def test_nothing_is_told_where_that_it_comes_is_what_is_waited_for(do: Do) -> None:
    code, _, said = do("wait", "configmap", "typo", "--for", "exists", "--timeout", "0.1s")
    assert (code, said) == (8, "configmap typo: exists was not reached within 0.1s\n")


def test_what_is_there_is_not_said_to_be_missing(do: Do) -> None:
    assert do("create", "configmap", "there")[0] == 0
    _, _, said = do("wait", "configmap", "there", "--for", "spec.data.a=b", "--timeout", "0.1s")
    assert said == "configmap there: spec.data.a=b was not reached within 0.1s\n"


def test_programs_are_told_of_it_by_the_result_alone(do: Do) -> None:
    code, out, said = do("wait", "workload", "typo", "--timeout", "0.1s", "-o", "json")
    assert (code, said, json.loads(out)["reached"], json.loads(out)["object"]) == (8, "", None, None)
