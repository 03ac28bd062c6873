"""Which class an error has that was told over the wire."""

from __future__ import annotations

from orchestrion.control_plane import error_of, problem_of
from orchestrion.shared_types import NotFound, OrchestrationError


def test_a_class_that_is_told_like_one_of_ours_does_not_stand_in_for_it() -> None:
    class Lost(OrchestrationError):
        code = NotFound.code

    assert problem_of(Lost("gone"))["code"] == NotFound.code
    assert type(error_of(problem_of(NotFound("gone")))) is NotFound
