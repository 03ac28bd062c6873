"""The errors of a runtime, by what the caller can do."""

from __future__ import annotations

from orchestrion.shared_types import (
    Closed,
    Conflict,
    ContainerNotFound,
    RuntimeFailure,
    Stale,
    Unavailable,
    Unsupported,
)


class ContainerConflict(Conflict, RuntimeFailure):
    """A container of that instance, name and attempt exists with another config. Do not repeat."""

    code = "runtime-conflict"


class StaleEpoch(Stale, RuntimeFailure):
    """A higher epoch of the slot, or a higher attempt of the container, is known. Do not repeat.

    Attributes:
        known: The highest epoch or attempt that the runtime has seen.
    """

    code = "runtime-stale"

    def __init__(self, message: str, /, *, known: int) -> None:
        super().__init__(message)
        self.known = known


class ConfigUnsupported(Unsupported, RuntimeFailure):
    """This runtime can never run such a container: a field of the config asks for what it can't do. Do not repeat."""

    code = "runtime-config-unsupported"


class StartFailed(RuntimeFailure):
    """The container could not be started: no such program, user or directory; nothing of it is left.

    Repeating fails again unless the node changes.
    """

    code = "runtime-start-failed"


class CommandNotFound(RuntimeFailure):
    """A command's program is not there in the container; nothing was started. Shells tell of that by the code 127."""

    code = "runtime-command-not-found"


class CommandNotExecutable(RuntimeFailure):
    """A command's program is there and can't be executed; nothing was started. Shells tell of that by the code 126."""

    code = "runtime-command-not-executable"


class PortTaken(RuntimeFailure):
    """A host port is in use; nothing was started. Choose others and create again.

    Attributes:
        ports: The host ports in use.
    """

    code = "runtime-port-taken"

    def __init__(self, message: str, /, *, ports: tuple[int, ...]) -> None:
        super().__init__(message)
        self.ports = ports


class RuntimeUnavailable(Unavailable, RuntimeFailure):
    """The runtime can't answer now. What an effect did is unknown; repeating is safe."""

    code = "runtime-unavailable"


class RuntimeClosed(Closed, RuntimeFailure):
    """You closed the runtime."""

    code = "runtime-closed"


__all__ = [
    "CommandNotExecutable",
    "CommandNotFound",
    "ConfigUnsupported",
    "ContainerConflict",
    "ContainerNotFound",
    "PortTaken",
    "RuntimeClosed",
    "RuntimeUnavailable",
    "StaleEpoch",
    "StartFailed",
]
