"""A token that was made is shown, whatever becomes of the command after that."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import pytest
from orchestrion.cli._kinds import KindName
from orchestrion.cli._objects import Objects
from orchestrion.shared_types import NetworkFailure, OrchestrationError, TooManyRequests, Unavailable

from .served_directory import Do

pytestmark = pytest.mark.slow  # each is a command of its own, with the imports of its parser


@pytest.mark.parametrize(
    "failure", [TooManyRequests("later", retry_after_seconds=1), Unavailable("not now"), NetworkFailure("cut off")]
)
def test_a_token_is_shown_also_where_who_made_it_does_not_answer_after_that(
    failure: OrchestrationError, do: Do, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list[str]()

    async def refused(_self: Objects, _kind: KindName, **_: Any) -> NoReturn:
        printed = capsys.readouterr()
        before.extend((printed.out, printed.err))
        raise failure

    with monkeypatch.context() as patched:
        patched.setattr(Objects, "list", refused)
        code, out, err = do("token", "create", "ci", "--kind", "service")
    assert (code, out, err) == (0, "", "")
    token, said = before
    assert token.startswith("orc_")
    assert "it is not shown again" in said
    listed = json.loads(do("token", "ls", "-o", "json")[1])
    assert said.partition(":")[0] in [one["id"] for one in listed]
