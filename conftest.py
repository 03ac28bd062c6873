"""For all tests of the workspace: neither that a machine is busy nor how the tests were begun is a reason to fail."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

if settings().deadline is not None:
    # Both are measured by the clock on the wall, and so say as much about what else runs as about what is tested.
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # What a shell starts in its background ignores Ctrl-C, and so would all the programs that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
