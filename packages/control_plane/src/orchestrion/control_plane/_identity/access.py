"""What somebody wants to do, and the rules that say what may be done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import field, frozen
from orchestrion.shared_types import ConfigInvalid, Problem, is_name

ANY: Final = "*"
"""In a rule: all there are, also those that come later."""

EVERYTHING: Final = frozenset({ANY})


@frozen
class Access:
    """One thing that somebody wants to do.

    Attributes:
        verb: Such as `get` or `scale`.
        resource: The plural of a kind, such as `workloads`, or a part of it, such as `workloads/status`.
        namespace: Where; empty for what is cluster-wide, and for all namespaces at once.
        name: Which one; empty for none in particular, as in a list.
        owners: Whom the object belongs to, as `Principal.subject` names them; see `owners_of`.
    """

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""
    owners: frozenset[str] = frozenset()

    def __str__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        place = f" in namespace {self.namespace!r}" if self.namespace else ""
        return f"{self.verb} {self.resource}{name}{place}"


@frozen
class Verdict:
    """Whether something may be done.

    Attributes:
        allowed: Whether it may.
        why: The role and the binding that allow it, or what is missing; for people.
    """

    allowed: bool
    why: str


def _as_set(items: Iterable[str]) -> frozenset[str]:
    items = frozenset([items] if isinstance(items, str) else items)
    return EVERYTHING if ANY in items else items


@frozen(cache_hash=True)
class Rule:
    """Allows each of some verbs on each of some resources. A set that has `*` is everything; an empty one is nothing.

    Attributes:
        verbs: What may be done.
        resources: With what. A part such as `workloads/status` is a resource of its own.
        namespaces: Where. Only `*` reaches what is cluster-wide and lists over all namespaces.
        names: With which ones. Only `*` allows what has no name yet, as a list, or a create that leaves the name open.
        own: Only with what belongs to who asks.
    """

    verbs: frozenset[str] = field(converter=_as_set)
    resources: frozenset[str] = field(converter=_as_set)
    namespaces: frozenset[str] = field(default=EVERYTHING, converter=_as_set)
    names: frozenset[str] = field(default=EVERYTHING, converter=_as_set)
    own: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it allows nothing at all."""
        return not (self.verbs and self.resources and self.namespaces and self.names)

    def allows(self, access: Access, subject: str) -> bool:
        """Whether this lets `subject` have that access."""
        return (
            _has(self.verbs, access.verb)
            and _has(self.resources, access.resource)
            and _has(self.namespaces, access.namespace)
            and _has(self.names, access.name)
            and (not self.own or subject in access.owners)
        )

    def narrowed(self, by: Rule) -> Rule:
        """Return the rule that allows what both allow."""
        return Rule(
            _both(self.verbs, by.verbs),
            _both(self.resources, by.resources),
            _both(self.namespaces, by.namespaces),
            _both(self.names, by.names),
            self.own or by.own,
        )


def _has(items: frozenset[str], item: str) -> bool:
    return items is EVERYTHING or item in items or ANY in items


def _both(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    if ANY in one:
        return other
    return one if ANY in other else one & other


def owners_of(
    resource: str, namespace: str, name: str, *, node: str = "", workloads: Iterable[str] = ()
) -> frozenset[str]:
    """Return whom an object belongs to, for `Access.owners`.

    A node belongs to itself, and so does a workload; an instance belongs to the node that it is bound to
    and to its workload; a ConfigMap or a Secret to the workloads that mount it.

    Args:
        resource: The plural of the kind, or a part of it.
        namespace: The object's namespace.
        name: The object's name.
        node: The node that the object is bound to; empty where it is none.
        workloads: Names of the workloads in the same namespace that it belongs to, besides itself.
    """
    kind = resource.partition("/")[0]
    owners = {f"workload:{namespace}/{workload}" for workload in workloads}
    if kind == "nodes":
        owners.add(f"node:{name}")
    elif kind == "workloads":
        owners.add(f"workload:{namespace}/{name}")
    if node:
        owners.add(f"node:{node}")
    return frozenset(owners)


_FIELDS: Final = ("verbs", "resources", "namespaces", "names")
_MAX_RULES: Final = 256
_MAX_ITEMS: Final = 256


def rules_of(data: Any, path: str = "rules") -> tuple[Rule, ...]:
    """Return the rules that a document has.

    Args:
        data: A list of mappings with `verbs` and `resources`, and perhaps `namespaces`, `names` and `own`.
        path: Where they are in the document, for errors.

    Raises:
        ConfigInvalid: They are not that; it names each place.
    """
    problems: list[Problem] = []
    if not isinstance(data, list) or len(data) > _MAX_RULES:
        raise ConfigInvalid((Problem(f"a list of at most {_MAX_RULES} rules is wanted", path),))
    rules = [rule for n, item in enumerate(data) if (rule := _rule_of(item, f"{path}[{n}]", problems)) is not None]
    if problems:
        raise ConfigInvalid(tuple(problems))
    return tuple(rules)


def _rule_of(item: Any, path: str, problems: list[Problem]) -> Rule | None:
    if not isinstance(item, Mapping):
        problems.append(Problem("a mapping with verbs and resources is wanted", path))
        return None
    before = len(problems)
    problems.extend(
        Problem(f"is not known; a rule has {', '.join((*_FIELDS, 'own'))}", f"{path}.{key}")
        for key in item
        if key not in (*_FIELDS, "own")
    )
    sets: dict[str, list[str]] = {}
    for name in _FIELDS:
        given = item.get(name, [ANY] if name in ("namespaces", "names") else None)
        where = f"{path}.{name}"
        if given is None:
            problems.append(Problem(f"is missing; a list such as [{'get' if name == 'verbs' else 'workloads'}]", where))
        elif (
            not isinstance(given, list)
            or len(given) > _MAX_ITEMS
            or not given
            or not all(isinstance(one, str) and one for one in given)
        ):
            problems.append(Problem(f"a list of 1 to {_MAX_ITEMS} words is wanted", where))
        elif name == "namespaces" and not all(one == ANY or is_name(one) for one in given):
            problems.append(Problem("each is the name of a namespace, or * for all", where))
        else:
            sets[name] = given
    own = item.get("own", False)
    if not isinstance(own, bool):
        problems.append(Problem("true or false is wanted", f"{path}.own"))
    if len(problems) > before:
        return None
    return Rule(sets["verbs"], sets["resources"], sets["namespaces"], sets["names"], own)


def rules_data(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    """Return rules as a document has them; what is left out has its default."""
    data: list[dict[str, Any]] = []
    for rule in rules:
        item: dict[str, Any] = {"verbs": sorted(rule.verbs), "resources": sorted(rule.resources)}
        if rule.namespaces != EVERYTHING:
            item["namespaces"] = sorted(rule.namespaces)
        if rule.names != EVERYTHING:
            item["names"] = sorted(rule.names)
        if rule.own:
            item["own"] = True
        data.append(item)
    return data
