"""The webhooks that there are, as objects."""

from __future__ import annotations

import ssl
from enum import StrEnum
from functools import partial
from typing import Final, TypeVar

import trio
from attrs import define, field
from orchestrion.control_plane._history.history import History
from orchestrion.control_plane._objects.document import Document
from orchestrion.control_plane._objects.kinds import MUTATING_WEBHOOK, VALIDATING_WEBHOOK
from orchestrion.control_plane._objects.specs import MutatingWebhookSpec, ValidatingWebhookSpec
from orchestrion.control_plane._outgoing import HttpAnswer, Outgoing
from orchestrion.control_plane._reach import Reach
from orchestrion.shared_types import ConfigInvalid, Problem, parse_duration, structure

from .looking import Looked
from .review import AdmissionRequest, Mutator, Operation, Validator
from .webhooks import (
    MAX_TIMEOUT_SECONDS,
    FailurePolicy,
    MutatingWebhook,
    Post,
    Reinvocation,
    ValidatingWebhook,
    Webhook,
    WebhookRule,
    posting,
)

E = TypeVar("E", bound=StrEnum)

MAX_CALLS: Final = 64
"""Calls of one webhook that are under way at once. One that changes objects itself, and so is asked about its own
changes again and again, comes to its end here: those that wait are given up when their time is over."""

NEVER_ASKED: Final = frozenset({MUTATING_WEBHOOK.name, VALIDATING_WEBHOOK.name})
"""Kinds of which no webhook is asked: a bad one can always be changed or removed."""


@define(eq=False)
class Hooks:
    """Knows the webhooks, as they are now.

    Attributes:
        history: Shows the objects that they are.
        reach: Says where they may be.
    """

    history: History
    reach: Reach = field(factory=Reach)
    _mutating: Looked[MutatingWebhook] = field(init=False)
    _validating: Looked[ValidatingWebhook] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._mutating = Looked(self.history, MUTATING_WEBHOOK, partial(mutating_of, reach=self.reach))
        self._validating = Looked(self.history, VALIDATING_WEBHOOK, partial(validating_of, reach=self.reach))

    @property
    def any(self) -> bool:
        """Whether there are any."""
        plurals = (MUTATING_WEBHOOK.plural, VALIDATING_WEBHOOK.plural)
        return any(self.history.within(plural, "") for plural in plurals)

    def mutators(self, request: AdmissionRequest) -> list[Mutator]:
        """Return those that may change a request's object, by name."""
        if request.kind in NEVER_ASKED:
            return []
        return [hook for hook in self._mutating.all() if hook.handles(request)]

    def validators(self, request: AdmissionRequest) -> list[Validator]:
        """Return those that say whether a request may be done, by name."""
        if request.kind in NEVER_ASKED:
            return []
        return [hook for hook in self._validating.all() if hook.handles(request)]


def mutating_of(document: Document, *, reach: Reach) -> MutatingWebhook:
    """Return the mutating webhook that an object stands for.

    Raises:
        ConfigInvalid: It can't be one.
    """
    spec = structure(dict(document.spec), MutatingWebhookSpec)
    reinvocation = _one_of(Reinvocation, spec.reinvocation, "spec.reinvocation")
    return MutatingWebhook(_webhook(document, spec, reinvocation), _post(spec, reach))


def validating_of(document: Document, *, reach: Reach) -> ValidatingWebhook:
    """Return the validating webhook that an object stands for.

    Raises:
        ConfigInvalid: It can't be one.
    """
    spec = structure(dict(document.spec), ValidatingWebhookSpec)
    return ValidatingWebhook(_webhook(document, spec, Reinvocation.NEVER), _post(spec, reach))


def _webhook(document: Document, spec: ValidatingWebhookSpec, reinvocation: Reinvocation) -> Webhook:
    rules = list[WebhookRule]()
    for place, rule in enumerate(spec.rules):
        path = f"spec.rules[{place}]"
        operations = [_one_of(Operation, each, f"{path}.operations") for each in rule.operations]
        if not operations or not rule.kinds:
            raise ConfigInvalid((Problem("a rule names kinds and operations", path=path),))
        rules.append(WebhookRule(kinds=rule.kinds, operations=operations, namespaces=rule.namespaces))
    try:
        timeout = parse_duration(spec.timeout)
    except ConfigInvalid as err:
        raise ConfigInvalid((Problem(err.problems[0].message, path="spec.timeout"),)) from err
    if not 0 < timeout <= MAX_TIMEOUT_SECONDS:
        text = f"more than 0 and at most {MAX_TIMEOUT_SECONDS:g} seconds are wanted, not {timeout:g}"
        raise ConfigInvalid((Problem(text, path="spec.timeout"),))
    policy = _one_of(FailurePolicy, spec.failure_policy, "spec.failure_policy")
    try:
        return Webhook(
            name=document.metadata.name,
            url=spec.url,
            rules=rules,
            failure_policy=policy,
            timeout_seconds=timeout,
            reinvocation=reinvocation,
        )
    except ValueError as err:
        raise ConfigInvalid((Problem(str(err), path="spec.url"),)) from err


def _post(spec: ValidatingWebhookSpec, reach: Reach) -> Post:
    try:
        # Made once for all requests: to read whom the system trusts takes its time.
        context = ssl.create_default_context(cadata=spec.ca or None)
    except (ssl.SSLError, ValueError, TypeError) as err:  # TypeError for letters that PEM has not
        raise ConfigInvalid((Problem("that is no certificate (PEM)", path="spec.ca"),)) from err
    return bounded(posting(Outgoing(context, reach=reach)))


def bounded(post: Post, most: int = MAX_CALLS) -> Post:
    """Return the same with no more than so many under way at once."""
    under_way = trio.Semaphore(most)

    async def bounded_post(url: str, body: bytes, within_seconds: float) -> HttpAnswer:
        with trio.fail_after(within_seconds):
            async with under_way:
                return await post(url, body, within_seconds)

    return bounded_post


def _one_of(words: type[E], text: str, path: str) -> E:
    try:
        return words(text)
    except ValueError as err:
        known = ", ".join(repr(word.value) for word in words)
        raise ConfigInvalid((Problem(f"one of {known} is wanted, not {text!r:.80}", path=path),)) from err
