"""What authors write of the kinds that are not workloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen, validators
from orchestrion.shared_types import (
    HIGHEST_PRIORITY,
    KEY_RULE,
    LOWEST_PRIORITY,
    is_config_key,
    parse_bytes,
    parse_cpu,
)

Amount = str | int
"""A quantity as manifests have it: `500m`, `64Mi`, or a number."""


def amount_of(name: str, amount: Amount) -> int:
    """Return a quantity in the unit that its name stands for: thousandths of a processor, bytes, or pieces.

    Raises:
        ValueError: It is none, or negative.
    """
    text = str(amount)
    if name == "cpu":
        return parse_cpu(text)
    if name in ("memory", "disk"):
        return parse_bytes(text)
    try:
        number = int(text)
    except ValueError:
        msg = f"a whole number is wanted, not {text!r:.80}"
        raise ValueError(msg) from None
    if number < 0:
        msg = f"{number} is negative"
        raise ValueError(msg)
    return number


def _amounts(_instance: object, attribute: Any, amounts: Mapping[str, Amount]) -> None:
    for name, amount in amounts.items():
        try:
            amount_of(name, amount)
        except ValueError as err:
            msg = f"{attribute.name}.{name}: {err}"
            raise ValueError(msg) from err


def _keys(_instance: object, attribute: Any, data: Mapping[str, str]) -> None:
    for key in data:
        if not is_config_key(key):
            msg = f"{attribute.name}: {key!r:.80} can't be a key; a key is {KEY_RULE}"
            raise ValueError(msg)


@frozen(kw_only=True)
class ImagePolicy:
    """Which images the instances of a namespace may be made of.

    Attributes:
        allow: Patterns with `*`, one of which an image must fit; none allows all.
        deny: Patterns none of which it may fit.
        require_digest: Whether it must be named by its digest.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    require_digest: bool = False


@frozen(kw_only=True)
class NamespaceSpec:
    """What holds for all in a namespace.

    Attributes:
        description: What it is for.
        images: Which images may run there.
        priority_class: The priority class of its workloads that have the standard priority; empty is none of its own.
    """

    description: str = ""
    images: ImagePolicy = ImagePolicy()
    priority_class: str = ""


@frozen(kw_only=True)
class ConfigMapSpec:
    """Texts by name, for workloads to read.

    Attributes:
        data: The texts, each with a key that can name a file.
        immutable: Whether they may never change.
    """

    data: Mapping[str, str] = field(factory=dict, validator=_keys)
    immutable: bool = False


@frozen(kw_only=True)
class SecretSpec:
    """Texts by name that are shown to nobody.

    Attributes:
        data: The texts, each with a key that can name a file; who reads the object sees `***`.
        immutable: Whether they may never change.
    """

    data: Mapping[str, str] = field(factory=dict, validator=_keys)
    immutable: bool = False


@frozen(kw_only=True)
class PriorityClassSpec:
    """A priority with a name.

    Attributes:
        value: The priority of its workloads: higher goes first; -2^31 to 2^31-1.
        preempts: Whether its workloads may push out instances of lower priority.
        default: Whether it is the class of workloads that have the standard priority, in namespaces that name no other;
            of several it is the highest.
        description: What it is for.
    """

    value: int = field(validator=[validators.ge(LOWEST_PRIORITY), validators.le(HIGHEST_PRIORITY)])
    preempts: bool = True
    default: bool = False
    description: str = ""


@frozen(kw_only=True)
class ResourceQuotaSpec:
    """How much the workloads of a namespace may ask for, all together.

    Attributes:
        hard: The most of each: `cpu`, `memory`, `disk`, `gpus`, `instances`, `workloads`, or an extended resource.
    """

    hard: Mapping[str, Amount] = field(factory=dict, validator=_amounts)


@frozen(kw_only=True)
class LimitRangeSpec:
    """What each container of a namespace asks for, at least, at most, and where it does not say.

    Attributes:
        default: What a container gets that does not say.
        min: The least it may ask for.
        max: The most.
    """

    default: Mapping[str, Amount] = field(factory=dict, validator=_amounts)
    min: Mapping[str, Amount] = field(factory=dict, validator=_amounts)
    max: Mapping[str, Amount] = field(factory=dict, validator=_amounts)


@frozen(kw_only=True)
class RuleSpec:
    """What may be done.

    Attributes:
        verbs: Such as "get", "list", "create"; "*" is all.
        resources: Plural names of kinds, with a subresource behind a slash; "*" is all.
        namespaces: Only there; "*" is everywhere, cluster-wide kinds too.
        names: Only these objects; "*" is all.
        own: Only what belongs to who asks.
    """

    verbs: tuple[str, ...]
    resources: tuple[str, ...]
    namespaces: tuple[str, ...] = ("*",)
    names: tuple[str, ...] = ("*",)
    own: bool = False


@frozen(kw_only=True)
class RoleSpec:
    """A set of rules.

    Attributes:
        rules: What its holders may do.
    """

    rules: tuple[RuleSpec, ...] = ()


@frozen(kw_only=True)
class SubjectSpec:
    """Somebody who holds a role.

    Attributes:
        kind: "user", "group" or "service".
        name: The name.
    """

    kind: str = field(validator=validators.in_(("user", "group", "service")))
    name: str


@frozen(kw_only=True)
class RoleBindingSpec:
    """Who holds a role, and where.

    Attributes:
        role: The role's name.
        subjects: Who holds it.
        namespace: Where; empty is everywhere, cluster-wide kinds too.
    """

    role: str
    subjects: tuple[SubjectSpec, ...] = ()
    namespace: str = ""


@frozen(kw_only=True)
class CustomKindSpec:
    """A kind that users define.

    Attributes:
        kind: Its name, such as "Backup".
        plural: What paths call it, such as "backups".
        namespaced: Whether its objects are in namespaces.
        schema: The JSON Schema (2020-12) of `spec`.
    """

    kind: str = field(validator=validators.matches_re(r"[A-Z][A-Za-z0-9]{0,62}"))
    plural: str = field(validator=validators.matches_re(r"[a-z][a-z0-9]{0,62}"))
    namespaced: bool = True
    schema: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class WebhookRuleSpec:
    """Which changes a webhook is asked about.

    Attributes:
        kinds: Kinds by name; "*" is every kind but Secret and those of webhooks.
        operations: Some of "create", "update", "delete" and "connect".
        namespaces: Only there, where cluster-wide objects have the empty one; None is everywhere.
    """

    kinds: tuple[str, ...]
    operations: tuple[str, ...] = ("create", "update")
    namespaces: tuple[str, ...] | None = None


@frozen(kw_only=True)
class ValidatingWebhookSpec:
    """A server that is asked whether a change may be made.

    Attributes:
        url: Where it is: https, or http on the server's own machine.
        rules: Which changes it is asked about.
        ca: The certificates (PEM) by which it is known; empty is those that the system trusts.
        timeout: How long it may take, such as `5s`; 30 seconds at most.
        failure_policy: What happens to a change where it does not answer as it should: "fail" or "ignore".
    """

    url: str
    rules: tuple[WebhookRuleSpec, ...]
    ca: str = ""
    timeout: str | float = "10s"
    failure_policy: str = "fail"


@frozen(kw_only=True)
class MutatingWebhookSpec(ValidatingWebhookSpec):
    """A server that may also change what is to be written.

    Attributes:
        reinvocation: Whether it is asked once more where a later one changed the object: "never" or "if-needed".
    """

    reinvocation: str = "never"
