"""The ContainerRuntime interface and its optional abilities."""

from orchestrion.shared_types import ContainerNotFound, NodeNotFound, RuntimeFailure

from ._errors import (
    CommandNotExecutable,
    CommandNotFound,
    ConfigUnsupported,
    ContainerConflict,
    PortTaken,
    RuntimeClosed,
    RuntimeUnavailable,
    StaleEpoch,
    StartFailed,
)
from ._interface import ContainerRuntime, ExecSession, SupportsEvents, SupportsExec, SupportsLogs, SupportsStats
from ._types import (
    ContainerHint,
    ContainerStats,
    ContainerSummary,
    CreateOptions,
    ExecOutput,
    LogChunk,
    LogStream,
    RuntimeCapability,
    VolumeSource,
)

__all__ = [
    "CommandNotExecutable",
    "CommandNotFound",
    "ConfigUnsupported",
    "ContainerConflict",
    "ContainerHint",
    "ContainerNotFound",
    "ContainerRuntime",
    "ContainerStats",
    "ContainerSummary",
    "CreateOptions",
    "ExecOutput",
    "ExecSession",
    "LogChunk",
    "LogStream",
    "NodeNotFound",
    "PortTaken",
    "RuntimeCapability",
    "RuntimeClosed",
    "RuntimeFailure",
    "RuntimeUnavailable",
    "StaleEpoch",
    "StartFailed",
    "SupportsEvents",
    "SupportsExec",
    "SupportsLogs",
    "SupportsStats",
    "VolumeSource",
]
