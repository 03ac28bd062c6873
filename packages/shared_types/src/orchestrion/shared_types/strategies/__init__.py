"""Hypothesis strategies for every value of this package, for anybody's property tests.

`values(kind)` draws any value of an exported attrs class; `accepted_workloads()` draws workloads that can be applied
together. It needs the extra `strategies`.
"""

from ._accepted import accepted_workloads
from ._values import names, texts, times, values

__all__ = ["accepted_workloads", "names", "texts", "times", "values"]
