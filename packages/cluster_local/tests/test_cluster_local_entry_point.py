"""The package is found by its entry point, like a third party's."""

from __future__ import annotations

from importlib.metadata import entry_points

from orchestrion.cluster_local import open_cluster


def test_the_entry_point_opens_a_local_cluster() -> None:
    (entry,) = entry_points(group="orchestrion.clusters", name="local")
    assert entry.load() is open_cluster
