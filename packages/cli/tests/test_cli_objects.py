"""Commands about objects, nodes and rights, on an orchestrator of mocks."""

from __future__ import annotations

import json
import re
import shlex
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from orchestrion.cli import _bundle, _get, run
from orchestrion.cli._contexts import LOCAL
from orchestrion.cli._objects import Objects
from orchestrion.cli._places import place_of
from orchestrion.cli._where import Where
from orchestrion.shared_types import Denied

from .served_directory import Do, served_directory

APP = """
workloads:
  web:
    replicas: 2
    labels: {tier: front}
    containers: [{name: main, command: [serve], env: {PASSWORD: hunter2}}]
"""

pytestmark = pytest.mark.slow  # each is a command of its own, with the imports of its parser


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory with an owner, on which `web` runs."""
    folder = tmp_path_factory.mktemp("owned")
    (folder / "app.yaml").write_text(APP)
    with served_directory(folder / "state") as state:
        assert run(["apply", str(folder / "app.yaml"), "--state", str(state)]) == 0
        assert run(["wait", "workload", "web", "--timeout", "50s", "--state", str(state)]) == 0
        yield state


@pytest.mark.parametrize("kind", ["workloads", "workload", "Workload", "w", "wl"])
def test_a_kind_is_called_by_its_plural_its_name_or_what_is_short_for_it(kind: str, do: Do) -> None:
    assert do("get", kind, "-o", "name") == (0, "workload/web\n", "")


def test_an_unknown_kind_is_not_found(do: Do) -> None:
    code, out, err = do("get", "wobbles")
    assert (code, out, "there is no kind 'wobbles'" in err) == (3, "", True)


def test_a_table_has_titles_and_what_is_worth_knowing(do: Do) -> None:
    titles, row = do("get", "workload", "web")[1].splitlines()
    assert titles.split() == ["NAME", "STATE", "READY", "WHAT", "AGE"]
    assert row.split()[:4] == ["web", "Healthy", "2/2", "up"]
    assert "tier=front" in do("get", "w", "-o", "wide")[1]


def test_the_forms_for_programs_are_the_objects_unchanged(do: Do) -> None:
    (listed,) = json.loads(do("get", "workloads", "-o", "json")[1])
    one = json.loads(do("get", "workload", "web", "-o", "json")[1])
    line = json.loads(do("get", "workload", "web", "-o", "jsonl")[1])
    assert listed == one == line
    assert one["spec"]["replicas"] == 2
    assert one["metadata"]["labels"] == {"tier": "front"}
    assert "kind: Workload" in do("get", "workload", "web", "-o", "yaml")[1]


def test_an_object_is_made_shown_changed_and_removed(do: Do) -> None:
    assert (
        do("create", "configmap", "colours", "-d", "sky=blue", "--dry-run")[2] == "configmap/colours: would be made\n"
    )
    assert do("get", "configmap", "colours")[0] == 3
    assert do("create", "configmap", "colours", "-d", "sky=blue")[2] == "configmap/colours: made\n"
    assert do("create", "configmap", "colours")[0] == 4
    assert do("patch", "configmap", "colours", "{spec: {data: {grass: green}}}")[0] == 0
    data = json.loads(do("get", "cm", "colours", "-o", "json")[1])["spec"]["data"]
    assert data == {"sky": "blue", "grass": "green"}
    steps = '[{"op": "remove", "path": "/spec/data/sky"}]'
    assert do("patch", "configmap", "colours", steps, "--type", "json")[0] == 0
    code, _, err = do("delete", "configmap", "colours")
    assert (code, "delete configmap/colours in namespace default" in err) == (2, True)
    assert do("delete", "configmap", "colours", "--yes", "--dry-run")[0] == 0
    assert do("delete", "configmap", "colours", "--yes")[2].endswith("configmap/colours: removed\n")
    assert do("delete", "configmap", "colours", "--yes")[0] == 3


def test_objects_are_made_of_a_file(do: Do, tmp_path: Path) -> None:
    path = tmp_path / "objects.yaml"
    path.write_text(
        "kind: Namespace\nmetadata: {name: shop}\n---\n"
        "kind: ConfigMap\nmetadata: {name: prices, namespace: shop}\nspec: {data: {tea: '3'}}\n"
    )
    assert do("create", "-f", str(path))[0] == 0
    assert do("get", "cm", "prices", "-n", "shop", "-o", "name")[1] == "configmap/prices\n"
    assert do("get", "cm", "prices")[0] == 3
    assert do("get", "cm", "-n", "*")[1].split()[:3] == ["NAMESPACE", "NAME", "KEYS"]


@pytest.mark.parametrize(
    ("text", "told"),
    [("workloads: {}\n", "each document is an object"), ("a: [\n", "file.yaml:2:1"), ("kind: Wobble\n", "no kind")],
)
def test_what_is_no_object_makes_nothing(text: str, told: str, do: Do, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    code, _, err = do("create", "-f", str(path))
    assert code in (2, 3)
    assert told in err


def test_a_secret_is_never_shown(do: Do, tmp_path: Path) -> None:
    (tmp_path / "word").write_text("hunter3")
    assert do("create", "secret", "db", "-d", "password=@word")[0] == 0
    for arguments in (
        ["get", "secret", "db", "-o", "yaml"],
        ["describe", "secret", "db"],
        ["get", "secrets", "-o", "json"],
    ):
        code, out, _ = do(*arguments)
        assert (code, "hunter3" in out) == (0, False)


def test_an_editor_changes_what_it_changes(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    do("create", "configmap", "edited", "-d", "sky=blue")
    monkeypatch.setenv("VISUAL", "true")
    assert do("edit", "configmap", "edited")[2] == "nothing was changed\n"
    monkeypatch.setenv("VISUAL", "sed -i s/blue/red/")
    assert do("edit", "configmap", "edited")[2] == "configmap/edited: changed\n"
    item = json.loads(do("get", "cm", "edited", "-o", "json")[1])
    assert (item["spec"]["data"], item["metadata"]["generation"]) == ({"sky": "red"}, 2)
    monkeypatch.setenv("VISUAL", "false")
    assert do("edit", "configmap", "edited")[0] == 2


def test_a_workload_is_described_with_its_instances_and_events(do: Do) -> None:
    out = do("describe", "workload", "web")[1]
    assert "web.0.1" in out
    assert "Created" in out


@pytest.mark.parametrize(("kind", "has"), [("workload", 2), ("instance", 1), ("node", 2), ("configmap", 0)])
def test_a_description_is_data_for_programs_as_well(kind: str, has: int, do: Do) -> None:
    do("create", "configmap", "told")
    names = {"workload": "web", "instance": "web.0.1", "configmap": "told"}
    name = names.get(kind) or do("get", "nodes", "-o", "name")[1].split()[0].partition("/")[2]
    code, out, err = do("describe", kind, name, "-o", "json")
    data = json.loads(out)
    assert (code, err, data["object"]["metadata"]["name"]) == (0, "", name)
    assert [part in data for part in ("events", "instances")].count(True) == has
    assert all(one["spec"]["node_id"] == name for one in data.get("instances", ()) if kind == "node")
    assert ("Created" in [one["reason"] for one in data.get("events", ())]) is (kind == "workload")
    assert json.loads(do("describe", kind, name, "-o", "jsonl")[1]) == data
    assert do("describe", kind, name, "-o", "yaml")[1].startswith(("events:", "instances:", "object:"))
    assert do("describe", kind, name, "-o", "name")[1] == f"{kind}/{name}\n"


def test_one_node_is_told_with_every_predicate(do: Do) -> None:
    (first, *_) = json.loads(do("get", "nodes", "-o", "json")[1])
    node, name = first["metadata"]["name"], first["spec"]["name"]
    code, out, _ = do("explain", "web", "--node", name)
    assert (code, out.splitlines()[0].endswith(f"would be taken by {name}")) == (0, True)
    rows = {line.split()[0]: line.split()[1] for line in out.splitlines() if line.startswith("    ")}
    assert rows["cordoned"] == rows["resource"] == rows["taint"] == "holds"
    assert "other-node" not in rows
    assert do("node", "cordon", node)[0] == 0
    code, out, _ = do("explain", "web.0", "--node", node)
    told = [line.split() for line in out.splitlines()]
    assert (code, ["cordoned", "fails", "cordoned"] in told, ["resource", "holds"] in told) == (0, True, True)
    assert told[-1][-2:] == ["uncordon", "it"]
    (placement,) = json.loads(do("explain", "web.0", "--node", node, "-o", "json")[1])
    assert [group["predicate"] for group in placement["explanation"]["groups"]] == ["cordoned"]
    assert do("node", "uncordon", node)[0] == 0
    assert do("explain", "web", "--node", "nope")[0] == 3
    assert name in do("__complete", "explain", "web", "--node", "")[1].split()


def test_nobody_has_to_see_colours(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "\x1b[" in do("status")[1]
    for arguments in (["--no-color", "status"], ["-n", "default", "--no-color", "status"], ["status", "--no-color"]):
        monkeypatch.setenv("NO_COLOR", "")
        code, out, _ = do(*arguments)
        assert (code, "Healthy" in out, "\x1b[" in out) == (0, True, False)
    assert do("__complete", "--no-color", "status", "")[1] == "web\n"
    assert do("__complete", "status", "--no-c")[1] == "--no-color\n"


@pytest.mark.parametrize(
    ("goal", "code"),
    [
        ("done", 0),
        ("exists", 0),
        ("status.available=2", 0),
        ("metadata.labels.tier=front", 0),
        ("deleted", 8),
        ("x", 2),
    ],
)
def test_waiting_ends_when_it_holds_or_time_is_over(goal: str, code: int, do: Do) -> None:
    timeout = "0.1s" if code == 8 else "50s"
    assert do("wait", "workload", "web", "--for", goal, "--timeout", timeout)[0] == code


def test_what_comes_is_waited_for(do: Do) -> None:
    assert do("scale", "web", "3")[0] == 0
    assert do("wait", "workload", "web", "--for", "status.available=3", "--timeout", "50s")[0] == 0
    assert do("scale", "web", "2")[0] == 0
    assert do("rollout", "status", "web", "--timeout", "50s")[0] == 0


def test_nodes_are_shown_with_what_is_promised(do: Do) -> None:
    rows = do("top")[1].splitlines()
    assert rows[0].split()[:3] == ["NODE", "STATE", "INSTANCES"]
    assert len(rows) == 3
    uses = json.loads(do("node", "ls", "-o", "json")[1])
    assert sum(use["instances"] for use in uses) == 2


def test_what_nodes_use_is_shown_beside_what_is_promised(do: Do) -> None:
    assert do("top")[1].splitlines()[0].split()[3:7] == ["CPU", "USED", "MEMORY", "USED"]
    tops = json.loads(do("top", "-o", "json")[1])
    assert sum(top["used"]["memory_bytes"] for top in tops) == 2 << 20
    assert sum(top["used"]["cpu_millicores"] for top in tops) in range(1900, 2101)


def test_what_instances_use_is_shown(do: Do) -> None:
    rows = do("top", "instances")[1].splitlines()
    assert (rows[0].split()[0], len(rows)) == ("INSTANCE", 3)
    (first, second) = json.loads(do("top", "instances", "-n", "default", "-o", "json")[1])
    assert first["used"]["memory_bytes"] == second["used"]["memory_bytes"] == 1 << 20
    assert {one.partition(".")[0] for one in do("top", "instances", "-o", "name")[1].split()} == {"web"}
    assert do("top", "instances", "-n", "empty", "-o", "name")[:2] == (0, "")
    assert do("top", "everything")[0] == 2


def test_what_does_not_wait_is_not_tried_again(do: Do) -> None:
    assert do("retry", "web") == (0, "", "web: nothing waits for another try\n")
    assert do("retry", "web", "-o", "name")[:2] == (0, "")
    assert do("retry", "nobody")[0] == 3
    assert do("retry", "web.99")[0] == 3


def test_a_node_is_cordoned_and_let_work_again(do: Do) -> None:
    node = json.loads(do("node", "ls", "-o", "json")[1])[0]["node"]
    assert do("node", "cordon", node["name"])[2] == f"{node['name']}: takes no new work\n"
    assert "cordoned" in do("node", "ls")[1]
    assert "cordoned" in do("get", "node", node["id"])[1]
    assert do("node", "uncordon", node["id"])[0] == 0
    assert "cordoned" not in do("node", "ls")[1]
    assert do("node", "cordon", "nope")[0] == 3


def test_a_node_is_drained_until_nothing_is_left(do: Do) -> None:
    uses = json.loads(do("node", "ls", "-o", "json")[1])
    busy = next(use["node"]["name"] for use in uses if use["instances"])
    code, _, err = do("node", "drain", busy, "--reason", "new disks", "--deadline", "10m", "--timeout", "50s")
    assert (code, f"{busy}: drained" in err) == (0, True)
    assert "drains: new disks" in do("node", "ls")[1]
    assert do("node", "uncordon", busy)[0] == 0
    assert do("wait", "workload", "web", "--for", "status.available=2", "--timeout", "50s")[0] == 0


def test_a_workload_goes_back_to_what_it_ran_before(do: Do) -> None:
    change = {"spec": {"containers": [{"name": "main", "command": ["serve", "--better"]}]}}
    assert do("patch", "workload", "web", json.dumps(change))[0] == 0
    assert do("rollout", "status", "web", "--timeout", "50s")[0] == 0
    assert "serve --better" in do("rollout", "history", "web")[1]
    assert do("rollout", "undo", "web")[0] == 0
    assert do("rollout", "status", "web", "--timeout", "50s")[0] == 0
    containers = json.loads(do("get", "workload", "web", "-o", "json")[1])["spec"]["containers"]
    assert containers[0]["command"] == ["serve"]
    assert do("rollout", "undo", "web", "--to", "99")[0] == 3


def test_an_update_with_a_canary_goes_on_once_it_is_promoted(do: Do) -> None:
    containers = [{"name": "main", "command": ["serve", "--new"]}]
    assert do("rollout", "promote", "web")[0] == 4
    assert (
        do("patch", "workload", "web", json.dumps({"spec": {"update": {"canary": 1}, "containers": containers}}))[0]
        == 0
    )
    assert do("wait", "workload", "web", "--for", "status.reason=canary", "--timeout", "50s")[0] == 0
    code, _, err = do("rollout", "status", "web", "--timeout", "1s")
    assert (code, "`orchestrion rollout promote web` lets the update go on" in err) == (8, True)
    code, _, err = do("rollout", "promote", "web", "--dry-run")
    assert (code, "web: its update would go on beyond its canary" in err) == (0, True)
    assert do("rollout", "promote", "web")[0] == 0
    assert do("rollout", "status", "web", "--timeout", "50s")[0] == 0
    assert do("rollout", "promote", "web")[0] == 0
    better = {"spec": {"containers": [{"name": "main", "command": ["serve", "--newer"]}]}}
    assert do("patch", "workload", "web", json.dumps(better))[0] == 0
    assert do("rollout", "undo", "web")[0] == 0
    rows = do("rollout", "history", "web")[1].splitlines()
    assert re.search(r"^\d+ +current +brought back by generation \d+ +main: serve --new$", rows[-1])
    known = json.loads(do("rollout", "history", "web", "-o", "json")[1])
    first = next(str(each["generation"]) for each in known if each["containers"][0]["command"] == ["serve"])
    assert do("rollout", "undo", "web", "--to", first)[0] == 0
    assert do("patch", "workload", "web", '{"spec": {"update": null}}')[0] == 0
    assert do("rollout", "status", "web", "--timeout", "50s")[0] == 0
    assert do("rollout", "promote", "nobody")[0] == 3


def test_a_workload_is_restarted_and_its_history_says_so(do: Do) -> None:
    before = json.loads(do("get", "instances", "-o", "json")[1])
    code, _, err = do("rollout", "restart", "web", "--dry-run")
    assert (code, "would be replaced" in err) == (0, True)
    code, _, err = do("rollout", "restart", "web")
    assert (code, "`orchestrion rollout status web` follows it" in err) == (0, True)
    assert do("rollout", "status", "web", "--timeout", "50s")[0] == 0
    told = json.loads(do("rollout", "history", "web", "-o", "json")[1])
    assert [one["cause"] for one in told if one["current"]] == ["restart"]
    assert "restart" in do("rollout", "history", "web")[1]
    after = json.loads(do("get", "instances", "-o", "json")[1])
    assert not _running_uids(before) & _running_uids(after)
    assert do("rollout", "restart", "nobody")[0] == 3


def _running_uids(instances: list[dict[str, dict[str, str]]]) -> set[str]:
    return {one["metadata"]["name"] for one in instances if one["status"]["state"] == "Running"}


def test_output_is_of_names_or_of_labels(do: Do) -> None:
    assert do("logs")[0] == 2
    assert do("logs", "web", "-l", "tier=front")[0] == 2
    assert do("logs", "web", "web.9")[0] == 3
    assert do("logs", "-l", "tier=front")[0] == 0
    assert do("logs", "--all")[0] == 0
    assert do("logs", "--all", "web")[0] == 2
    assert "no workload has the labels tier=back" in do("logs", "-l", "tier=back")[2]
    assert do("status", "workload/web") == do("status", "default/web") == do("status", "web", "-n", "default")
    assert do("logs", "nowhere/web")[0] == 3
    assert [do("logs", *whose, "-n", "*")[0] for whose in (["web"], ["--all"], ["-l", "tier=front"])] == [2, 2, 2]
    assert "nothing was written by an attempt before the latest one" in do("logs", "web", "--previous")[2]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["-l", "tier=front"], ["workload/web"]),
        (["-l", "tier!=front"], []),
        (["--field-selector", "metadata.name=web"], ["workload/web"]),
        (["--field-selector", "metadata.name=other"], []),
    ],
)
def test_objects_are_selected(options: list[str], found: list[str], do: Do) -> None:
    assert do("get", "workloads", "-o", "name", *options)[1].split() == found


def test_a_kind_that_users_defined_is_a_kind_like_others(do: Do, tmp_path: Path) -> None:
    path = tmp_path / "kind.yaml"
    path.write_text(
        "kind: CustomKind\nmetadata: {name: boats}\nspec: {kind: Boat, plural: boats, schema: {type: object}}\n"
    )
    assert do("create", "-f", str(path))[0] == 0
    path.write_text("kind: Boat\nmetadata: {name: kon-tiki}\nspec: {sails: 1}\n")
    assert do("create", "-f", str(path))[0] == 0
    assert do("get", "boats", "-o", "name")[1] == "boat/kon-tiki\n"


def test_the_schema_of_a_kind_of_ones_own_is_asked_for(do: Do, tmp_path: Path) -> None:
    sails = "{type: object, properties: {sails: {type: integer, description: How many it has.}}}"
    (tmp_path / "kind.yaml").write_text(
        f"kind: CustomKind\nmetadata: {{name: ships}}\nspec: {{kind: Ship, plural: ships, schema: {sails}}}\n"
    )
    assert do("create", "-f", "kind.yaml")[0] == 0
    schema = json.loads(do("schema", "Ship")[1])
    assert schema["properties"]["spec"]["properties"]["sails"]["type"] == "integer"
    assert "How many it has." in do("explain-field", "ships.spec.sails")[1]
    code, _, err = do("schema", "rafts")
    assert (code, "get customkinds" in err) == (3, True)


def test_what_status_tells_programs_says_what_it_is_about(do: Do) -> None:
    (report,) = json.loads(do("status", "web", "-o", "json")[1])
    assert {key: report[key] for key in ("api_version", "kind", "namespace", "name")} == {
        "api_version": "orchestrion/v1",
        "kind": "WorkloadReport",
        "namespace": "default",
        "name": "web",
    }
    assert report["workload"]["definition"]["metadata"]["name"] == "web"


def test_the_owner_is_the_administrator(do: Do) -> None:
    assert "by      unix" in do("whoami")[1]
    assert do("auth", "can-i", "delete", "nodes", "-o", "name") == (0, "yes\n", "")
    assert "*: *" in do("auth", "can-i", "--list")[1]
    assert do("auth", "can-i", "delete")[0] == 2


def test_a_right_that_nobody_can_have_is_told(do: Do) -> None:
    for resource in ("w", "workloads/status", "tokens", "*"):
        assert do("auth", "can-i", "get", resource)[0] == 0
    code, out, err = do("auth", "can-i", "get", "unicorns")
    assert (code, out, "no kind 'unicorns'" in err) == (3, "", True)
    code, out, err = do("auth", "can-i", "frobnicate", "workloads")
    assert (code, out, "no verb 'frobnicate'" in err) == (2, "", True)


def test_what_can_not_be_done_with_a_kind_is_told_apart_from_what_is_not_there(do: Do) -> None:
    event = json.loads(do("get", "events", "-o", "json")[1])[0]["metadata"]["name"]
    code, _, err = do("delete", "event", event, "--yes")
    assert (code, "DELETE is not for" in err, "versions" in err) == (2, True, False)
    assert do("delete", "event", "nowhere", "--yes")[0] == 3


def test_events_of_what_never_was_are_not_found(do: Do) -> None:
    code, out, err = do("events", "--for", "nothere")
    assert (code, out, "no workload 'nothere'" in err) == (3, "", True)
    assert do("events", "--for", "web")[0] == 0
    assert do("events", "--for", "web", "--since", "0s")[0] == 0
    assert do("events", "--for", "workload/nothere")[0] == 0


def test_events_begin_with_what_people_read(do: Do) -> None:
    titles = do("get", "events")[1].splitlines()[0].split()
    assert titles == ["AGE", "ABOUT", "REASON", "WHAT"]
    assert "NAME" in do("get", "events", "-o", "wide")[1].splitlines()[0].split()


@pytest.mark.parametrize(("command", "more"), [("status", "GENERATION"), ("top", "ADDRESS"), ("node ls", "ADDRESS")])
def test_wide_tables_tell_more(command: str, more: str, do: Do) -> None:
    told = [do(*command.split(), "-o", form)[1].splitlines()[0].split() for form in ("table", "wide")]
    assert [more in titles for titles in told] == [False, True]


def test_where_a_command_acts_may_stand_before_its_name(do: Do, owned: Path) -> None:
    expected = do("get", "w", "-o", "name")
    assert expected[:2] == (0, "workload/web\n")
    assert do("-C", "local", "get", "w", "-o", "name") == expected
    assert do("-s", str(owned), "-n", "default", "get", "w", "-o", "name") == expected
    assert do("--state=nowhere", "get", "w", "-o", "name")[0] == 9
    assert do("-n", "empty", "rollout", "status", "web", "--timeout", "1s")[0] == 3
    assert do("-C", "prod")[0] == 2


def test_rows_of_what_is_followed_are_aligned_from_the_first_on(
    do: Do, owned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["a-short", "b-name-that-is-long"]
    for name in names:
        assert do("create", "configmap", name, "-d", "x=1", "-d", "y=1", "-d", "z=1", "-d", "v=1")[0] == 0

    async def look(kind: str) -> list[str]:
        where, told = Where(owned), ""
        with trio.fail_after(50):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_get._follow, where, place_of(where), kind, "!lost", None, "table")
                while not all(name in told for name in names):
                    await trio.sleep(0.01)
                    told += capsys.readouterr().out
                nursery.cancel_scope.cancel()
        return told.splitlines()

    titles, *rows = trio.run(look, "configmaps")
    own = [row for row in rows if any(name in row for name in names)]
    assert [row[titles.index("KEYS") :].split()[0] for row in own] == ["4", "4"]
    assert do("delete", "configmap", *names, "--yes")[0] == 0


def test_a_token_is_shown_once_and_what_it_lacks_is_told(do: Do, tmp_path: Path) -> None:
    code, token, err = do(
        "token", "create", "ci", "--kind", "service", "--allow", "get,list:workloads", "--lifetime", "1h"
    )
    token = token.strip()
    assert (code, token.startswith("orc_"), "it is not shown again" in err) == (0, True, True)
    listed = do("token", "ls", "-o", "json")[1]
    assert token not in listed
    (made,) = [one for one in json.loads(listed) if one["name"] == "ci"]
    assert made["scope"] == [{"resources": ["workloads"], "verbs": ["get", "list"]}]
    assert "it may do nothing yet" in err
    binding = json.loads(shlex.split(err.partition("next:  echo ")[2])[0])
    assert binding["spec"] == {"role": "viewer", "subjects": [{"kind": "service", "name": "ci"}]}
    (tmp_path / "binding.json").write_text(json.dumps(binding))
    assert do("create", "-f", str(tmp_path / "binding.json"))[0] == 0
    assert "nothing yet" not in do("token", "create", "ci", "--kind", "service")[2]
    assert do("delete", "rolebinding", "ci-viewer", "--yes")[0] == 0
    assert "nothing yet" not in do("token", "create", "root", "--group", "system:admins")[2]
    assert do("token", "revoke", made["id"])[0] == 0
    assert do("token", "revoke", made["id"])[0] == 3


@pytest.mark.parametrize("options", [["--allow", "get"], ["--lifetime", "soon"]])
def test_a_token_that_nobody_understands_is_not_made(options: list[str], do: Do) -> None:
    assert do("token", "create", "ci", *options)[0] == 2


def test_names_of_what_there_is_are_completed(do: Do) -> None:
    Path("ported.yaml").write_text(
        "workloads: {ported: {replicas: 0, containers: [{name: main, command: [run], ports: {http: {port: 80}}}]}}"
    )
    assert do("__complete", "status", "")[1] == "web\n"
    assert do("__complete", "status", "x")[1] == ""
    assert do("__complete", "logs", "web.")[1] == ""
    alive = [line.split()[0].rpartition(".")[0] for line in do("status")[1].splitlines() if "  web." in line]
    assert do("__complete", "exec", "web.")[1].split() == sorted(alive)
    assert do("__complete", "get", "w")[1] == "workloads\n"
    assert do("__complete", "get", "workloads", "")[1] == "web\n"
    assert do("__complete", "status", "-n", "def")[1] == "default\n"
    assert do("__complete", "status", "-C", "")[1] == f"{LOCAL}\n"
    assert do("__complete", "status", "--out")[1] == "--output\n"
    assert do("__complete", "status", "-o", "j")[1] == "json\njsonl\n"
    assert do("__complete", "rollout", "u")[1] == "undo\n"
    assert do("__complete", "apply", "")[1] == ":files\n"
    assert do("__complete", "stop", "--no-")[1] == "--no-color\n--no-wait\n"
    assert do("__complete", "nothing", "")[1] == ""
    assert do("__complete", "status", "--output=j")[1] == "--output=json\n--output=jsonl\n"
    assert do("__complete", "status", "--output", "=")[1].split() == ["json", "jsonl", "name", "table", "wide", "yaml"]
    assert do("__complete", "status", "--output", "=", "j")[1] == "json\njsonl\n"
    assert do("__complete", "get", "mut")[1] == "mutatingwebhooks\n"
    assert do("__complete", "cp", "web.")[1].split() == [f"{name}:" for name in sorted(alive)]
    assert do("__complete", "cp", "./")[1] == ":files\n"
    assert do("__complete", "cp", "web.0:/x", "")[1] == ":files\n"
    assert do("__complete", "-n", "default", "status", "")[1] == "web\n"
    assert do("__complete", "-n", "default", "roll")[1] == "rollout\n"
    assert do("__complete", "-C", "l")[1] == f"{LOCAL}\n"
    assert do("__complete", "-n", "def")[1] == "default\n"
    assert do("__complete", "delete", "workload/")[1] == do("__complete", "get", "workload/w")[1] == "workload/web\n"
    assert do("__complete", "logs", "web", "-c", "")[1] == do("__complete", "exec", "web.0", "-c", "m")[1] == "main\n"
    assert do("__complete", "logs", "nobody", "-c", "")[1] == ""
    assert do("apply", "ported.yaml")[0] == 0
    assert do("__complete", "port-forward", "ported.0", "h")[1] == "http\n"
    assert do("rm", "ported", "--yes")[0] == 0
    made = do("token", "create", "completed", "-o", "name")[1]
    assert do("__complete", "token", "revoke", made.strip())[1] == made


def test_where_nobody_answers_nothing_is_completed(do: Do) -> None:
    assert do("__complete", "status", "--state", "elsewhere", "")[:2] == (0, "")


def test_a_bundle_has_everything_but_secrets(do: Do, tmp_path: Path) -> None:
    do("create", "secret", "deep", "-d", "word=hunter4")
    code, _, err = do("debug", "bundle", "all.zip")
    assert (code, "without secrets" in err) == (0, True)
    with zipfile.ZipFile(tmp_path / "all.zip") as bundle:
        texts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    assert {"about.json", "objects/workloads.json", "objects/secrets.json", "server/api/v1/whoami.txt"} <= set(texts)
    assert "hunter" not in "".join(texts.values())
    assert '"PASSWORD": "***"' in texts["objects/workloads.json"]
    assert (tmp_path / "all.zip").stat().st_mode & 0o077 == 0
    assert do("debug", "bundle", "all.zip")[0] == 4


def test_a_bundle_that_can_not_be_made_is_told_before_anybody_is_asked(
    do: Do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object) -> None:
        pytest.fail("somebody was asked")

    with monkeypatch.context() as patch:
        patch.setattr(_bundle, "run_async", nobody)
        assert do("debug", "bundle", "nodir/x.zip")[0] == 2

    async def denied(*_: object, **__: object) -> None:
        raise Denied("you may not list that")

    monkeypatch.setattr(Objects, "list", denied)
    code, _, err = do("debug", "bundle", "none.zip")
    assert (code, "nothing of it can be read" in err, (tmp_path / "none.zip").exists()) == (5, True, False)


def test_a_bundle_has_what_workloads_ran_and_why_what_waits_has_no_place(do: Do, tmp_path: Path) -> None:
    huge = "{name: main, command: [run], env: {WORD: hunter9}, resources: {memory: 1000Ti}}"
    (tmp_path / "huge.yaml").write_text(f"workloads: {{huge: {{kind: batch, containers: [{huge}]}}}}")
    (tmp_path / "small.yaml").write_text("workloads: {small: {containers: [{name: main, command: [run]}]}}")
    assert do("apply", "huge.yaml")[0] == 0
    assert do("apply", "small.yaml")[0] == 0
    assert do("wait", "workload", "small", "--for", "status.placed=1", "--timeout", "50s")[0] == 0
    assert do("debug", "bundle", "waiting.zip")[0] == 0
    with zipfile.ZipFile(tmp_path / "waiting.zip") as bundle:
        texts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    (slot,) = json.loads(texts["pending/default/huge.json"])
    assert (slot["instance"], "memory" in slot["text"]) == ("huge.0", True)
    assert "pending/default/small.json" not in texts
    assert json.loads(texts["rollouts/default/small.json"])["history"][0]["generation"] == 1
    assert "hunter9" not in "".join(texts.values())
    assert do("rm", "huge", "small", "--yes")[0] == 0


BEYOND = """
kind: CustomKind
metadata: {name: backups}
spec: {kind: Backup, plural: backups, namespaced: true}
---
kind: ValidatingWebhook
metadata: {name: guard}
spec:
  url: https://127.0.0.1:1/check?key=hunter6
  rules: [{kinds: [PriorityClass], operations: [create]}]
  failure_policy: ignore
"""

BACKUP = """
kind: Backup
metadata: {name: nightly}
spec: {at: '02:00', login: {token: hunter7, dbPassword: [hunter8], user: ann}}
"""


def test_a_bundle_has_webhooks_objects_of_kinds_of_ones_own_and_the_end_of_the_audit_log(
    do: Do, owned: Path, tmp_path: Path
) -> None:
    (tmp_path / "beyond.yaml").write_text(BEYOND)
    (tmp_path / "backup.yaml").write_text(BACKUP)
    code, _, said = do("apply", "beyond.yaml")
    assert code == 0, said
    assert do("apply", "backup.yaml")[0] == 0
    log = owned / "server-api" / "audit"
    log.mkdir()
    records = [f'{{"seq":{number},"verb":"create","source":"192.0.2.7"}}' for number in range(1_200)]
    (log / "0001.jsonl").write_text("".join(f"{record}\n" for record in records))
    assert do("debug", "bundle", "more.zip")[0] == 0
    with zipfile.ZipFile(tmp_path / "more.zip") as bundle:
        texts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    (backup,) = json.loads(texts["objects/backups.json"])
    assert backup["spec"] == {"at": "02:00", "login": {"token": "***", "dbPassword": ["***"], "user": "ann"}}
    (guard,) = json.loads(texts["objects/validatingwebhooks.json"])
    assert guard["spec"]["url"] == "https://127.0.0.1:1/***"
    kept = [json.loads(line) for line in texts["audit.jsonl"].splitlines()]
    assert [record["seq"] for record in kept] == list(range(200, 1_200))
    assert "missing.txt" not in texts
    assert not any(word in "".join(texts.values()) for word in ("hunter", "192.0.2.7"))
    for name in ("backup/nightly", "validatingwebhook/guard", "customkind/backups"):
        assert do("delete", *name.split("/"), "--yes")[0] == 0


def test_without_an_owner_there_are_no_objects(do: Do) -> None:
    code, _, err = do("get", "workloads", "--state", "elsewhere")
    assert (code, "no orchestrator runs on" in err) == (9, True)


def test_an_instance_that_is_deleted_is_replaced(do: Do) -> None:
    assert do("delete", "instance", "web.0.9", "--yes")[0] == 3
    name = _to_run(do)[0]
    code, _, err = do("delete", "instance", name, "--yes")
    assert (code, f"instance/{name}: going" in err) == (0, True)
    assert do("wait", "workload", "web", "--for", "status.available=2", "--timeout", "50s")[0] == 0
    assert len(_to_run(do)) == 2
    assert name not in _to_run(do)


def _to_run(do: Do) -> list[str]:
    """Return the instances that are to run."""
    items = json.loads(do("get", "instances", "-o", "json")[1])
    return [item["metadata"]["name"] for item in items if item["spec"].get("desired", "run") == "run"]


def test_updates_are_paused_and_resumed(do: Do) -> None:
    code, _, err = do("rollout", "pause", "web")
    assert (code, "web: updates are paused" in err) == (0, True)
    assert do("wait", "workload", "web", "--for", "status.paused=true", "--timeout", "50s")[0] == 0
    assert do("rollout", "pause", "web")[0] == 0
    code, _, err = do("rollout", "resume", "web")
    assert (code, "web: updates go on" in err) == (0, True)
    assert do("rollout", "status", "web", "--timeout", "50s")[0] == 0
    assert do("rollout", "pause", "nobody")[0] == 3


def test_a_manifest_may_name_a_priority_class_that_the_server_knows(do: Do) -> None:
    text = "workloads: {gold-web: {replicas: 0, priority_class: gold, containers: [{name: main, command: [run]}]}}"
    Path("gold.yaml").write_text(text)
    code, _, err = do("validate", "gold.yaml")
    assert (code, "priority class gold of gold-web is none of the standard ones" in err) == (0, True)
    code, _, err = do("apply", "gold.yaml")
    assert "gold" in err, err
    assert (code, "priority class" in err) == (2, True)
    Path("class.yaml").write_text("{kind: PriorityClass, metadata: {name: gold}, spec: {value: 77000}}")
    assert do("create", "-f", "class.yaml")[0] == 0
    assert do("apply", "gold.yaml")[0] == 0
    assert json.loads(do("get", "workload", "gold-web", "-o", "json")[1])["spec"]["priority"] == 77_000
    assert do("rm", "gold-web", "--yes")[0] == 0


SHOP = """
namespace: default
workloads:
  shop-a: {kind: batch, containers: [{name: main, command: [run]}]}
  shop-b: {kind: batch, containers: [{name: main, command: [run]}], after: {shop-a: succeeded}}
"""


def test_workloads_that_left_the_set_of_a_file_go_with_prune(do: Do) -> None:
    Path("shop.yaml").write_text(SHOP)
    assert do("apply", "shop.yaml", "--set", "shop")[0] == 0
    assert do("get", "workloads", "-l", "orchestrion/apply-set=shop", "-o", "name")[1].split() == [
        "workload/shop-a",
        "workload/shop-b",
    ]
    Path("shop.yaml").write_text("workloads: {shop-c: {replicas: 0, containers: [{name: main, command: [run]}]}}")
    code, out, _ = do("apply", "shop.yaml", "--set", "shop", "--prune", "--dry-run")
    assert (code, out.splitlines()) == (0, ["shop-c: create", "shop-b: delete", "shop-a: delete"])
    assert do("get", "workload", "shop-a")[0] == 0
    assert do("apply", "shop.yaml", "--set", "shop")[0] == 0
    assert do("get", "workload", "shop-a")[0] == 0
    assert do("apply", "shop.yaml", "--set", "shop", "--prune")[0] == 2
    assert do("get", "workload", "shop-a")[0] == 0
    assert do("apply", "shop.yaml", "--set", "shop", "--prune", "--yes")[1].splitlines()[1:] == [
        "shop-b: delete",
        "shop-a: delete",
    ]
    assert do("wait", "workload", "shop-a", "--for", "deleted", "--timeout", "50s")[0] == 0
    assert do("get", "workloads", "-o", "name")[1].split() == ["workload/shop-c", "workload/web"]
    assert do("rm", "shop-c", "--yes")[0] == 0


def test_what_the_file_still_comes_after_does_not_go(do: Do) -> None:
    Path("shop.yaml").write_text(SHOP)
    assert do("apply", "shop.yaml", "--set", "shop")[0] == 0
    alone = SHOP.replace("  shop-a:", "#").replace("shop-b", "shop-d")
    Path("shop.yaml").write_text(alone)
    code, _, err = do("apply", "shop.yaml", "--set", "shop", "--prune")
    assert (code, "shop-d comes after it" in err) == (4, True)
    assert do("get", "workload", "shop-d")[0] == 3
    assert do("rm", "shop-b", "shop-a", "--yes")[0] == 0


@pytest.mark.parametrize("options", [("--prune",), ("--set", "No Name")])
def test_a_set_has_to_be_named(options: tuple[str, ...], do: Do) -> None:
    Path("shop.yaml").write_text(SHOP)
    assert do("apply", "shop.yaml", *options)[0] == 2


def test_what_was_stopped_is_started_without_its_file(do: Do, tmp_path: Path) -> None:
    (tmp_path / "idle.yaml").write_text(APP.replace("web:", "idle:"))
    assert do("apply", "idle.yaml")[0] == 0
    assert do("stop", "idle")[0] == 0
    assert "next: `orchestrion start idle` starts it again" in do("status", "idle")[1]
    code, _, told = do("scale", "idle", "1")
    assert (code, "orchestrion start idle" in told) == (4, True)
    assert do("start", "idle")[0] == 0
    assert do("scale", "idle", "1")[0] == 0
    assert do("rm", "idle", "--yes")[0] == 0


def test_an_apply_leaves_what_other_managers_say_unless_it_is_forced(do: Do, tmp_path: Path) -> None:
    (tmp_path / "shared.yaml").write_text(APP.replace("web:", "shared:").replace("    replicas: 2\n", ""))
    (tmp_path / "three.yaml").write_text(APP.replace("web:", "shared:").replace("replicas: 2", "replicas: 3"))
    (tmp_path / "two.yaml").write_text(APP.replace("web:", "shared:"))
    assert do("apply", "two.yaml", "--manager", "deploy")[0] == 0
    assert do("apply", "shared.yaml")[0] == 0
    assert at_replicas(do) == 2
    code, _, told = do("apply", "three.yaml")
    assert (code, "spec.replicas is owned by 'deploy'" in told) == (4, True)
    assert do("apply", "three.yaml", "--force-conflicts")[0] == 0
    assert at_replicas(do) == 3
    assert do("rm", "shared", "--yes")[0] == 0


def at_replicas(do: Do) -> int:
    return int(json.loads(do("get", "workload", "shared", "-o", "json")[1])["spec"]["replicas"])


def test_events_are_chosen_by_severity_and_reason(do: Do) -> None:
    reasons = {event["reason"] for event in json.loads(do("events", "-o", "json")[1])}
    some = sorted(reasons)[0]
    found = json.loads(do("events", "--types", some.lower(), "-o", "json")[1])
    assert {event["reason"] for event in found} == {some}
    assert do("events", "--types", "Normal,Warning", "-o", "name")[1] == do("events", "-o", "name")[1]
    assert do("events", "--types", "Nothing") == (0, "", "nothing of what has happened is of Nothing\n")
