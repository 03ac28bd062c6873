"""What is wrong with the ConfigMaps and Secrets that containers name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from ._container import ConfigUse, ContainerConfig
from ._expand import config_variable, is_variable_name, secret_variable
from ._finding import Finding, Path, bad_name, bad_variable, duplicates
from ._ids import is_name

KEY_RULE: Final = "1 to 253 letters, digits, dots, hyphens and _, and neither . nor .."

_KEY = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,253}")


def is_config_key(text: str) -> bool:
    """Whether a text can be the key of a text in a ConfigMap or a Secret, and so the name of a file: see `KEY_RULE`."""
    return _KEY.fullmatch(text) is not None


def config_findings(container: ContainerConfig, at: Path) -> Iterator[Finding]:
    """Yield what is wrong with what a container reads."""
    taken = dict[str, Path]()
    for key, what, uses in (("config", "ConfigMap", container.config), ("secrets", "Secret", container.secrets)):
        yield from duplicates((((*at, key, use.name), use.name) for use in uses), what)
        for use in uses:
            here = (*at, key, use.name)
            if not is_name(use.name):
                yield Finding(here, bad_name(what, use.name))
            yield from _variable_findings(use, (*here, "env"), taken)


def _variable_findings(use: ConfigUse, at: Path, taken: dict[str, Path]) -> Iterator[Finding]:
    for variable, key in use.env.items():
        here = (*at, variable)
        if not is_variable_name(variable):
            yield Finding(here, bad_variable(variable))
        if not is_config_key(key):
            yield Finding(here, f"{key!r:.80} can't be a key; a key is {KEY_RULE}")
        if variable in taken:
            yield Finding(here, f"variable {variable!r} is named twice")
        taken[variable] = here


def config_folders(container: ContainerConfig) -> Iterator[str]:
    """Yield the variables that tell a container where files are that it reads."""
    yield from (config_variable(use.name) for use in container.config if use.files)
    yield from (secret_variable(use.name) for use in container.secrets if use.files)


def config_variables(container: ContainerConfig) -> Mapping[str, Path]:
    """Return the variables whose values a container reads, with where in the container that is said."""
    return {
        variable: (key, use.name, "env", variable)
        for key, uses in (("config", container.config), ("secrets", container.secrets))
        for use in uses
        for variable in use.env
    }
