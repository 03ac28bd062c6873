"""`-n` with a file is the namespace of what names none; what names another one is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from orchestrion.cli import run
from orchestrion.cli._apply_workloads import loaded
from orchestrion.cli._places import RemoteServer
from orchestrion.cli._where import Where
from orchestrion.control_plane import SocketPeer
from orchestrion.shared_types import ConfigInvalid

from .served_directory import Do

WEB = "workloads: {%s: {replicas: 1, containers: [{name: main, command: [run]}]}}\n"
SETTINGS = "kind: ConfigMap\nmetadata: {name: %s}\nspec: {data: {a: b}}\n"


PLACE = RemoteServer("there", "http://localhost", SocketPeer(Path("/nowhere")), "shop")


class Known:
    """An orchestrator that runs nothing."""

    async def list_workloads(self, **_options: Any) -> list[Any]:
        return []


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("namespace: shop\n" + WEB % "web", ["1:12"]),
        (SETTINGS % "a, namespace: shop", ["2:32"]),
        (f"{SETTINGS % 'a'}---\nnamespace: shop\n{WEB % 'web'}---\n{SETTINGS % 'b, namespace: bar'}", ["5:12", "9:32"]),
        ("items:\n- kind: ConfigMap\n  metadata: {name: a, namespace: shop}\n  spec: {}\n", ["3:34"]),
    ],
    ids=["manifest", "object", "both", "list"],
)
@pytest.mark.parametrize("file", ["all.yaml", "-"])
def test_what_names_another_namespace_is_refused_with_its_place(
    text: str, places: list[str], file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("all.yaml").write_text(text)
    for verb in ("validate", "apply") if "kind" in text else ("validate",):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert run([verb, file, "-n", "team"]) == 2
        told = capsys.readouterr().err.splitlines()
        assert [line.split(": ")[0] for line in told[:-1]] == [f"{file}:{place}" for place in places]
        assert "and -n says 'team'" in told[0]
        assert told[-1] == ("next:  Leave -n out." if len(places) > 1 else "next:  Say -n shop, or leave -n out.")


@pytest.mark.parametrize("file", ["web.yaml", "/dev/stdin"])
async def test_a_manifest_that_names_another_namespace_is_not_loaded(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "namespace: shop\n" + WEB % "web"
    Path("web.yaml").write_text(text)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    known: Any = Known()
    with pytest.raises(ConfigInvalid, match="1:12: namespace: this is in 'shop'"):
        await loaded(known, Where(namespace="team"), PLACE, Path(file))


def test_what_names_the_same_namespace_or_none_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    both = f"{SETTINGS % 'a'}---\nnamespace: team\n{WEB % 'web'}---\n{SETTINGS % 'b, namespace: team'}"
    Path("all.yaml").write_text(both)
    Path("web.yaml").write_text(WEB % "other")
    assert run(["validate", "all.yaml", "web.yaml", "--namespace", "team"]) == 0
    assert "2 objects, 1 workload" in capsys.readouterr().err


def test_what_is_there_twice_in_a_namespace_is_so_also_where_one_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("all.yaml").write_text(f"{SETTINGS % 'a'}---\n{SETTINGS % 'a, namespace: team'}")
    assert run(["validate", "all.yaml"]) == 0
    assert run(["validate", "all.yaml", "-n", "team"]) == 2
    assert "is there twice" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["apply", "plan", "validate"])
@pytest.mark.parametrize("named", ["*", "Team", ""])
def test_what_can_name_no_namespace_is_refused(verb: str, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("web.yaml").write_text(WEB % "web")
    assert run([verb, "web.yaml", "-n", named]) == 2
    assert "is no namespace to put things in" in capsys.readouterr().err


async def test_a_manifest_that_names_no_namespace_is_in_that_of_the_context() -> None:
    Path("web.yaml").write_text(WEB % "web")
    known: Any = Known()
    for typed, namespace in ((None, "shop"), ("team", "team")):
        (workload,) = await loaded(known, Where(namespace=typed), PLACE, Path("web.yaml"))
        assert workload.metadata.namespace == namespace
    Path("web.yaml").write_text("namespace: own\n" + WEB % "web")
    (workload,) = await loaded(known, Where(), PLACE, Path("web.yaml"))
    assert workload.metadata.namespace == "own"


@pytest.mark.slow
def test_workloads_and_objects_go_where_it_was_said(do: Do) -> None:
    assert do("create", "namespace", "team")[0] == 0
    Path("web.yaml").write_text(WEB % "placed")
    code, out, _ = do("plan", "web.yaml", "-n", "team", "-o", "json")
    assert (code, json.loads(out)["changes"][0]["namespace"]) == (1, "team")
    assert do("apply", "web.yaml", "-n", "team")[:2] == (0, "team/placed: create\n")
    assert do("plan", "web.yaml", "-n", "team")[:2] == (0, "team/placed: unchanged\n")
    Path("all.yaml").write_text(f"{SETTINGS % 'placed'}---\n{WEB % 'placed'}")
    code, out, _ = do("-n", "team", "apply", "all.yaml")
    assert (code, out.splitlines()) == (
        0,
        ["configmap/placed in namespace team: created", "workload/placed in namespace team: unchanged"],
    )
    assert do("get", "configmap", "placed")[0] == 3
