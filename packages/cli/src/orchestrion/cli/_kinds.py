"""The kinds of objects as they are typed: by their plural, their name, or what is short for it.

It imports nothing that takes time: the completion of a command line is made of it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class KindName(NamedTuple):
    """A kind of objects.

    Attributes:
        plural: What paths call its objects.
        kind: What its documents say.
        namespaced: Whether its objects are in namespaces.
        short: What else is understood.
    """

    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()

    def is_called(self, text: str, /) -> bool:
        """Whether a text, in lower case, means this kind."""
        return text in (self.plural, self.kind.lower(), *self.short)

    def collection(self, namespace: str | None) -> str:
        """Return the path of its objects in a namespace; None is all of them."""
        if self.namespaced and namespace is not None:
            return f"/api/v1/namespaces/{namespace}/{self.plural}"
        return f"/api/v1/{self.plural}"


KINDS: Final = (
    KindName("workloads", "Workload", short=("w", "wl")),
    KindName("instances", "Instance", short=("i", "inst")),
    KindName("nodes", "Node", namespaced=False, short=("no",)),
    KindName("namespaces", "Namespace", namespaced=False, short=("ns",)),
    KindName("configmaps", "ConfigMap", short=("cm",)),
    KindName("secrets", "Secret"),
    KindName("events", "Event", short=("ev",)),
    KindName("priorityclasses", "PriorityClass", namespaced=False, short=("pc",)),
    KindName("resourcequotas", "ResourceQuota", short=("quota", "quotas")),
    KindName("limitranges", "LimitRange", short=("limits",)),
    KindName("roles", "Role", namespaced=False),
    KindName("rolebindings", "RoleBinding", namespaced=False),
    KindName("customkinds", "CustomKind", namespaced=False, short=("ck",)),
    KindName("mutatingwebhooks", "MutatingWebhook", namespaced=False),
    KindName("validatingwebhooks", "ValidatingWebhook", namespaced=False),
)
"""The kinds that there always are. Others are asked for."""

BUILT_IN: Final = frozenset({"Role", "RoleBinding", "PriorityClass"})
"""The kinds of which something is there from the start."""


def known_kind(text: str, kinds: Iterable[KindName] = KINDS, /) -> KindName | None:
    """Return the kind that a text means, or None."""
    wanted = text.lower()
    return next((kind for kind in kinds if kind.is_called(wanted)), None)


def kind_and_name(text: str, /) -> tuple[str, str]:
    """Return the kind and the name of a text such as "workload/web"; a name alone, or what is neither, has no kind."""
    kind, slash, name = text.partition("/")
    return (kind, name) if slash and kind and name and "/" not in name else ("", text)


OTHER_RESOURCES: Final = frozenset(
    {
        "dashboard",
        "groups",
        "keys",
        "mcp",
        "metrics",
        "objects",
        "sealingkeys",
        "self",
        "services",
        "sessions",
        "tokens",
        "users",
        "*",
    }
)
"""What rights are about besides the kinds of objects that are typed by a name of theirs."""

VERBS: Final = (
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "apply",
    "plan",
    "explain",
    "logs",
    "exec",
    "scale",
    "stop",
    "rollout",
    "cordon",
    "drain",
    "label",
    "taint",
    "impersonate",
    "rotate",
    "use",
    "*",
)
"""What rights allow to be done."""
