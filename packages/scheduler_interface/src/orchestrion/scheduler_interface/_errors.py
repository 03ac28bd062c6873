"""The errors of a scheduler, by what the caller can do."""

from __future__ import annotations

from orchestrion.shared_types import SchedulingFailure, Unavailable


class InvalidSchedulingRequest(SchedulingFailure, ValueError):
    """The request is outside what the interface allows. Do not repeat."""

    code = "scheduling-invalid-request"


class SchedulerUnavailable(Unavailable, SchedulingFailure):
    """The scheduler can't be asked now. Nothing was decided, and repeating is safe."""

    code = "scheduling-unavailable"
