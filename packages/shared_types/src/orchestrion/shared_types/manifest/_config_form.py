"""The form of what a container reads of ConfigMaps and Secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrion.shared_types._container import ConfigUse

from ._scalars import Flag, Nothing, Text
from ._shape import UNSET
from ._shapes import Field, Forms, ListOf, Mapped, Record, Table
from ._terms import NAME, VARIABLE

_KEY = Text("a key (letters, digits, dots, hyphens and _)", pattern="[A-Za-z0-9._-]{1,253}")

_VARIABLES = Forms(
    Mapped(ListOf(VARIABLE, least=1), lambda names: {name: name for name in names}, list),
    Table(VARIABLE, _KEY),
    choose=lambda env: 0 if all(name == key for name, key in env.items()) else 1,
)


def _use(**attributes: Any) -> dict[str, Any]:
    return {"files": not attributes.get("env"), **attributes}


def _split(use: ConfigUse) -> Mapping[str, Any]:
    implied = not use.env
    return {"env": use.env or UNSET, "files": UNSET if use.files is implied else use.files}


_USE = Record(
    "config_use",
    [
        Field("env", _VARIABLES, "Variables: `{VARIABLE: key}`, or a list of keys that name the variables too."),
        Field("files", Flag(), "Whether its texts are files; without it they are unless `env` is given."),
    ],
    _use,
    split=_split,
    about="A ConfigMap or a Secret that the container reads at each start. Files are in the directory that "
    "`CONFIG_<NAME>` or `SECRET_<NAME>` tells.",
    example="config: [settings]\nsecrets:\n  database: {env: {DB_PASSWORD: password}}\n  certificate: {}\n",
)

CONFIG_USES = Forms(
    Mapped(
        ListOf(NAME), lambda names: tuple(ConfigUse(name=name) for name in names), lambda uses: [u.name for u in uses]
    ),
    Mapped(
        Table(NAME, Forms(Mapped(Nothing(), lambda _: {"files": True}), _USE)),
        lambda uses: tuple(ConfigUse(name=name, **use) for name, use in uses.items()),
        lambda uses: {use.name: use for use in uses},
    ),
    choose=lambda uses: 0 if all(use.files and not use.env for use in uses) else 1,
)
