"""What NAME means to a command: the core says which workload or instance, a command which of several it takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrion.orchestrator_core import Subject, parse_subject
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


def chosen(subject: Subject, instances: Iterable[WorkloadInstance], /) -> list[WorkloadInstance]:
    """Return those of a workload's instances that a name means; see `Subject.chosen`."""
    return subject.chosen(instances, lambda one: (one.key.index, one.key.epoch))


async def event_subject(text: str, namespace: str | None, reader: Reader) -> tuple[str, str | None]:
    """Return an event's subject and its namespace: with a kind in front, as in "workload/web", it is complete.

    Raises:
        InstanceNotFound: `text` is a slot of which no instance is remembered.
    """
    if "/" in text:
        return text, namespace
    subject = parse_subject(text)
    if subject.index is None:
        return f"workload/{text}", namespace
    if subject.epoch is not None:
        return f"instance/{text}", namespace
    space = namespace or DEFAULT_NAMESPACE
    (instance,) = chosen(subject, await reader.list_instances(namespace=space, workload=subject.workload))
    return f"instance/{instance.name}", space


async def runnable(text: str, namespace: str, reader: Reader) -> str:
    """Return the instance in which a command is to run: of a workload, the only one that runs.

    Raises:
        WorkloadNotFound: There is no such workload.
        InstanceNotFound: None of its instances runs.
        ConfigInvalid: More than one does.
    """
    subject = parse_subject(text)
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
