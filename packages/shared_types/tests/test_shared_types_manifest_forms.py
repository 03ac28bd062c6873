"""Compact and full forms stand for the same values, and what is typed is what is meant."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
from orchestrion import shared_types as o
from orchestrion.shared_types.manifest import (
    load_manifest,
    parse_manifest,
    plain_documents,
    read_manifest,
    to_manifest,
    to_yaml,
)

FOLDER = Path("/home/me/app")


def workload(lines: str) -> o.WorkloadDefinition:
    head = "volumes: {counts: {}}\nworkloads:\n  other: {containers: [{name: main, command: [a]}]}\n  it:\n"
    manifest = parse_manifest(head + textwrap.indent(textwrap.dedent(lines), "    "), folder=FOLDER)
    return manifest.workloads[1]


def container(lines: str) -> o.ContainerConfig:
    head = "containers:\n- name: main\n  command: [a]\n"
    return workload(head + textwrap.indent(textwrap.dedent(lines), "  ")).containers[0]


EXEC = o.ExecProbe(command=("check", "5"))
CONTAINER: list[tuple[str, dict[str, Any]]] = [
    ("ports: [http, admin]", {"ports": (o.PortMapping(name="http"), o.PortMapping(name="admin"))}),
    ("ports: {http: }", {"ports": (o.PortMapping(name="http"),)}),
    ("ports: {http: {}}", {"ports": (o.PortMapping(name="http"),)}),
    ("ports: {http: 8080}", {"ports": (o.PortMapping(name="http", host_port=8080),)}),
    ("ports: {http: {port: 8080}}", {"ports": (o.PortMapping(name="http", host_port=8080),)}),
    (
        "ports: {dns: {protocol: udp, listen: true}}",
        {"ports": (o.PortMapping(name="dns", protocol=o.Protocol.UDP, listen=True),)},
    ),
    ("volumes: [counts]", {"volumes": (o.VolumeMount(volume="counts"),)}),
    ("volumes: [{volume: counts, read_only: true}]", {"volumes": (o.VolumeMount(volume="counts", read_only=True),)}),
    ("volumes: {counts: }", {"volumes": (o.VolumeMount(volume="counts"),)}),
    ("volumes: {counts: /x}\nimage: i", {"volumes": (o.VolumeMount(volume="counts", path="/x"),), "image": "i"}),
    ("resources: {cpu: 0.5}", {"resources": o.Resources(cpu_millicores=500)}),
    ("resources: {cpu: 1e-1}", {"resources": o.Resources(cpu_millicores=100)}),
    ("resources: {memory: 0x400}", {"resources": o.Resources(memory_bytes=1024)}),
    (
        "resources: {memory: 1.5G, disk: 1Ti, cpu: 2}",
        {"resources": o.Resources(cpu_millicores=2000, memory_bytes=1_500_000_000, disk_bytes=2**40)},
    ),
    (
        "resources: {extended: {licences: 2}, example.com/fpga: 1}",
        {"resources": o.Resources(extended={"licences": 2, "example.com/fpga": 1})},
    ),
    ("resources: {gpu: 2}", {"gpu": o.GpuRequest(count=2)}),
    ("resources: {gpu: 0.25}", {"gpu": o.GpuRequest(thousandths=250)}),
    ("resources: {gpu: 0}", {"gpu": None}),
    (
        "resources: {gpu: {model: A100, memory: 40Gi, capability: 8.0}}",
        {"gpu": o.GpuRequest(count=1, model="A100", memory_bytes=40 * 2**30, capability="8.0")},
    ),
    ("resources: {gpu: {share: 500m}}", {"gpu": o.GpuRequest(thousandths=500)}),
    ("limits: {memory: 1Gi}", {"limits": o.Resources(memory_bytes=2**30)}),
    ("limits: {}", {"limits": o.Resources()}),
    (
        "health: {http: http}\nports: [http]",
        {"health": o.HealthCheck(probe=o.HttpProbe(port="http")), "ports": (o.PortMapping(name="http"),)},
    ),
    (
        "health: {tcp: {port: http}, timeout: 500ms, start_period: 1m}\nports: [http]",
        {
            "health": o.HealthCheck(probe=o.TcpProbe(port="http"), timeout_seconds=0.5, start_period_seconds=60),
            "ports": (o.PortMapping(name="http"),),
        },
    ),
    (
        "health: {exec: [check, 5], interval: 1, healthy_threshold: 2, unhealthy_threshold: 1}",
        {"health": o.HealthCheck(probe=EXEC, interval_seconds=1.0, healthy_threshold=2, unhealthy_threshold=1)},
    ),
    ("args: [1, 1.50, 1e3, 0x10, true, no, '']", {"args": ("1", "1.50", "1e3", "0x10", "true", "no", "")}),
    (
        "env: {A: 1, B: 1.50, C: true, D: no, E: ''}",
        {"env_vars": {"A": "1", "B": "1.50", "C": "true", "D": "no", "E": ""}},
    ),
    ("inherit_env: [PATH]", {"inherit_env": ("PATH",)}),
    ("working_dir: .", {"working_dir": "/home/me/app"}),
    ("working_dir: ../data/./x", {"working_dir": "/home/me/data/x"}),
    ("working_dir: /x/../y", {"working_dir": "/x/../y"}),
    ("user: 1000", {"user": "1000"}),
    ("user: me:us", {"user": "me:us"}),
    ("cpu_set: [0, 2]", {"cpu_set": (0, 2)}),
    ("stop_grace: 1m30s", {"stop_grace_seconds": 90.0}),
    ("stop_grace: 2.5", {"stop_grace_seconds": 2.5}),
]


@pytest.mark.parametrize(("lines", "attributes"), CONTAINER, ids=[case[0] for case in CONTAINER])
def test_a_container_is_read(lines: str, attributes: dict[str, Any]) -> None:
    assert container(lines) == o.ContainerConfig(name="main", command=("a",), **attributes)


def placed(**attributes: Any) -> dict[str, Any]:
    return {"placement": o.Placement(**attributes)}


WORKLOAD: list[tuple[str, dict[str, Any]]] = [
    ("after: other", {"after": (o.Dependency(workload="other"),)}),
    ("after: [other]", {"after": (o.Dependency(workload="other"),)}),
    ("after: {other: }", {"after": (o.Dependency(workload="other"),)}),
    (
        "after: {other: started}",
        {"after": (o.Dependency(workload="other", condition=o.DependencyCondition.STARTED),)},
    ),
    ("restart: never", {"restart": o.RestartPolicy(condition=o.RestartCondition.NEVER)}),
    (
        "restart: {condition: on-failure, max_restarts: 3, initial_delay: 500ms, factor: 1.5, jitter: 0}",
        {
            "restart": o.RestartPolicy(
                condition=o.RestartCondition.ON_FAILURE,
                max_restarts=3,
                initial_delay_seconds=0.5,
                factor=1.5,
                jitter=0.0,
            )
        },
    ),
    (
        "update: {max_surge: 0, max_unavailable: 1, min_healthy: 2s, progress_deadline: 1m, rollback: false}",
        {
            "update": o.UpdateStrategy(
                max_surge=0, max_unavailable=1, min_healthy_seconds=2, progress_deadline_seconds=60, rollback=False
            )
        },
    ),
    ("update: {canary: 1}", {"update": o.UpdateStrategy(canary=1)}),
    ("placement: {spread: zone}", placed(spreads=(o.Spread(by="zone"),))),
    (
        "placement: {spread: [node, {by: zone, max_skew: 2, required: true}]}",
        placed(spreads=(o.Spread(), o.Spread(by="zone", max_skew=2, required=True))),
    ),
    ("placement: {select: {zone: a, rack: 7}}", placed(select={"zone": "a", "rack": "7"})),
    (
        "placement: {expressions: [{key: disk, operator: Exists}, {key: cores, operator: Gt, values: [8]}]}",
        placed(
            expressions=(
                o.Expression(key="disk", operator=o.Operator.EXISTS),
                o.Expression(key="cores", operator=o.Operator.GREATER, values=("8",)),
            )
        ),
    ),
    (
        "placement: {affinity: {instances: [{match: {app: web}, anti: true, weight: 9}]}}",
        placed(instance_affinities=(o.InstanceAffinity(match_labels={"app": "web"}, anti=True, weight=9),)),
    ),
    (
        "placement: {affinity: {nodes: [{expressions: [{key: gpu, operator: Exists}]}]}}",
        placed(node_affinities=(o.NodeAffinity(expressions=(o.Expression(key="gpu", operator=o.Operator.EXISTS),)),)),
    ),
    (
        "placement: {tolerations: [{key: a, value: b, effect: NoExecute, for: 5m}, {}]}",
        placed(
            tolerations=(
                o.Toleration(key="a", value="b", effect=o.TaintEffect.NO_EXECUTE, seconds=300.0),
                o.Toleration(),
            )
        ),
    ),
    ("volumes: [own]", {"volumes": (o.Volume(name="own"),)}),
    ("volumes: {own: {scope: instance}}", {"volumes": (o.Volume(name="own", scope=o.VolumeScope.INSTANCE),)}),
    ("retention: {attempts: 0}", {"retention": o.Retention(attempts=0)}),
    ("priority: -5", {"priority": -5}),
    ("priority_class: system-high", {"priority": 1_000_000_000}),
    ("priority_class: batch", {"priority": 10_000, "preempts": False}),
    ("priority_class: production-medium", {}),
    ("priority_class: best-effort\npriority: 0\npreempts: false", {"priority": 0, "preempts": False}),
    ("preempts: false", {"preempts": False}),
    ("disruption: {max_unavailable: 0}", {"disruption": o.Disruption(max_unavailable=0)}),
    ("disruption: {max_unavailable: 25%}", {"disruption": o.Disruption(max_unavailable_percent=25)}),
    ("replicas: 4\ngang: all", {"replicas": 4, "gang": o.Gang()}),
    ("replicas: 4\ngang: 3", {"replicas": 4, "gang": o.Gang(minimum=3)}),
    ("replicas: 0", {"replicas": 0}),
    (
        "kind: batch\nstart_within: 10m\nmissed_start: drop",
        {"kind": o.WorkloadKind.BATCH, "start_within_seconds": 600.0, "missed_start": o.MissPolicy.DROP},
    ),
    (
        "kind: batch\ncompletions: 4\nparallelism: 2\nretries: 3\ndeadline: 1h",
        {
            "kind": o.WorkloadKind.BATCH,
            "completions": 4,
            "parallelism": 2,
            "retries": 3,
            "deadline_seconds": 3600.0,
        },
    ),
]


@pytest.mark.parametrize(("lines", "attributes"), WORKLOAD, ids=[case[0] for case in WORKLOAD])
def test_a_workload_is_read(lines: str, attributes: dict[str, Any]) -> None:
    main = o.ContainerConfig(name="main", command=("a",))

    read = workload("containers: [{name: main, command: [a]}]\n" + lines)

    assert read == o.WorkloadDefinition(metadata=o.Metadata(name="it"), containers=(main,), **attributes)


def test_what_a_class_stands_for_is_written_as_the_class() -> None:
    read = workload("priority: 10000\npreempts: false\ncontainers: [{name: main, command: [a]}]")

    written = to_manifest(read)["workloads"]["it"]

    assert written == {"containers": [{"name": "main", "command": ["a"]}], "priority_class": "batch"}


def test_classes_of_ones_own_can_be_named() -> None:
    text = "workloads: {a: {priority_class: gold, containers: [{name: main, command: [a]}]}}"
    gold = o.PriorityClass(name="gold", value=7, preempts=False)

    (read,) = parse_manifest(text, classes=[gold]).workloads

    assert (read.priority, read.preempts) == (7, False)


def test_labels_and_annotations_become_metadata() -> None:
    read = workload(
        "labels: {app: web, version: 1.10}\nannotations: {x: true}\ncontainers: [{name: main, command: [a]}]"
    )

    assert read.metadata == o.Metadata(name="it", labels={"app": "web", "version": "1.10"}, annotations={"x": "true"})


def test_a_workload_gets_those_volumes_of_the_manifest_that_it_mounts() -> None:
    manifest = parse_manifest(
        """
        volumes: {a: {}, b: {scope: instance}}
        workloads:
          one: {containers: [{name: main, command: [x], volumes: [b]}]}
          two: {containers: [{name: main, command: [x], volumes: [a, c]}], volumes: [c]}
        """
    )

    assert manifest.workloads[0].volumes == (o.Volume(name="b", scope=o.VolumeScope.INSTANCE),)
    assert manifest.workloads[1].volumes == (o.Volume(name="c"), o.Volume(name="a"))
    assert [volume.name for volume in manifest.volumes] == ["a", "b"]


def test_documents_are_merged_and_json_is_the_same() -> None:
    yaml = "namespace: ns\nvolumes: {v: {}}\n---\n# nothing\n---\n"
    yaml += "workloads: {a: {containers: [{name: m, command: [x]}]}}\n"
    also = yaml + "---\nnamespace: ns\nworkloads: {b: {containers: [{name: m, command: [x], volumes: [v]}]}}\n"
    json = (
        '{"namespace": "ns", "volumes": {"v": {}}, "workloads":\n\t'
        '{"a": {"containers": [{"name": "m", "command": ["x"]}]},'
        '"b": {"containers": [{"name": "m", "command": ["x"], "volumes": ["v"]}]}}}'
    )

    manifest = parse_manifest(also)

    assert manifest.namespace == "ns"
    assert [one.metadata.name for one in manifest.workloads] == ["a", "b"]
    assert {one.metadata.namespace for one in manifest.workloads} == {"ns"}
    assert parse_manifest(json) == manifest


def test_json_escapes_of_any_character_are_understood() -> None:
    text = '{"workloads": {"a": {"containers": [{"name": "m", "command": ["\\ud83d\\ude00\\u00e9\\/", "\\\\ud83d"]}]}}}'

    assert parse_manifest(text).workloads[0].containers[0].command == ("😀é/", "\\ud83d")


def test_anchors_and_merges_are_understood() -> None:
    manifest = parse_manifest(
        """
        workloads:
          a: &base
            replicas: 2
            containers: &main [{name: m, command: [x]}]
          b: {<<: *base, replicas: 3}
          c: {containers: *main}
          d: {<<: [{priority: 1}, *base, {priority: 2}]}
        """
    )

    assert [(one.replicas, one.priority, len(one.containers)) for one in manifest.workloads] == [
        (2, 50_000, 1),
        (3, 50_000, 1),
        (1, 50_000, 1),
        (2, 1, 1),
    ]


def test_a_byte_order_mark_and_windows_lines_are_no_trouble() -> None:
    text = "\ufeffworkloads:\r\n  a:\r\n    containers: [{name: m, command: [x]}]\r\n"

    assert parse_manifest(text) == parse_manifest(text.encode())
    assert parse_manifest(text).workloads[0].containers[0].command == ("x",)


def test_existing_workloads_may_be_come_after() -> None:
    text = "workloads: {a: {after: old, containers: [{name: m, command: ['${ORCHESTRION_ENDPOINTS_OLD_HTTP}']}]}}"
    old = o.WorkloadDefinition(
        metadata=o.Metadata(name="old"),
        containers=(o.ContainerConfig(name="m", ports=(o.PortMapping(name="http"),)),),
    )

    assert parse_manifest(text, others=(old,)).workloads[0].after == (o.Dependency(workload="old"),)
    with pytest.raises(o.ConfigInvalid, match="unknown workload 'old'"):
        parse_manifest(text)


WARNINGS = [
    ("replicas: 2", "there are 2 replicas"),
    ("", "an update starts a second instance first"),
    ("kind: batch\n    completions: 3", "several completions run at once"),
    ("update: {max_surge: 0, max_unavailable: 1}", ""),
    ("kind: batch\n    completions: 3\n    parallelism: 1", ""),
    ("kind: daemon", ""),
]


@pytest.mark.parametrize(("keys", "reason"), WARNINGS)
def test_a_fixed_port_that_may_be_wanted_twice_on_a_node_is_warned_of(keys: str, reason: str) -> None:
    text = f"workloads:\n  a:\n    containers: [{{name: m, command: [x], ports: {{http: 8080}}}}]\n    {keys}\n"

    warnings = parse_manifest(text, file="f").warnings

    assert [str(warning).partition(" but ")[0] for warning in warnings] == (
        ["f:3:56: workloads.a.containers[0].ports.http: port 8080 is there once per node,"] if reason else []
    )
    assert all(reason in warning.message for warning in warnings)


def test_a_port_of_two_workloads_and_a_volume_of_none_are_warned_of() -> None:
    text = (
        "volumes: {v: {}}\nworkloads:\n"
        "  a: {kind: daemon, containers: [{name: m, command: [x], ports: {http: 80}}]}\n"
        "  b: {kind: daemon, containers: [{name: m, command: [x], ports: {http: 80}}]}\n"
    )

    assert [(one.line, one.message) for one in parse_manifest(text).warnings] == [
        (1, "volume 'v' is mounted by no container"),
        (4, "port 80 is asked for by workload 'a' too; they can't share a node"),
    ]


TOLERATED = "placement: {{tolerations: [{{key: a, effect: {}, for: 5m}}]}}"
IDLE = [
    ("missed_start: drop", "missed_start: it has no effect without start_within"),
    ("missed_start: drop\n    start_within: 5m", ""),
    ("missed_start: late", ""),
    (TOLERATED.format("NoSchedule"), "placement.tolerations[0].for: it has no effect on a NoSchedule taint"),
    (TOLERATED.format("NoExecute"), ""),
    ("placement: {tolerations: [{key: a, for: 5m}]}", ""),
]


@pytest.mark.parametrize(("keys", "warning"), IDLE)
def test_what_has_no_effect_is_warned_of(keys: str, warning: str) -> None:
    text = f"workloads:\n  a:\n    kind: batch\n    containers: [{{name: m, command: [x]}}]\n    {keys}\n"

    found = [str(one) for one in parse_manifest(text).warnings]

    assert [warning in one for one in found] == ([True] if warning else [])


def test_what_is_written_is_what_an_author_would_write() -> None:
    read = workload(
        """
        kind: batch
        completions: 2
        containers:
        - {name: main, command: [a, "1"], resources: {cpu: 0.5, memory: 64Mi}, volumes: [counts], ports: [http]}
        after: {other: started}
        """
    )

    assert to_yaml(to_manifest(read)) == textwrap.dedent(
        """\
        workloads:
          it:
            kind: batch
            containers:
            - name: main
              command:
              - a
              - "1"
              ports:
                http: {}
              resources:
                cpu: 500m
                memory: 64Mi
              volumes:
              - counts
            volumes:
              counts: {}
            completions: 2
            after:
              other: started
        """
    )


def test_what_names_no_namespace_is_where_the_caller_says(tmp_path: Path) -> None:
    silent = "workloads: {a: {containers: [{name: m, command: [x]}]}}\n"
    speaking = "namespace: own\nworkloads: {b: {containers: [{name: m, command: [x]}]}}\n"
    (tmp_path / "a.yaml").write_text(silent)
    for manifest in (
        parse_manifest(silent, namespace="given"),
        load_manifest(tmp_path, namespace="given"),
        read_manifest(plain_documents(silent)[0], namespace="given"),
    ):
        assert (manifest.namespace, manifest.workloads[0].metadata.namespace) == ("given", "given")
    assert parse_manifest(f"{silent}---\n{speaking}", namespace="given").namespace == "own"
    assert parse_manifest(silent).namespace == "default"


def test_workloads_of_two_namespaces_or_of_one_name_make_no_manifest() -> None:
    one, other = (o.WorkloadDefinition(metadata=o.Metadata(name="a", namespace=name)) for name in ("x", "y"))

    with pytest.raises(o.ConfigInvalid, match="one namespace"):
        to_manifest((one, other))
    with pytest.raises(o.ConfigInvalid, match="the same name"):
        to_manifest((one, one))


GOLD = "workloads: {a: {priority_class: gold, containers: [{name: main, command: [a]}]}}"


def test_a_priority_class_that_only_others_know_is_passed_on_by_its_name() -> None:
    manifest = parse_manifest(GOLD, classes=None)
    (workload,) = manifest.workloads
    assert (workload.priority_class, workload.priority) == ("gold", o.DEFAULT_PRIORITY_CLASS.value)
    assert to_manifest(workload)["workloads"]["a"]["priority_class"] == "gold"
    assert read_manifest(to_manifest(workload), classes=None).workloads == manifest.workloads


def test_a_standard_priority_class_is_not_passed_on() -> None:
    (workload,) = parse_manifest(GOLD.replace("gold", "batch"), classes=None).workloads
    assert (workload.priority_class, workload.priority, workload.preempts) == ("", 10_000, False)


@pytest.mark.parametrize("beside", ["priority: 5", "preempts: false"])
def test_beside_a_class_that_is_passed_on_nothing_says_what_it_stands_for(beside: str) -> None:
    with pytest.raises(o.ConfigInvalid, match="what the class gold stands for is known where it runs"):
        parse_manifest(GOLD.replace("containers", f"{beside}, containers"), classes=None)


@pytest.mark.parametrize("name", ["Gold", "a b", "-a", "''"])
def test_what_can_name_no_priority_class_is_not_passed_on(name: str) -> None:
    with pytest.raises(o.ConfigInvalid, match="priority class"):
        parse_manifest(GOLD.replace("gold", name), classes=None)
