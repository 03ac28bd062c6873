"""The kit accepts the honest mock, asks something for every clause, and gives every skip a name."""

from __future__ import annotations

import re
import unittest
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from inspect import getdoc

import pytest
from orchestrion.cluster_interface import ClusterManager, Snapshot, SupportsCordon
from orchestrion.cluster_interface.conformance import CHECK_IDS, ClusterUnderTest, checks, conformance_checks
from orchestrion.conformance_kit import BoundCheck
from orchestrion.mocks import ClusterWorld, MockClusterManager, mock_nodes
from orchestrion.shared_types import Node, NodeId


@asynccontextmanager
async def honest(*, backlog: int = 4) -> AsyncIterator[ClusterUnderTest]:
    world = ClusterWorld(backlog=backlog)

    async def add(node: Node) -> None:
        world.add_node(node)

    async def update(node: Node) -> None:
        world.update_node(node)

    async def remove(node_id: NodeId) -> None:
        world.remove_node(node_id)

    async def reopen() -> ClusterManager:
        return MockClusterManager(world)

    yield ClusterUnderTest(
        manager=MockClusterManager(world), add_node=add, update_node=update, remove_node=remove, reopen=reopen
    )


@pytest.mark.parametrize("check", conformance_checks(honest))
def test_the_honest_mock_keeps(check: BoundCheck[ClusterUnderTest]) -> None:
    check()


@asynccontextmanager
async def bare() -> AsyncIterator[ClusterUnderTest]:
    yield ClusterUnderTest(manager=MockClusterManager(ClusterWorld(mock_nodes(1)), capabilities=()))


def test_what_the_factory_does_not_give_is_skipped_by_name() -> None:
    reasons = set()
    for check in checks(bare, examples=2):
        try:
            check()
        except unittest.SkipTest as skip:
            reasons.add(str(skip))
    assert "the factory gives no touch" in reasons
    assert "the implementation does not declare the capability 'cordon'" in reasons
    assert "the factory gives no add_node, update_node, remove_node" in reasons


def test_every_check_has_a_clause_in_the_docstrings_and_every_clause_there_has_a_check() -> None:
    quoted = set()
    for kind in (ClusterManager, SupportsCordon, Snapshot):
        texts = [getdoc(kind), *(getdoc(member) for member in vars(kind).values())]
        quoted |= {clause for text in texts if text for clause in re.findall(r"\[([A-Z]+-[0-9]+)\]", text)}
    assert {"-".join(check_id.split("-")[:2]) for check_id in CHECK_IDS} == quoted
