"""Steps of admission that ask somebody else's server.

The body that is sent is `{"kind": "AdmissionReview", "request": {...}}`; the answer has a `response` with the request's
`uid`, with `allowed`, and where it wants with `reason`, `warnings` and, of a mutating one, `patch`: a list of RFC 6902
operations.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import trio
from attrs import Attribute, field, frozen, validators
from orchestrion.control_plane._outgoing import MAX_ANSWER_BYTES, AnswerTooLarge, HttpAnswer, Outgoing
from orchestrion.control_plane._reach import OutOfReach
from orchestrion.shared_types import ConfigInvalid, PreconditionFailed, Unavailable

from .review import AdmissionRequest, Operation, Review, patched

ANY: Final = "*"
"""Every kind but Secret, which a rule has to name: nobody sends secrets away without having said so."""

MAX_TIMEOUT_SECONDS: Final = 30.0

_SECRETS: Final = "Secret"
_MAX_WARNINGS: Final = 20
_MAX_TEXT: Final = 500
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OK: Final = 200
_TOO_LARGE: Final = "gave an answer that is too large"


Post: TypeAlias = Callable[[str, bytes, float], Awaitable[HttpAnswer]]
"""Sends a body of JSON to a URL and returns the answer within so many seconds; it follows no redirection, and raises
where there is no answer."""


def posting(outgoing: Outgoing, /) -> Post:
    """Return what sends requests over the network."""

    async def post(url: str, body: bytes, within_seconds: float) -> HttpAnswer:
        with trio.fail_after(within_seconds):
            return await outgoing.post(url, body)

    return post


class FailurePolicy(StrEnum):
    """What happens to a change where a webhook does not answer as it should."""

    FAIL = "fail"
    """It is refused."""
    IGNORE = "ignore"
    """It is admitted with a warning."""


class Reinvocation(StrEnum):
    """Whether a mutating webhook is called once more for a request."""

    NEVER = "never"
    IF_NEEDED = "if-needed"
    """Where a later mutator changed the object."""


def _as_names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


def _as_namespaces(names: Iterable[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _as_operations(operations: Iterable[Operation]) -> frozenset[Operation]:
    return frozenset(operations)


def _as_rules(rules: Iterable[WebhookRule]) -> tuple[WebhookRule, ...]:
    return tuple(rules)


@frozen(kw_only=True)
class WebhookRule:
    """Which requests a webhook is called for.

    Attributes:
        kinds: Kinds by name; `*` is every kind but Secret.
        operations: Operations; never empty.
        namespaces: Namespaces by name, where cluster-wide objects have the empty one; None is everywhere.
    """

    kinds: frozenset[str] = field(converter=_as_names)
    operations: frozenset[Operation] = field(converter=_as_operations, validator=validators.min_len(1))
    namespaces: frozenset[str] | None = field(default=None, converter=_as_namespaces)

    def covers(self, request: AdmissionRequest, /) -> bool:
        """Return whether a request is among them."""
        kind = request.kind in self.kinds or (ANY in self.kinds and request.kind != _SECRETS)
        namespace = self.namespaces is None or request.namespace in self.namespaces
        return kind and namespace and request.operation in self.operations


def _is_safe(instance: object, attribute: Attribute[str], url: str) -> None:
    parts = urlsplit(url)
    try:
        no_port = parts.port == 0
    except ValueError:
        no_port = True
    if no_port:
        raise ValueError("the port of a webhook's url is a number from 1 to 65535")
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError("a webhook's url is https://HOST/PATH")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError("a webhook's url begins with https://; only on this machine it may be http://")


@frozen(kw_only=True)
class Webhook:
    """A server that is asked.

    Attributes:
        name: What refusals and warnings call it.
        url: Where it is: https, or http on this machine.
        rules: Which requests it is asked about: those that any of them covers.
        failure_policy: What happens where it does not answer as it should.
        timeout_seconds: How long it may take, > 0 and <= 30.
        reinvocation: Whether it is called once more; of no meaning for a validating one.
    """

    name: str = field(validator=validators.min_len(1))
    url: str = field(validator=_is_safe)
    rules: tuple[WebhookRule, ...] = field(converter=_as_rules)
    failure_policy: FailurePolicy = FailurePolicy.FAIL
    timeout_seconds: float = field(default=10.0, validator=[validators.gt(0), validators.le(MAX_TIMEOUT_SECONDS)])
    reinvocation: Reinvocation = Reinvocation.NEVER


class _BadAnswer(Exception):
    """Why an answer is none; the sentence goes on after the webhook's name."""

    def __init__(self, said: str, remedy: str = "See to that server, or try later.") -> None:
        super().__init__(said)
        self.remedy = remedy


class _Called:
    """What both sorts of webhooks have in common."""

    def __init__(self, webhook: Webhook, post: Post, /) -> None:
        """Take the webhook, and what sends requests."""
        self._webhook = webhook
        self._post = post

    @property
    def name(self) -> str:
        """What refusals and warnings call it."""
        return self._webhook.name

    def handles(self, request: AdmissionRequest, /) -> bool:
        """Return whether it is asked about a request."""
        return any(rule.covers(request) for rule in self._webhook.rules)

    async def _review(self, request: AdmissionRequest, *, mutating: bool) -> Review:
        webhook = self._webhook
        try:
            return _read(await self._answer(_body(request)), request, mutating=mutating)
        except _BadAnswer as err:
            if webhook.failure_policy is FailurePolicy.IGNORE:
                return Review(warnings=(f"webhook {webhook.name!r} was passed over: it {err}",))
            raise Unavailable(
                f"webhook {webhook.name!r} {err}",
                remedy=f"The change was refused because nobody else may judge it. {err.remedy}",
            ) from (err.__cause__ or err)

    async def _answer(self, body: bytes) -> bytes:
        webhook = self._webhook
        try:
            with trio.fail_after(webhook.timeout_seconds):
                answer = await self._post(webhook.url, body, webhook.timeout_seconds)
        except trio.TooSlowError as err:
            raise _BadAnswer(f"did not answer within {webhook.timeout_seconds:g} s") from err
        except OutOfReach as err:
            # The address itself is for the log: whoever makes a change need not know it.
            raise _BadAnswer("is at an address that is not public", err.remedy) from err
        except AnswerTooLarge as err:
            raise _BadAnswer(_TOO_LARGE) from err
        except Exception as err:
            raise _BadAnswer("could not be reached") from err
        if answer.status != _OK:
            raise _BadAnswer(f"answered with status {answer.status}")
        if len(answer.body) > MAX_ANSWER_BYTES:
            raise _BadAnswer(_TOO_LARGE)
        return answer.body


class ValidatingWebhook(_Called):
    """A validator that is somebody else's server."""

    async def validate(self, request: AdmissionRequest, /) -> Review:
        """Return what the server says.

        Raises:
            Unavailable: It did not answer as it should, and its failure policy is `fail`.
        """
        return await self._review(request, mutating=False)


class MutatingWebhook(_Called):
    """A mutator that is somebody else's server."""

    @property
    def reinvoked(self) -> bool:
        """Whether it is called once more where a later mutator changed the object."""
        return self._webhook.reinvocation is Reinvocation.IF_NEEDED

    async def mutate(self, request: AdmissionRequest, /) -> Review:
        """Return what the server says; a patch that can't be applied counts as no answer.

        Raises:
            Unavailable: It did not answer as it should, and its failure policy is `fail`.
        """
        return await self._review(request, mutating=True)


def _body(request: AdmissionRequest) -> bytes:
    principal = request.principal
    asked = {
        "uid": request.uid,
        "operation": request.operation,
        "kind": request.kind,
        "namespace": request.namespace,
        "name": request.name,
        "object": request.object,
        "old_object": request.old_object,
        "principal": {"name": principal.name, "kind": principal.kind, "groups": sorted(principal.all_groups)},
        "dry_run": request.dry_run,
        **({"action": request.action} if request.action else {}),
    }
    return json.dumps({"kind": "AdmissionReview", "request": asked}, separators=(",", ":")).encode()


def _read(body: bytes, request: AdmissionRequest, *, mutating: bool) -> Review:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise _BadAnswer("gave an answer that is no JSON") from err
    response = said.get("response") if isinstance(said, dict) else None
    if not isinstance(response, dict):
        raise _BadAnswer("gave an answer without a response")
    if response.get("uid") != request.uid:
        raise _BadAnswer("answered another request")
    allowed = response.get("allowed")
    if not isinstance(allowed, bool):
        raise _BadAnswer("did not say whether the change is allowed")
    warnings = _optional(response, "warnings", list)
    if not all(isinstance(text, str) for text in warnings):
        raise _BadAnswer("gave warnings that are no texts")
    patch = _optional(response, "patch", list)
    if patch and not mutating:
        raise _BadAnswer("wants to change the object, which a validating one may not")
    if patch and allowed:
        try:
            patched(request, patch)
        except (ConfigInvalid, PreconditionFailed) as err:
            raise _BadAnswer("gave a patch that could not be applied") from err
    return Review(
        allowed=allowed,
        reason=_shown(_optional(response, "reason", str)),
        warnings=[_shown(text) for text in warnings[:_MAX_WARNINGS]],
        patch=patch if allowed else (),
    )


def _optional(response: Mapping[str, Any], key: str, kind: type) -> Any:
    value = response.get(key)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise _BadAnswer(f"gave a {key} of a wrong form")
    return value


def _shown(text: str) -> str:
    """Return a stranger's text in one line that does no harm to whoever reads it in a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:_MAX_TEXT])
