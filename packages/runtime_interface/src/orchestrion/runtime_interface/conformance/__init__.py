"""The kit that proves a `ContainerRuntime` right."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orchestrion.conformance_kit import EXAMPLES, BoundCheck, CheckOptions, Factory
from typing_extensions import Unpack

from . import _abilities, _cancellation, _create, _end, _histories, _logs, _status
from ._behaviour import (
    Behaviour,
    CannotStart,
    CopiesStdin,
    Dies,
    Exits,
    Forks,
    IgnoresSigterm,
    ListensOn,
    Prints,
    PrintsEnvironment,
    Sleeps,
    TrapsSigterm,
    Unsupported,
    pattern,
)
from ._bench import KIT
from ._subject import RuntimeUnderTest

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

CHECK_MODULES = (_status, _create, _end, _logs, _abilities, _histories, _cancellation)
"""Importing them declares their checks in `KIT`."""

REAL_SHARE = 5
"""With a real clock, one example in so many is drawn: there each takes processes and time."""


def _bounded(options: CheckOptions) -> CheckOptions:
    if options.get("clock") == "real" and options.get("examples") is None:
        profile = os.environ.get("ORCHESTRION_KIT_PROFILE", "ci")
        if profile in EXAMPLES:
            return {**options, "examples": max(3, EXAMPLES[profile] // REAL_SHARE)}
    return options


def checks(
    factory: Factory[RuntimeUnderTest], /, **options: Unpack[CheckOptions]
) -> list[BoundCheck[RuntimeUnderTest]]:
    """Return all checks, bound to a runtime. They need no pytest.

    Args:
        factory: Opens a fresh runtime that has no containers, and closes it.
        options: As `orchestrion.conformance_kit.Kit.checks` has them. With clock="real" a fifth of the examples is
            drawn.

    Raises:
        ValueError: An expected failure names no check.
    """
    return KIT.checks(factory, **_bounded(options))


def conformance_checks(factory: Factory[RuntimeUnderTest], /, **options: Unpack[CheckOptions]) -> list[ParameterSet]:
    """Return all checks as parameters for `pytest.mark.parametrize`; it takes what `checks` takes."""
    return KIT.conformance_checks(factory, **_bounded(options))


__all__ = [
    "KIT",
    "Behaviour",
    "CannotStart",
    "CopiesStdin",
    "Dies",
    "Exits",
    "Forks",
    "IgnoresSigterm",
    "ListensOn",
    "Prints",
    "PrintsEnvironment",
    "RuntimeUnderTest",
    "Sleeps",
    "TrapsSigterm",
    "Unsupported",
    "checks",
    "conformance_checks",
    "pattern",
]
