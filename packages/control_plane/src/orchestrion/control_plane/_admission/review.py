"""What admission is asked, and what one step of it says."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

from attrs import evolve, field, frozen
from orchestrion.control_plane._identity.principals import Principal
from orchestrion.control_plane._objects.json_patch import apply_patch
from orchestrion.control_plane._objects.json_values import JsonObject, equal, place
from orchestrion.shared_types import ConfigInvalid, Problem


class Operation(StrEnum):
    """What is to be done with an object."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    CONNECT = "connect"
    """Exec, or anything else that opens a stream to it."""


@frozen(kw_only=True)
class AdmissionRequest:
    """A change that somebody asks for.

    Attributes:
        uid: Unique to this request; not the object's.
        operation: What is to be done.
        kind: The object's kind, such as "Workload".
        namespace: Its namespace; empty for cluster-wide kinds.
        name: Its name.
        object: The object as it would be, as plain data; None where it is to go, or is only connected to.
        old_object: The object as it is; None where there is none yet.
        principal: Who asks.
        dry_run: Whether nothing will be written whatever is said; then nobody may change anything elsewhere either.
        action: What is done beside writing the object as a whole, such as "scale" or "pause"; or empty.
    """

    uid: str
    operation: Operation
    kind: str
    namespace: str
    name: str
    object: JsonObject | None
    old_object: JsonObject | None
    principal: Principal
    dry_run: bool = False
    action: str = ""


def _as_warnings(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(texts)


@frozen(kw_only=True)
class Review:
    """What a step says.

    Attributes:
        allowed: Whether the change may be made, as far as this step is concerned.
        reason: Why not; empty where it may.
        warnings: What whoever asks should know, one sentence each.
        patch: The operations (RFC 6902) that a mutator wants applied to the object; a validator has none.
    """

    allowed: bool = True
    reason: str = ""
    warnings: tuple[str, ...] = field(default=(), converter=_as_warnings)
    patch: Sequence[JsonObject] = ()


class Mutator(Protocol):
    """A step that may change the object.

    **Idempotency.** Asked about an object that it has changed itself, it wants no further change.

    **Concurrency.** Any number of requests at once.
    """

    @property
    def name(self) -> str:
        """What refusals and warnings call it."""

    @property
    def reinvoked(self) -> bool:
        """Whether it is asked once more where a later mutator changed the object."""

    def handles(self, request: AdmissionRequest, /) -> bool:
        """Return whether it has anything to do with a request."""

    async def mutate(self, request: AdmissionRequest, /) -> Review:
        """Return whether the change may be made, and what is to be changed in the object, which is there.

        Raises:
            OrchestrationError: The change is refused for a reason that has an error of its own.
        """


class Validator(Protocol):
    """A step that only says yes or no, to what will be written as it will be written.

    **Concurrency.** Any number of requests at once.
    """

    @property
    def name(self) -> str:
        """What refusals and warnings call it."""

    def handles(self, request: AdmissionRequest, /) -> bool:
        """Return whether it has anything to do with a request."""

    async def validate(self, request: AdmissionRequest, /) -> Review:
        """Return whether the change may be made.

        Raises:
            OrchestrationError: The change is refused for a reason that has an error of its own.
        """


_OPEN_PARTS = ("spec",)
_OPEN_METADATA = ("labels", "annotations", "owners", "finalizers")


def patched(request: AdmissionRequest, patch: Sequence[JsonObject], /) -> AdmissionRequest:
    """Return a request whose object has a mutator's patch applied; the same request where the patch changes nothing.

    A mutator may change the spec, and labels, annotations, owners and finalizers. Which object it is, its history and
    its status are not for it to change: whoever asked was authorised for just this object.

    Raises:
        ConfigInvalid: The patch can't be applied, or changes what it may not.
        PreconditionFailed: A test in it finds another value.
    """
    before = request.object
    if not patch or before is None:
        return request
    after = apply_patch(before, list(patch))
    if not isinstance(after, dict):
        raise ConfigInvalid((Problem("the patch leaves no object"),))
    for path, was, is_now in (*_closed(before, after, _OPEN_PARTS), *_closed_metadata(before, after)):
        if was is None or is_now is None or not equal(was[0], is_now[0]):
            raise ConfigInvalid((Problem("the patch changes what no mutator may change", place(*path)),))
    return request if equal(before, after) else evolve(request, object=after)


_Value = tuple[Any] | None


def _closed(
    before: JsonObject, after: JsonObject, open_keys: tuple[str, ...], inside: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], _Value, _Value]]:
    """Return the values that may not be changed, with their places; None stands for one that is not there."""
    left_out = open_keys if inside else (*open_keys, "metadata")
    return [
        ((*inside, key), (before[key],) if key in before else None, (after[key],) if key in after else None)
        for key in {**before, **after}
        if key not in left_out
    ]


def _closed_metadata(before: JsonObject, after: JsonObject) -> list[tuple[tuple[str, ...], _Value, _Value]]:
    was, is_now = before.get("metadata", {}), after.get("metadata", {})
    if not isinstance(was, dict) or not isinstance(is_now, dict):
        return [(("metadata",), (was,), (is_now,))]
    return _closed(was, is_now, _OPEN_METADATA, ("metadata",))
