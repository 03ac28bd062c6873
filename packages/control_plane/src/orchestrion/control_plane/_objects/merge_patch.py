"""Merge patches (RFC 7396): a document in the form of the target, where null removes."""

from __future__ import annotations

from typing import Any

from .json_values import check_size


def merge_patch(target: Any, patch: Any, /) -> Any:
    """Return `target` with a merge patch applied.

    An object in the patch goes into the object at its place, member by member; null removes a member; everything else,
    lists too, replaces what is there. Neither argument is changed; the result may share parts with both.

    Applying the same patch once more changes nothing.

    Raises:
        ConfigInvalid: The patch is too deep or too large.
    """
    check_size(patch, "the patch")
    return _merged(target, patch)


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result
