"""What containers read of ConfigMaps and Secrets: how it is written, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from orchestrion import shared_types as o
from orchestrion.shared_types.manifest import parse_manifest, to_manifest


def read(**container: Any) -> o.ContainerConfig:
    found: o.ContainerConfig = manifest(**container).workloads[0].containers[0]
    return found


def manifest(name: str = "web", **container: Any) -> Any:
    given = {"name": "main", "command": ["run"], **container}
    return parse_manifest(json.dumps({"workloads": {name: {"containers": [given]}}}))


def use(name: str, **fields: Any) -> o.ConfigUse:
    return o.ConfigUse(name=name, **fields)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (["settings", "more"], (use("settings"), use("more"))),
        ({"settings": None}, (use("settings"),)),
        ({"settings": {}}, (use("settings"),)),
        ({"settings": {"env": {"COLOR": "color"}}}, (use("settings", env={"COLOR": "color"}, files=False),)),
        ({"settings": {"env": ["COLOR"]}}, (use("settings", env={"COLOR": "COLOR"}, files=False),)),
        ({"settings": {"env": ["COLOR"], "files": True}}, (use("settings", env={"COLOR": "COLOR"}),)),
    ],
)
@pytest.mark.parametrize("key", ["config", "secrets"])
def test_what_is_read_has_short_and_full_forms_and_is_written_back(key: str, written: Any, meant: Any) -> None:
    parsed = manifest(**{key: written})
    assert getattr(parsed.workloads[0].containers[0], key) == meant
    again = parse_manifest(json.dumps(to_manifest(parsed.workloads[0])))
    assert again.workloads == parsed.workloads


def test_the_folder_and_the_variables_of_a_map_can_be_referred_to() -> None:
    found = read(
        config={"settings": {"env": {"COLOR": "color"}, "files": True}},
        command=["run", "--config=${CONFIG_SETTINGS}/app.ini", "${COLOR}"],
        secrets=["my-key"],
        args=["${SECRET_MY_KEY}/key.pem"],
        health={"exec": ["check", "${COLOR}"]},
    )
    assert found.command[1] == "--config=${CONFIG_SETTINGS}/app.ini"


def test_a_secret_may_become_part_of_the_environment_by_name() -> None:
    found = read(
        secrets={"db": {"env": {"PASSWORD": "password"}}},
        env={"URL": "postgres://app:${PASSWORD}@db", "COPY": "${URL}"},
    )
    assert found.env_vars["URL"] == "postgres://app:${PASSWORD}@db"


@pytest.mark.parametrize(
    ("container", "path", "words"),
    [
        ({"config": ["a", "a"]}, "containers[0].config.a", "named twice"),
        ({"config": ["Not-A-Name"]}, "containers[0].config", "name"),
        ({"config": {"a": {"files": False}}}, "containers[0].config", "none of it is read"),
        ({"config": {"a": {"env": {"X": "../etc"}}}}, "containers[0].config.a.env.X", "key"),
        ({"config": {"a": {"env": {"X": ".."}}}}, "containers[0].config.a.env.X", "key"),
        ({"config": {"a": {"env": {"1X": "x"}}}}, "containers[0].config.a.env", "variable"),
        ({"config": {"a": {"env": ["ORCHESTRION_NODE"]}}}, "config.a.env.ORCHESTRION_NODE", "set by the orchestrator"),
        ({"config": {"a": {"env": ["CONFIG_B"]}, "b": {}}}, "config.a.env.CONFIG_B", "set by the orchestrator"),
        ({"config": {"a": {"env": ["X"]}}, "env": {"X": "1"}}, "containers[0].env.X", "read from config too"),
        ({"config": {"a": {"env": ["X"]}}, "secrets": {"b": {"env": ["X"]}}}, "secrets.b.env.X", "named twice"),
        ({"secrets": ["db"], "command": ["run", "${SECRET_BD}"]}, "containers[0].command[1]", "SECRET_DB"),
        ({"secrets": {"db": {"env": ["P"]}}, "command": ["run", "${P}"]}, "containers[0].command[1]", "secret"),
        ({"secrets": {"db": {"env": ["P"]}}, "args": ["-p${P}"]}, "containers[0].args[0]", "secret"),
        (
            {"secrets": {"db": {"env": ["P"]}}, "env": {"U": "x${P}"}, "args": ["${U}"]},
            "containers[0].args[0]",
            "secret",
        ),
        ({"secrets": {"db": {"env": ["P"]}}, "health": {"exec": ["a", "${P}"]}}, "health.exec[1]", "secret"),
    ],
)
def test_what_can_not_be_is_refused_at_its_place(container: dict[str, Any], path: str, words: str) -> None:
    for name in ("web", "env"):
        with pytest.raises(o.ConfigInvalid) as caught:
            manifest(name, **container)
        (problem,) = caught.value.problems
        assert path in problem.path
        assert words in problem.message


@pytest.mark.parametrize("key", ["", ".", "..", "a/b", "a\0", "a\n", "ä", "x" * 254])
def test_what_can_not_name_a_file_is_no_key(key: str) -> None:
    assert not o.is_config_key(key)


@pytest.mark.parametrize("key", ["a", "...", ".bashrc", "app.ini", "TLS_KEY-2", "x" * 253])
def test_what_can_name_a_file_is_a_key(key: str) -> None:
    assert o.is_config_key(key)
