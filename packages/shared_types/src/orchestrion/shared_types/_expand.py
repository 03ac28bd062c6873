"""References to variables in what an author writes: `${NAME}`; `$$` is a dollar sign."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import attrs
from immutabledict import immutabledict

from ._container import ContainerConfig, ExecProbe, HealthCheck, HttpProbe
from ._errors import ConfigInvalid, Problem
from ._mappings import EMPTY
from ._suggest import nearest

GIVEN_VARIABLES: Final = (
    "ORCHESTRION_ATTEMPT",
    "ORCHESTRION_COUNT",
    "ORCHESTRION_EPOCH",
    "ORCHESTRION_INDEX",
    "ORCHESTRION_INSTANCE",
    "ORCHESTRION_NAMESPACE",
    "ORCHESTRION_NODE",
    "ORCHESTRION_WORKLOAD",
)
"""Variables that every instance is given; those of its ports, volumes and dependencies come on top."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A dollar sign before anything else stands for itself, so that a shell's own $HOME needs no escape.
_REFERENCE = re.compile(r"\$\$|\$\{([^}]*)(\}?)")


class ReferenceInvalid(ConfigInvalid):
    """A text refers to a variable that does not exist, or refers to it wrongly.

    Attributes:
        name: The variable that does not exist; empty where what stands between the braces is no name.
    """

    code = "reference-invalid"

    def __init__(self, message: str, /, *, name: str = "") -> None:
        super().__init__((Problem(message),))
        self.name = name


def is_variable_name(text: str) -> bool:
    """Whether `text` can name an environment variable: a letter or `_`, then letters, digits and `_`, all ASCII."""
    return _NAME.fullmatch(text) is not None


def port_variable(port: str) -> str:
    """Return the variable that tells an instance the number of its port `port`: `PORT_<NAME>`."""
    return f"PORT_{_upper(port)}"


def volume_variable(volume: str) -> str:
    """Return the variable that tells a container the path of its volume `volume`: `VOLUME_<NAME>`."""
    return f"VOLUME_{_upper(volume)}"


def config_variable(name: str) -> str:
    """Return the variable that tells a container where the texts of the ConfigMap `name` are: `CONFIG_<NAME>`."""
    return f"CONFIG_{_upper(name)}"


def secret_variable(name: str) -> str:
    """Return the variable that tells a container where the texts of the Secret `name` are: `SECRET_<NAME>`."""
    return f"SECRET_{_upper(name)}"


def endpoints_variable(workload: str, port: str) -> str:
    """Return the variable that lists the endpoints of a port of a workload that the instance comes after."""
    return f"ORCHESTRION_ENDPOINTS_{_upper(workload)}_{_upper(port)}"


def references(text: str) -> tuple[str, ...]:
    """Return the names that `text` refers to, each once, in the order of their first places.

    Raises:
        ReferenceInvalid: What stands after `${` is no name and `}`.
    """
    names: dict[str, None] = {}
    for found in _REFERENCE.finditer(text):
        if found[0] != "$$":
            names[_name_of(found)] = None
    return tuple(names)


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Return `text` with every `${NAME}` replaced by its value and every `$$` by a dollar sign.

    A dollar sign before anything else stays. Values are not expanded again.

    Raises:
        ReferenceInvalid: A name is not in `environment`, or what stands after `${` is no name and `}`.
    """
    if "$" not in text:
        return text

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name = _name_of(found)
        try:
            return environment[name]
        except KeyError:
            raise ReferenceInvalid(unknown_variable(name, environment), name=name) from None

    return _REFERENCE.sub(value, text)


def expand_environment(variables: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return `variables` with their values expanded, in their order.

    A value may refer to what is `given` and to variables that stand before it, so `PATH: /opt/bin:${PATH}` means the
    inherited one and no cycle is possible.

    Raises:
        ReferenceInvalid: As for `expand`.
    """
    if not variables:
        return {}
    scope = dict(given)
    expanded = {}
    for name, text in variables.items():
        expanded[name] = scope[name] = expand(text, scope)
    return expanded


def expand_container(
    config: ContainerConfig, given: Mapping[str, str], *, told: Mapping[str, str] = EMPTY
) -> ContainerConfig:
    """Return `config` with the references in its environment, command, arguments and health check replaced.

    Args:
        config: The container as its author wrote it.
        given: What the instance is given and inherits. It is known to references but not added to `env_vars`.
        told: What is added to `env_vars`, before what the author wrote, which holds where both have a name.

    Raises:
        ReferenceInvalid: As for `expand`.
    """
    variables = expand_environment(config.env_vars, given)
    scope = {**given, **variables} if variables else given
    return attrs.evolve(
        config,
        env_vars=immutabledict({**told, **variables}),
        command=tuple(expand(text, scope) for text in config.command),
        args=tuple(expand(text, scope) for text in config.args),
        health=None if config.health is None else _expand_health(config.health, lambda text: expand(text, scope)),
    )


def unknown_variable(name: str, known: Mapping[str, object] | frozenset[str]) -> str:
    """Return the sentence that no variable is called `name`, with the nearest of those that are known."""
    guess = nearest(name, known)
    hint = f"did you mean ${{{guess}}}?" if guess else f"set it in env, or write $${{{name}}} to leave it to a shell"
    return f"unknown variable ${{{name}}}; {hint}"


def _expand_health(health: HealthCheck, expanded: Callable[[str], str]) -> HealthCheck:
    match health.probe:
        case HttpProbe() as probe:
            path = expanded(probe.path)
            try:
                return attrs.evolve(health, probe=HttpProbe(port=probe.port, path=path))
            except ValueError as err:
                raise ReferenceInvalid(f"the health check's path {probe.path!r:.80} becomes {path!r:.80}") from err
        case ExecProbe() as probe:
            return attrs.evolve(health, probe=ExecProbe(command=tuple(expanded(text) for text in probe.command)))
        case _:
            return health


def _name_of(found: re.Match[str]) -> str:
    name = found[1]
    if not found[2] or _NAME.fullmatch(name) is None:
        msg = f"{found[0]!r:.80} is not a reference such as ${{NAME}}; write $${{ for a dollar sign and a brace"
        raise ReferenceInvalid(msg)
    return name


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")
