"""The interface's docstrings and the kit speak of the same clauses."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest import SkipTest

import pytest
from orchestrion.conformance_kit import BoundCheck
from orchestrion.mocks import MemoryStore
from orchestrion.store_interface import _interface
from orchestrion.store_interface.conformance import CHECK_IDS, KIT, StoreUnderTest, checks, conformance_checks

CLAUSE = re.compile(r"\[([A-Z]+-[0-9]+)\]")


@asynccontextmanager
async def open_without_reopen() -> AsyncIterator[StoreUnderTest]:
    yield StoreUnderTest(MemoryStore())


def test_each_clause_is_named_once_in_the_interface_and_has_a_check() -> None:
    named = CLAUSE.findall(inspect.getsource(_interface))
    assert len(named) == len(set(named))
    assert set(named) == set(KIT.clauses)


def test_ids_begin_with_a_clause_and_differ() -> None:
    assert len(set(CHECK_IDS)) == len(CHECK_IDS) >= 50


def test_what_needs_reopening_is_skipped_by_name_where_the_factory_gives_none() -> None:
    skipped = []
    for check in checks(open_without_reopen, examples=1):
        if check.check.needs:
            with pytest.raises(SkipTest, match="the factory gives no reopen"):
                check()
            skipped.append(check.check.clause)
    assert sorted(set(skipped)) == ["CLOSE-3", "DURABLE-1", "DURABLE-2", "DURABLE-3", "LEASE-4"]


def test_an_expected_failure_is_marked_strictly() -> None:
    params = conformance_checks(open_without_reopen, expected_failures={"PUT-3": "it writes only what differs"})
    marked = {param.id: param.marks for param in params if param.marks}
    assert [*marked] == ["PUT-3-putting-the-same-again-is-a-write"]
    (mark,) = marked["PUT-3-putting-the-same-again-is-a-write"]
    assert mark.kwargs["strict"] is True


@pytest.mark.parametrize("check", checks(open_without_reopen, examples=1)[:1])
def test_a_check_is_called_by_its_id(check: BoundCheck[StoreUnderTest]) -> None:
    assert check.__name__ == check.id
    check()
