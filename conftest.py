"""For all tests of the workspace: that a machine is busy is no reason to fail."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

if settings().deadline is not None:
    # Both are measured by the clock on the wall, and so say as much about what else runs as about what is tested.
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")
