"""What NAME means on the command line: a workload, `workload.index` for its latest epoch, or `workload.index.epoch`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen
from orchestrion.shared_types import (
    DEFAULT_NAMESPACE,
    ConfigInvalid,
    ContainerNotFound,
    InstanceNotFound,
    InstanceState,
    Problem,
    WorkloadInstance,
)

from ._reader import Reader


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

    def chosen(self, instances: Iterable[WorkloadInstance], /) -> list[WorkloadInstance]:
        """Return those of a workload's instances that are meant: all of the workload's, or the one.

        Raises:
            InstanceNotFound: The one is not among them.
        """
        own = [one for one in instances if self.index in (None, one.key.index) and self.epoch in (None, one.key.epoch)]
        if self.index is None:
            return own
        if not own:
            raise self.unknown()
        return [max(own, key=lambda one: one.key.epoch)]

    def names(self, text: str, /) -> bool:
        """Whether `text` names what is meant: an instance, or a slot that has none yet."""
        other = parsed(text)
        if self.index is None:
            return other.workload == self.workload
        same_slot = (other.workload, other.index) == (self.workload, self.index)
        return same_slot and self.epoch in (None, other.epoch)

    def unknown(self) -> InstanceNotFound:
        """Return what to raise where there is no such instance."""
        msg = f"no instance {self.text!r} is remembered"
        return InstanceNotFound(msg, remedy=f"`orchestrion status {self.workload}` lists those that are.")


def parsed(text: str, /) -> Subject:
    """Return what a name means.

    Raises:
        InstanceNotFound: It can be no name of an instance.
    """
    workload, *numbers = text.split(".")
    if len(numbers) > 2 or not all(number.isascii() and number.isdecimal() for number in numbers):
        msg = f"{text!r} names no instance"
        raise InstanceNotFound(msg, remedy="Write WORKLOAD.INDEX, such as web.0, or WORKLOAD.INDEX.EPOCH.")
    index, epoch = (*(int(number) for number in numbers), None, None)[:2]
    return Subject(text, workload, index, epoch)


async def event_subject(text: str, namespace: str | None, reader: Reader) -> tuple[str, str | None]:
    """Return an event's subject and its namespace: with a kind in front, as in "workload/web", it is complete.

    Raises:
        InstanceNotFound: `text` is a slot of which no instance is remembered.
    """
    if "/" in text:
        return text, namespace
    subject = parsed(text)
    if subject.index is None:
        return f"workload/{text}", namespace
    if subject.epoch is not None:
        return f"instance/{text}", namespace
    space = namespace or DEFAULT_NAMESPACE
    (instance,) = subject.chosen(await reader.list_instances(namespace=space, workload=subject.workload))
    return f"instance/{instance.name}", space


async def runnable(text: str, namespace: str, reader: Reader) -> str:
    """Return the instance in which a command is to run: of a workload, the only one that runs.

    Raises:
        WorkloadNotFound: There is no such workload.
        InstanceNotFound: None of its instances runs.
        ConfigInvalid: More than one does.
    """
    subject = parsed(text)
    if subject.index is not None:
        return text
    await reader.get_workload(text, namespace=namespace)
    instances = await reader.list_instances(namespace=namespace, workload=text)
    running = [one.name for one in instances if one.status.state is InstanceState.RUNNING]
    if not running:
        msg = f"no instance of {text!r} runs"
        raise InstanceNotFound(msg, remedy=f"`orchestrion status {text}` says what happens next.")
    if len(running) > 1:
        problem = Problem(f"{text!r} has {len(running)} instances that run: {', '.join(running)}")
        raise ConfigInvalid((problem,), remedy="Name one of them.")
    return running[0]


async def check_container(container: str, subject: Subject, namespace: str, reader: Reader) -> None:
    """Make sure that a workload has, or had, a container of a name.

    Raises:
        WorkloadNotFound: There is no such workload.
        ContainerNotFound: It has no such container.
    """
    view = await reader.get_workload(subject.workload, namespace=namespace)
    instances = await reader.list_instances(namespace=namespace, workload=subject.workload)
    names: Sequence[str] = [
        *(one.name for one in view.definition.containers),
        *(one.name for instance in instances for one in instance.status.containers),
    ]
    if container not in names:
        msg = f"{subject.workload!r} has no container {container!r}"
        raise ContainerNotFound(msg, remedy=f"It has: {', '.join(dict.fromkeys(names))}.")
