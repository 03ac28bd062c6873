"""A cluster of one node: this machine."""

from ._cluster import LocalCluster
from ._machine import DiskUsage
from ._node_file import NodeFileInvalid
from ._open import open_cluster
from ._pressure import Watermark

__all__ = ["DiskUsage", "LocalCluster", "NodeFileInvalid", "Watermark", "open_cluster"]
