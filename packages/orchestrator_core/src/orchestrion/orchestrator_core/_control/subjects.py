"""What a name means: a workload, `workload.index` for the latest instance of a slot, or `workload.index.epoch`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from attrs import frozen
from orchestrion.shared_types import DEFAULT_NAMESPACE, InstanceNotFound

T = TypeVar("T")


@frozen
class Subject:
    """A workload or one of its instances.

    Attributes:
        text: As it was written.
        workload: The workload's name.
        index: The slot; None for the workload.
        epoch: Which instance of the slot; None for the latest.
    """

    text: str
    workload: str
    index: int | None = None
    epoch: int | None = None

    def chosen(
        self, instances: Iterable[T], place: Callable[[T], tuple[int, int]], /, *, namespace: str = DEFAULT_NAMESPACE
    ) -> list[T]:
        """Return those of a workload's instances that are meant: all of the workload's, or the one.

        Args:
            instances: All of the workload's.
            place: Tells an instance's slot and epoch.
            namespace: Where they are, for the error.

        Raises:
            InstanceNotFound: The one is not among them.
        """
        if self.index is None:
            return list(instances)
        own = [one for one in instances if place(one)[0] == self.index and self.epoch in (None, place(one)[1])]
        if not own:
            raise self.unknown(namespace)
        return [max(own, key=lambda one: place(one)[1])]

    def names(self, text: str, /) -> bool:
        """Whether `text` names what is meant: an instance, or a slot that has none yet."""
        other = parse_subject(text)
        if self.index is None:
            return other.workload == self.workload
        same_slot = (other.workload, other.index) == (self.workload, self.index)
        return same_slot and self.epoch in (None, other.epoch)

    def unknown(self, namespace: str = DEFAULT_NAMESPACE) -> InstanceNotFound:
        """Return what to raise where there is no such instance."""
        msg = f"there is no instance {self.text!r} in namespace {namespace!r}"
        return InstanceNotFound(msg, remedy=f"See those that are remembered: orchestrion status {self.workload}")


def parse_subject(text: str, /) -> Subject:
    """Return what a name means.

    Raises:
        InstanceNotFound: It can be no name of an instance.
    """
    workload, *numbers = text.split(".")
    if len(numbers) > 2 or not all(number.isascii() and number.isdecimal() for number in numbers):
        msg = f"{text!r:.200} names no instance"
        raise InstanceNotFound(msg, remedy="Write WORKLOAD.INDEX, such as web.0, or WORKLOAD.INDEX.EPOCH.")
    if any(len(number) > _MAX_DIGITS for number in numbers):
        raise Subject(text[:200], workload).unknown()
    index, epoch = (*(int(number) for number in numbers), None, None)[:2]
    return Subject(text, workload, index, epoch)


_MAX_DIGITS = 19
"""Longer numbers are none of ours, and those of thousands of digits Python refuses."""
