"""Saying what the asserts of a kit compared."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Iterable


def explain_asserts(package: str, path: Iterable[str], /) -> None:
    """Have pytest, if it runs, show what the asserts of a kit's modules compared. Without it they say what they say.

    A package of checks calls it before it imports them.

    Args:
        package: The package's name, its `__name__`.
        path: Where its modules are, its `__path__`.
    """
    pytest = sys.modules.get("pytest")
    if pytest is not None:
        pytest.register_assert_rewrite(*(f"{package}.{module.name}" for module in pkgutil.iter_modules(path)))
