"""`orchestrion conformance`: an outsider's implementation against a kit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from orchestrion.cli import run

SOURCE = '''
from contextlib import asynccontextmanager

from orchestrion.scheduler_interface.conformance import SchedulerUnderTest
from orchestrion.mocks import MemoryStore, MockScheduler
from orchestrion.store_interface.conformance import StoreUnderTest


class Forgetful(MemoryStore):
    """Says that a deletion was done, and does nothing."""

    async def delete(self, key, /, *, expected=None):
        return (await self.get(key)).revision


class Factories:
    @staticmethod
    @asynccontextmanager
    async def inner():
        yield StoreUnderTest(MemoryStore())


@asynccontextmanager
async def good():
    yield StoreUnderTest(MemoryStore())


@asynccontextmanager
async def forgetful():
    yield StoreUnderTest(Forgetful())


@asynccontextmanager
async def something_else():
    yield "a text"


@asynccontextmanager
async def fails():
    raise OSError("no database")
    yield


@asynccontextmanager
async def unable():
    yield SchedulerUnderTest(MockScheduler())


VALUE = 3
'''


@pytest.fixture(autouse=True)
def outsider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the outsider's module into the current folder."""
    (tmp_path / "outsider_store.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "outsider_store", raising=False)
    monkeypatch.setenv("ORCHESTRION_KIT_PROFILE", "quick")


def test_a_right_implementation_conforms(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "outsider_store:good", "--only", "DELETE-1"]) == 0
    printed = capsys.readouterr().out
    assert "ok    DELETE-1-" in printed
    assert "conforms to the store kit: 1 passed, 0 failed, 0 skipped" in printed


def test_a_wrong_one_fails_the_clause_that_it_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "outsider_store:forgetful", "--only", "DELETE-1"]) == 1
    printed = capsys.readouterr().out
    assert "FAIL  DELETE-1-a-deletion-removes-the-key" in printed
    assert "does not conform" in printed


def test_what_the_factory_does_not_give_is_skipped_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "outsider_store:good", "--only", "CLOSE-3", "-o", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["skipped"] == len(report["checks"]) > 0
    assert all("reopen" in check["message"] for check in report["checks"])


def test_the_report_is_data_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "outsider_store:forgetful", "--only", "DELETE-1", "-o", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["kit"], report["passed"], report["failed"]) == ("store", 0, 1)
    assert report["checks"][0]["outcome"] == "failed"
    assert report["checks"][0]["message"]
    assert run(["conformance", "outsider_store:forgetful", "--only", "DELETE-1", "-o", "name"]) == 1
    assert capsys.readouterr().out.startswith("DELETE-1-")


def test_a_factory_may_be_an_attribute_and_the_kit_may_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "outsider_store:Factories.inner", "--kit", "store", "--only", "DELETE-1"]) == 0
    assert "1 passed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "code", "told"),
    [
        ("outsider_store", 2, "does not name a factory"),
        ("outsider_store:", 2, "does not name a factory"),
        ("outsider_store:nope", 3, "has no 'nope'"),
        ("no_such_module:open", 3, "can't be imported: ModuleNotFoundError"),
        ("outsider_store:VALUE", 2, "can't be called"),
        ("outsider_store:something_else", 2, "gives a str, for which there is no kit"),
        ("outsider_store:fails", 2, "gives nothing to test: OSError: no database"),
    ],
)
def test_what_is_no_factory_is_told(target: str, code: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", target]) == code
    printed = capsys.readouterr()
    assert told in printed.err
    assert "Traceback" not in printed.err


def test_a_filter_that_matches_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "outsider_store:good", "--only", "NOPE"]) == 3
    assert "no check whose id contains 'NOPE'" in capsys.readouterr().err


def test_a_profile_that_is_none_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRION_KIT_PROFILE", "nonsense")
    assert run(["conformance", "outsider_store:good"]) == 2
    printed = capsys.readouterr().err
    assert "ORCHESTRION_KIT_PROFILE is 'nonsense'; it must be one of quick, ci, deep" in printed
    assert "Traceback" not in printed


def test_a_factory_for_another_kit_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "--kit", "cluster", "outsider_store:good"]) == 2
    printed = capsys.readouterr()
    assert "outsider_store:good gives a StoreUnderTest, not a ClusterUnderTest" in printed.err
    assert printed.out == ""


def test_failures_are_repeated_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "outsider_store:forgetful", "--only", "DELETE"]) == 1
    end = capsys.readouterr().out.partition("\nfailed:\n")[2]
    assert end.startswith("  DELETE-1-a-deletion-removes-the-key-and-says-its-revision: assert ")
    assert "does not conform" in end.splitlines()[-1]


def test_the_names_of_failures_are_all_that_name_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "outsider_store:good", "--only", "DELETE-1", "-o", "name"]) == 0
    assert capsys.readouterr().out == ""


def test_a_skip_names_the_capability_as_it_is_declared(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "outsider_store:unable", "--only", "SPREAD-1"]) == 0
    assert "does not declare the capability 'spread'" in capsys.readouterr().out
