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
from orchestrion.mocks import ClusterWorld, MockClusterManager
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
def test_the_honest_mock_keeps(check):
    check()
