"""From workloads to manifest form and YAML, so that what is shown can be applied again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml  # type: ignore[import-untyped] # PyYAML has no types
from orchestrion.shared_types._errors import ConfigInvalid, Problem
from orchestrion.shared_types._ids import DEFAULT_NAMESPACE
from orchestrion.shared_types._workload import WorkloadDefinition

from ._form import WORKLOAD
from ._nodes import resolve


def to_manifest(workloads: WorkloadDefinition | Iterable[WorkloadDefinition]) -> dict[str, Any]:
    """Return the manifest form of workloads, as plain data that JSON and YAML can hold.

    What has its default is left out. Reading it gives equal workloads, but for what an author does not write: uid,
    generation, revision, times, owners and finalizers. Volumes stand with each workload.

    Raises:
        ConfigInvalid: The workloads are of several namespaces, or two have the same name.
    """
    several = (workloads,) if isinstance(workloads, WorkloadDefinition) else tuple(workloads)
    namespaces = dict.fromkeys(workload.metadata.namespace for workload in several)
    if len(namespaces) > 1:
        msg = f"a manifest has one namespace; these workloads are of {', '.join(namespaces)}"
        raise ConfigInvalid((Problem(msg),))
    form: dict[str, Any] = {}
    for namespace in namespaces:
        if namespace != DEFAULT_NAMESPACE:
            form["namespace"] = namespace
    form["workloads"] = {workload.metadata.name: WORKLOAD.write(workload) for workload in several}
    if len(form["workloads"]) != len(several):
        raise ConfigInvalid((Problem("two of these workloads have the same name"),))
    return form


def to_yaml(plain: object) -> str:
    """Return plain data (what JSON can hold) as YAML that every reader of YAML 1.1 and 1.2 takes for the same."""
    return str(yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


class _Dumper(yaml.SafeDumper):  # type: ignore[misc] # PyYAML has no types
    """Writes texts in quotes where YAML 1.2 would take them for something else; PyYAML thinks of YAML 1.1 only."""

    def ignore_aliases(self, _data: object) -> bool:
        """Write everything where it stands."""
        return True

    def represent_text(self, text: str) -> Any:
        """Return the node of a text."""
        # In quotes every character that does not print is escaped, among them those that end a line in YAML 1.1 only.
        plain = isinstance(resolve(text), str) and text.replace("\n", "").isprintable()
        style = None if plain else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)
