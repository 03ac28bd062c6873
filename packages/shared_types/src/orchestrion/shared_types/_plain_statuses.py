"""Statuses as plain data: what is written most often by far, once and more for each instance that ever runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from cattrs import Converter

from ._instance import (
    ContainerHealth,
    ContainerState,
    ContainerStatus,
    ExitStatus,
    InstanceState,
    InstanceStatus,
)


def register_statuses(converter: Converter) -> None:
    """Let a converter write statuses field by field.

    The data is the same, and in the same order, as what the converter makes of them by itself. That is only an
    optimisation: most fields of most statuses have their default, which is seen here at a glance.
    """
    time_text = _latest_kept(converter.get_unstructure_hook(datetime))
    plain_exit = converter.get_unstructure_hook(ExitStatus)

    def plain_container(status: ContainerStatus) -> dict[str, Any]:
        plain: dict[str, Any] = {"name": status.name}
        if status.container_id:
            plain["container_id"] = status.container_id
        if status.state is not ContainerState.STARTING:
            plain["state"] = status.state.value
        if status.attempt:
            plain["attempt"] = status.attempt
        if status.exit is not None:
            plain["exit"] = plain_exit(status.exit)
        if status.reason:
            plain["reason"] = status.reason
        if status.created_at is not None:
            plain["created_at"] = time_text(status.created_at)
        if status.started_at is not None:
            plain["started_at"] = time_text(status.started_at)
        if status.finished_at is not None:
            plain["finished_at"] = time_text(status.finished_at)
        if status.ports:
            plain["ports"] = dict(status.ports)
        if status.address:
            plain["address"] = status.address
        if status.health is not ContainerHealth.UNCHECKED:
            plain["health"] = status.health.value
        if status.next_attempt_at is not None:
            plain["next_attempt_at"] = time_text(status.next_attempt_at)
        if status.restarts_in_row:
            plain["restarts_in_row"] = status.restarts_in_row
        return plain

    def plain_instance(status: InstanceStatus) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        if status.state is not InstanceState.PENDING:
            plain["state"] = status.state.value
        if status.reason:
            plain["reason"] = status.reason
        if status.message:
            plain["message"] = status.message
        if status.containers:
            plain["containers"] = [plain_container(container) for container in status.containers]
        if status.healthy_since is not None:
            plain["healthy_since"] = time_text(status.healthy_since)
        if status.started_at is not None:
            plain["started_at"] = time_text(status.started_at)
        if status.finished_at is not None:
            plain["finished_at"] = time_text(status.finished_at)
        return plain

    converter.register_unstructure_hook(ContainerStatus, plain_container)
    converter.register_unstructure_hook(InstanceStatus, plain_instance)


def _latest_kept(text_of: Callable[[datetime], str]) -> Callable[[datetime], str]:
    """Return the same function, which keeps its latest answer: a status tells one moment several times over."""
    latest: tuple[datetime | None, str] = (None, "")

    def kept(time: datetime) -> str:
        nonlocal latest
        known, text = latest
        # The same object and not an equal one: equal times of two zones have two texts.
        if time is not known:
            text = text_of(time)
            latest = time, text
        return text

    return kept
