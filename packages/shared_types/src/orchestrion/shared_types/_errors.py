"""The errors that every package speaks. Each interface subclasses them by what the caller can do."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen


class OrchestrationError(Exception):
    """The base of all errors that this product raises on purpose.

    Attributes:
        code: A stable word for programs.
        message: What happened and where, for people; it names this step only, the cause is chained.
        remedy: What to do next, or empty.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, /, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message


class NotFound(OrchestrationError):
    """What was named does not exist."""

    code = "not-found"


class NodeNotFound(NotFound):
    """No node has that id."""

    code = "node-not-found"


class WorkloadNotFound(NotFound):
    """No workload has that name."""

    code = "workload-not-found"


class InstanceNotFound(NotFound):
    """No instance has that name."""

    code = "instance-not-found"


class ContainerNotFound(NotFound):
    """No container has that id."""

    code = "container-not-found"


class RuntimeFailure(OrchestrationError):
    """A runtime could not do what it was asked; asking again may help."""

    code = "runtime-failure"


class SchedulingFailure(OrchestrationError):
    """A scheduler could not decide; asking again may help. That nothing fits is no failure but a decision."""

    code = "scheduling-failure"


class ClusterFailure(OrchestrationError):
    """A cluster manager could not do what it was asked; asking again may help."""

    code = "cluster-failure"


class StateFailure(OrchestrationError):
    """A state store could not do what it was asked."""

    code = "state-failure"


class NetworkFailure(OrchestrationError):
    """A peer could not be reached or did not keep to the protocol; asking again may help."""

    code = "network-failure"


class Conflict(OrchestrationError):
    """The key exists with other content, or the expected revision is not the current one. Read again, then decide."""

    code = "conflict"


class Stale(OrchestrationError):
    """A newer generation or epoch is known. Do not repeat."""

    code = "stale"


class Compacted(OrchestrationError):
    """The revision asked for is no longer kept.

    Attributes:
        oldest: The oldest revision that can still be asked for.
    """

    code = "compacted"

    def __init__(self, message: str, /, *, oldest: int, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.oldest = oldest


class PreconditionFailed(Conflict):
    """The object is not as the caller said it must be. Read it again, then decide."""

    code = "precondition-failed"


class Unauthenticated(OrchestrationError):
    """Who asks could not be made out, or proved to be somebody that is not known."""

    code = "unauthenticated"


class Denied(OrchestrationError):
    """Who asks may not do that; nothing was changed."""

    code = "denied"


class QuotaExceeded(OrchestrationError):
    """There would be more of something than is granted; nothing was changed."""

    code = "quota-exceeded"


class TooManyRequests(OrchestrationError):
    """Who asks asks too often, or too much at once.

    Attributes:
        retry_after_seconds: After how long it may be asked again, >= 0.
    """

    code = "too-many-requests"

    def __init__(self, message: str, /, *, retry_after_seconds: float, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(OrchestrationError):
    """Not now; asking again later may help."""

    code = "unavailable"


class Unsupported(OrchestrationError):
    """Never by this implementation; its declared capabilities say so."""

    code = "unsupported"


class Closed(OrchestrationError):
    """You closed it."""

    code = "closed"


class InternalError(OrchestrationError):
    """A fault of this product."""

    code = "internal"


@frozen
class Problem:
    """One thing that is wrong with an input, and where.

    Attributes:
        message: What is wrong and what would be right.
        path: Where in the document, such as `workloads.web.containers[0].command`; empty for the whole.
        file: The file's name, or empty.
        line: From 1; 0 where unknown.
        column: From 1; 0 where unknown.
    """

    message: str
    path: str = ""
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigInvalid(OrchestrationError):
    """What an author wrote can't be accepted; nothing was changed.

    Attributes:
        problems: One or more, in the order of their places.
    """

    code = "config-invalid"

    def __init__(self, problems: tuple[Problem, ...], /, *, remedy: str = "") -> None:
        super().__init__("\n".join(str(problem) for problem in problems), remedy=remedy)
        self.problems = problems
