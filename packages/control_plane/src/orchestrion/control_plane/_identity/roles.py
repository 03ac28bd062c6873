"""Roles, who has them, and the roles that are there from the start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from attrs import frozen
from orchestrion.shared_types import ConfigInvalid, Problem

from .access import Rule, rules_of
from .principals import ADMINS, NODES, WORKLOADS


class SubjectKind(StrEnum):
    """What a binding gives a role to."""

    USER = "user"
    GROUP = "group"
    SERVICE = "service"


@frozen
class Subject:
    """One, or a group of those, that a binding gives a role to.

    Attributes:
        kind: What it is. Nodes and workloads are reached by their groups alone.
        name: The name of the user, the service or the group.
    """

    kind: SubjectKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.name}"


@frozen
class Role:
    """Rules under a name.

    Attributes:
        name: What bindings call it.
        rules: What it allows: all that any of them does.
    """

    name: str
    rules: tuple[Rule, ...]


@frozen
class RoleBinding:
    """Gives a role to somebody.

    Attributes:
        name: Unique within the namespace; it is told to who asks why something is allowed.
        role: The role's name. One that does not exist allows nothing, and that comes into being later allows then.
        subjects: To whom.
        namespace: Where alone; empty is everywhere, also for what is cluster-wide.
    """

    name: str
    role: str
    subjects: tuple[Subject, ...]
    namespace: str = ""


READ: Final = ("get", "list", "watch")
WRITE: Final = ("create", "update", "patch", "delete", "apply")

READABLE: Final = (
    "workloads",
    "instances",
    "nodes",
    "namespaces",
    "configmaps",
    "priorityclasses",
    "resourcequotas",
    "limitranges",
    "events",
    "customkinds",
)
"""What a viewer sees: all that is built in, but for secrets, and for who may do what."""

_VIEWER: Final = (
    Rule(READ, READABLE),
    Rule(("get",), ("workloads/status", "instances/status", "nodes/status", "resourcequotas/status")),
    Rule(("explain", "plan"), ("workloads",)),
    Rule(("logs",), ("workloads", "instances")),
)
_EDITOR: Final = (
    *_VIEWER,
    Rule((*READ, *WRITE), ("workloads", "configmaps", "secrets")),
    Rule(("scale", "stop", "rollout"), ("workloads",)),
    Rule(("exec",), ("workloads", "instances")),
    Rule(("delete",), ("instances",)),
)

STANDARD_ROLES: Final[tuple[Role, ...]] = (
    Role("viewer", _VIEWER),
    Role("editor", _EDITOR),
    Role(
        "operator",
        (
            *_EDITOR,
            Rule(("patch", "delete", "cordon", "drain", "label", "taint"), ("nodes",)),
            Rule(("update", "patch"), ("nodes/status",)),
            Rule(WRITE, ("namespaces", "priorityclasses", "resourcequotas", "limitranges")),
            Rule(("use",), ("priorityclasses",)),
            Rule(READ, ("roles", "rolebindings")),
            Rule(("get",), ("metrics",)),
        ),
    ),
    Role("admin", (Rule("*", "*"),)),
    Role(
        "node",
        (
            Rule(("get", "watch"), ("nodes",), own=True),
            Rule(("get", "update", "patch"), ("nodes/status",), own=True),
            Rule(("get", "list", "watch"), ("instances",), own=True),
            Rule(("get",), ("instances/status", "configmaps", "secrets"), own=True),
        ),
    ),
    Role(
        "workload",
        (
            Rule(("get", "watch"), ("workloads", "configmaps", "secrets"), own=True),
            Rule(("get",), ("workloads/status",), own=True),
            Rule(("get", "list"), ("instances",), own=True),
        ),
    ),
)
"""The roles that are there from the start. A role of the same name does not replace one of them."""

STANDARD_BINDINGS: Final[tuple[RoleBinding, ...]] = tuple(
    RoleBinding(f"system:{role}s", role, (Subject(SubjectKind.GROUP, group),))
    for role, group in (("admin", ADMINS), ("node", NODES), ("workload", WORKLOADS))
)
"""What admins, nodes and workloads may do from the start."""


def role_of(name: str, spec: Mapping[str, Any]) -> Role:
    """Return the role that a Role document describes.

    Args:
        name: The document's name.
        spec: `{rules: [{verbs, resources, namespaces, names, own}]}`.

    Raises:
        ConfigInvalid: It is not that.
    """
    problems = _unknown(spec, ("rules",))
    if problems:
        raise ConfigInvalid(tuple(problems))
    return Role(name, rules_of(spec.get("rules", []), "spec.rules"))


def binding_of(name: str, namespace: str, spec: Mapping[str, Any]) -> RoleBinding:
    """Return the binding that a RoleBinding document describes.

    Args:
        name: The document's name.
        namespace: Where the role is given; empty is everywhere.
        spec: `{role: NAME, subjects: [{kind: user|group|service, name: NAME}]}`.

    Raises:
        ConfigInvalid: It is not that.
    """
    problems = _unknown(spec, ("role", "subjects"))
    role = spec.get("role")
    if not isinstance(role, str) or not role:
        problems.append(Problem("the name of a role is wanted", "spec.role"))
    given = spec.get("subjects", [])
    subjects: list[Subject] = []
    if not isinstance(given, list):
        problems.append(Problem("a list is wanted", "spec.subjects"))
        given = []
    for n, item in enumerate(given):
        kind, who = (item.get("kind"), item.get("name")) if isinstance(item, Mapping) else (None, None)
        if kind not in tuple(SubjectKind) or not isinstance(who, str) or not who:
            message = f"a mapping with kind ({', '.join(SubjectKind)}) and name is wanted"
            problems.append(Problem(message, f"spec.subjects[{n}]"))
        else:
            subjects.append(Subject(SubjectKind(kind), who))
    if problems:
        raise ConfigInvalid(tuple(problems))
    return RoleBinding(name, str(role), tuple(subjects), namespace)


def own_role(name: str, spec: Mapping[str, Any]) -> Role:
    """Return the role that a Role document describes which somebody is to write.

    Raises:
        ConfigInvalid: It is none, or a standard role has its name.
    """
    if name in {role.name for role in STANDARD_ROLES}:
        problem = Problem("a standard role has that name, and can't be replaced", path="metadata.name")
        raise ConfigInvalid((problem,), remedy="Choose another name.")
    return role_of(name, spec)


def own_binding(name: str, spec: Mapping[str, Any]) -> RoleBinding:
    """Return the binding that a RoleBinding document describes which somebody is to write.

    Args:
        name: The document's name.
        spec: As `binding_of` has it, with `namespace` where it is not everywhere.

    Raises:
        ConfigInvalid: It is none, or a standard binding has its name.
    """
    if name in {binding.name for binding in STANDARD_BINDINGS}:
        problem = Problem("a standard binding has that name", path="metadata.name")
        raise ConfigInvalid((problem,), remedy="Choose another name.")
    said = dict(spec)
    namespace = str(said.pop("namespace", ""))
    return binding_of(name, namespace, said)


def _unknown(spec: Mapping[str, Any], known: Iterable[str]) -> list[Problem]:
    return [Problem(f"is not known; there is {', '.join(known)}", f"spec.{key}") for key in spec if key not in known]
