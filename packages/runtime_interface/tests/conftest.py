"""Honest mock runtimes for the tests of the kit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest
from orchestrion.mocks import MockRuntime
from orchestrion.runtime_interface.conformance import RuntimeUnderTest, conformance_checks

from .runtime_mutants import open_mock


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise over the honest mock's checks."""
    if "honest_check" in metafunc.fixturenames:
        metafunc.parametrize("honest_check", conformance_checks(partial(open_mock, MockRuntime)))


@pytest.fixture
def open_honest() -> Callable[[], AbstractAsyncContextManager[RuntimeUnderTest]]:
    """Give a factory of honest runtimes."""
    return partial(open_mock, MockRuntime)
