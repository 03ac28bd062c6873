"""What a tool that makes up requests has to be told: streams have no end unless they are asked for one."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Let every stream end at once."""
    if any(parameter.name == "timeout_seconds" for parameter in case.operation.query):
        case.query = {**(case.query or {}), "timeout_seconds": 0}
