"""The chain that every change passes: mutators, the form of the object once more, then validators."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import evolve, frozen
from orchestrion.control_plane._objects.json_values import JsonObject
from orchestrion.shared_types import ConfigInvalid, Denied, InternalError, PreconditionFailed

from .review import AdmissionRequest, Mutator, Review, Validator, patched

MAX_WARNINGS = 50


@frozen
class Admitted:
    """A change that may be made.

    Attributes:
        object: The object that is to be written, with all that was changed in it; None where the request had none.
        warnings: What whoever asks should know, each once, in the order in which it was said.
    """

    object: JsonObject | None
    warnings: tuple[str, ...]


class AdmissionChain:
    """Asks mutators, then validators, one after the other.

    Each mutator sees what the ones before it made of the object. When all have been asked, those that want it are asked
    once more if a later one changed the object, and only once: two that undo each other's work come to an end. Then the
    object is checked for its form, because what mutators wrote nobody has looked at, and validators see what will be
    written. The first step that says no ends it.

    **Cancellation.** Atomic: nothing is written here.

    **Concurrency.** Any number of requests at once.
    """

    def __init__(
        self,
        mutators: Sequence[Mutator],
        validators: Sequence[Validator],
        /,
        *,
        check: Callable[[AdmissionRequest], JsonObject],
    ) -> None:
        """Take the steps in their order.

        Args:
            mutators: Asked first.
            validators: Asked last.
            check: Returns the request's object as its kind has it, or raises ConfigInvalid where it does not fit.
        """
        self._mutators = tuple(mutators)
        self._validators = tuple(validators)
        self._check = check

    async def admit(self, request: AdmissionRequest, /) -> Admitted:
        """Return what may be written.

        Raises:
            Denied: A step said no; it says which, and why.
            ConfigInvalid: The object does not fit its kind, as it was sent or as mutators made it.
            InternalError: A mutator's patch could not be applied.
            OrchestrationError: A step refused the change by an error of its own.
        """
        warnings: dict[str, None] = {}
        if request.object is not None:
            request = await self._mutated(request, warnings)
            request = evolve(request, object=self._check(request))
        for validator in self._validators:
            if validator.handles(request):
                _admitted(validator.name, await validator.validate(request), warnings)
        return Admitted(request.object, tuple(warnings)[:MAX_WARNINGS])

    async def _mutated(self, request: AdmissionRequest, warnings: dict[str, None]) -> AdmissionRequest:
        seen: list[tuple[Mutator, JsonObject | None]] = []
        for mutator in self._mutators:
            if mutator.handles(request):
                request = await _mutated_by(mutator, request, warnings)
                seen.append((mutator, request.object))
        for mutator, left in seen:
            # `patched` gives back the same object where nothing changed.
            if mutator.reinvoked and request.object is not left and mutator.handles(request):
                request = await _mutated_by(mutator, request, warnings)
        return request


async def _mutated_by(mutator: Mutator, request: AdmissionRequest, warnings: dict[str, None]) -> AdmissionRequest:
    review = await mutator.mutate(request)
    _admitted(mutator.name, review, warnings)
    try:
        return patched(request, review.patch)
    except (ConfigInvalid, PreconditionFailed) as err:
        raise InternalError(
            f"what {mutator.name!r} wanted changed in {request.kind} {request.name!r} could not be applied",
            remedy="This is a fault of that step of admission; the log of the server has the details.",
        ) from err


def _admitted(name: str, review: Review, warnings: dict[str, None]) -> None:
    warnings.update(dict.fromkeys(review.warnings))
    if not review.allowed:
        raise Denied(f"{name!r} refused it: {review.reason or 'it gave no reason'}")
