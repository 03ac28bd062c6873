"""A durable state store in one SQLite file."""

from ._failures import StoreInUse
from ._store import SqliteStore, Statistics, open_store

__all__ = ["SqliteStore", "Statistics", "StoreInUse", "open_store"]
