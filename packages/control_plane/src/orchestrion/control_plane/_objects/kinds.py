"""The table of kinds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen
from orchestrion.shared_types import NotFound

from .specs import (
    ConfigMapSpec,
    CustomKindSpec,
    LimitRangeSpec,
    MutatingWebhookSpec,
    NamespaceSpec,
    PriorityClassSpec,
    ResourceQuotaSpec,
    RoleBindingSpec,
    RoleSpec,
    SecretSpec,
    ValidatingWebhookSpec,
)

if TYPE_CHECKING:
    from .schema_check import ObjectSchema


@frozen(kw_only=True)
class Kind:
    """A kind of objects.

    Attributes:
        name: Such as "ConfigMap".
        plural: What paths and rules call its objects.
        namespaced: Whether they are in namespaces.
        spec: The class of what authors write; None where that is checked elsewhere, or nobody writes it.
        written: Whether authors write them; what runs, and what happened, is only read.
        ended: Whether they can be removed though nobody writes them: they are asked to end, or forgotten.
        marked: Whether people write something of them, their labels and taints, though they show what is.
        status: Whether they have a status that others write.
        custom: The definition of a kind that users made, or None.
        defined_by: The name of the object that defines it, or empty.
        schema: What the specs of a custom kind are checked against; None where anything goes.
    """

    name: str
    plural: str
    namespaced: bool = True
    spec: type | None = None
    written: bool = True
    ended: bool = False
    marked: bool = False
    status: bool = False
    custom: CustomKindSpec | None = None
    defined_by: str = ""
    schema: ObjectSchema | None = None

    @property
    def removable(self) -> bool:
        """Whether one can be removed."""
        return self.written or self.ended

    @property
    def patched(self) -> bool:
        """Whether one can be changed in parts."""
        return self.written or self.marked

    @property
    def allowed(self) -> str:
        """What can be asked of one, as a header says it."""
        others = (("PATCH", self.patched), ("PUT", self.written), ("DELETE", self.removable))
        return ", ".join(["GET", *(method for method, may in others if may)])


WORKLOAD: Final = Kind(name="Workload", plural="workloads")
INSTANCE: Final = Kind(name="Instance", plural="instances", written=False, ended=True)
NODE: Final = Kind(name="Node", plural="nodes", namespaced=False, written=False, ended=True, marked=True, status=True)
EVENT: Final = Kind(name="Event", plural="events", written=False)
NAMESPACE: Final = Kind(name="Namespace", plural="namespaces", namespaced=False, spec=NamespaceSpec)
CONFIG_MAP: Final = Kind(name="ConfigMap", plural="configmaps", spec=ConfigMapSpec)
SECRET: Final = Kind(name="Secret", plural="secrets", spec=SecretSpec)
PRIORITY_CLASS: Final = Kind(name="PriorityClass", plural="priorityclasses", namespaced=False, spec=PriorityClassSpec)
RESOURCE_QUOTA: Final = Kind(name="ResourceQuota", plural="resourcequotas", spec=ResourceQuotaSpec, status=True)
LIMIT_RANGE: Final = Kind(name="LimitRange", plural="limitranges", spec=LimitRangeSpec)
ROLE: Final = Kind(name="Role", plural="roles", namespaced=False, spec=RoleSpec)
ROLE_BINDING: Final = Kind(name="RoleBinding", plural="rolebindings", namespaced=False, spec=RoleBindingSpec)
CUSTOM_KIND: Final = Kind(name="CustomKind", plural="customkinds", namespaced=False, spec=CustomKindSpec)
MUTATING_WEBHOOK: Final = Kind(
    name="MutatingWebhook", plural="mutatingwebhooks", namespaced=False, spec=MutatingWebhookSpec
)
VALIDATING_WEBHOOK: Final = Kind(
    name="ValidatingWebhook", plural="validatingwebhooks", namespaced=False, spec=ValidatingWebhookSpec
)

KINDS: Final = (
    WORKLOAD,
    INSTANCE,
    NODE,
    EVENT,
    NAMESPACE,
    CONFIG_MAP,
    SECRET,
    PRIORITY_CLASS,
    RESOURCE_QUOTA,
    LIMIT_RANGE,
    ROLE,
    ROLE_BINDING,
    CUSTOM_KIND,
    MUTATING_WEBHOOK,
    VALIDATING_WEBHOOK,
)
"""The kinds that there always are."""


@define(eq=False)
class KindRegistry:
    """The kinds that there are now: those that there always are, and those that users have defined."""

    _by_plural: dict[str, Kind] = field(init=False)
    _by_name: dict[str, Kind] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._by_plural = {kind.plural: kind for kind in KINDS}
        self._by_name = {kind.name: kind for kind in KINDS}

    def __iter__(self) -> Iterator[Kind]:
        """Iterate over all kinds."""
        return iter(self._by_plural.values())

    def copy(self) -> KindRegistry:
        """Return another one with the same kinds, where more can be defined without anybody seeing them."""
        other = KindRegistry()
        other._by_plural.update(self._by_plural)
        other._by_name.update(self._by_name)
        return other

    def get(self, plural: str) -> Kind | None:
        """Return a kind by its plural name; None where there is none."""
        return self._by_plural.get(plural)

    def find(self, plural: str) -> Kind:
        """Return a kind by its plural name.

        Raises:
            NotFound: There is none.
        """
        kind = self._by_plural.get(plural)
        if kind is None:
            msg = f"there is no kind {plural!r:.80}"
            raise NotFound(msg, remedy=_known(self._by_plural))
        return kind

    def named(self, name: str) -> Kind:
        """Return a kind by its name.

        Raises:
            NotFound: There is none.
        """
        kind = self._by_name.get(name)
        if kind is None:
            msg = f"there is no kind {name!r:.80}"
            raise NotFound(msg, remedy=_known(self._by_name))
        return kind

    def clashes(self, spec: CustomKindSpec, of: str = "") -> bool:
        """Whether another kind than the custom one named `of` has this name or plural name already."""
        found = (self._by_name.get(spec.kind), self._by_plural.get(spec.plural))
        return any(kind is not None and (kind.custom is None or kind.custom.kind != of) for kind in found)

    def define(self, spec: CustomKindSpec, by: str = "") -> None:
        """Take in a custom kind; one of that name is replaced.

        Args:
            spec: What it is.
            by: The name of the object that says so.

        Raises:
            ConfigInvalid: Its schema is none that objects can be checked against.
        """
        self.forget(spec.kind)
        schema = None
        if spec.schema:
            # Imported here: most servers never need it, and a start is not to wait for it.
            from .schema_check import read_schema

            schema = read_schema(dict(spec.schema), at="spec.schema")
        kind = Kind(
            name=spec.kind,
            plural=spec.plural,
            namespaced=spec.namespaced,
            custom=spec,
            defined_by=by,
            status=True,
            schema=schema,
        )
        self._by_plural[kind.plural] = self._by_name[kind.name] = kind

    def forget(self, name: str) -> None:
        """Let go of a custom kind, if it is there."""
        kind = self._by_name.get(name)
        if kind is not None and kind.custom is not None:
            del self._by_name[name], self._by_plural[kind.plural]


def _known(names: Iterable[str]) -> str:
    return f"There are: {', '.join(sorted(names))}"
