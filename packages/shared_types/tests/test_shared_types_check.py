"""Workloads that never were a manifest are checked by the same rules."""

from __future__ import annotations

from typing import Any

import pytest
from orchestrion import shared_types as o
from orchestrion.shared_types.manifest import Manifest, check_manifest

MAIN = o.ContainerConfig(name="main", command=("a",))


def workload(name: str = "web", *, namespace: str = "default", **attributes: Any) -> o.WorkloadDefinition:
    metadata = o.Metadata(name=name, namespace=namespace)
    return o.WorkloadDefinition(metadata=metadata, **{"containers": (MAIN,), **attributes})


def container(**attributes: Any) -> o.WorkloadDefinition:
    return workload(containers=(o.ContainerConfig(**{"name": "main", "command": ("a",), **attributes}),))


def test_a_plain_workload_is_accepted() -> None:
    assert o.check_workloads((workload(),)) == ()


CASES = [
    (
        workload(kind=o.WorkloadKind.BATCH, completions=2, gang=o.Gang(minimum=3)),
        "workloads.web.gang: there never are 3 instances to come up together; completions is 2",
    ),
    (
        workload(kind=o.WorkloadKind.BATCH, completions=200, gang=o.Gang()),
        "workloads.web.gang: 200 instances are too many to come up together; at most 120 can",
    ),
    (workload("Web"), "workloads.Web: 'Web' can't name a workload"),
    (workload(namespace="a b"), "namespace: 'a b' can't name a namespace"),
    (workload(containers=()), "workloads.web.containers: a workload needs at least one container"),
    (workload(volumes=(o.Volume(name="V"),)), "workloads.web.volumes.V: 'V' can't name a volume"),
    (workload(replicas=3, kind=o.WorkloadKind.DAEMON), "workloads.web.replicas: replicas has no meaning for a daemon"),
    (workload(retries=1), "workloads.web.retries: retries has no meaning for a service; use restart"),
    (container(name="A"), "workloads.web.containers[0].name: 'A' can't name a container"),
    (container(driver="A"), "workloads.web.containers[0].driver: 'A' can't name a driver"),
    (container(working_dir="x"), "workloads.web.containers[0].working_dir: 'x' is not an absolute path"),
    (container(inherit_env=("A B",)), "workloads.web.containers[0].inherit_env[0]: 'A B' can't name a variable"),
    (container(env_vars={"A.B": "x"}), "workloads.web.containers[0].env['A.B']: 'A.B' can't name a variable"),
    (container(ports=(o.PortMapping(name="P"),)), "workloads.web.containers[0].ports.P: 'P' can't name a port"),
    (container(cpu_set=()), "workloads.web.containers[0].cpu_set: a cpu_set names one or more"),
    (
        container(resources=o.Resources(extended={"x": 2}), limits=o.Resources(extended={"x": 1}, cpu_millicores=1)),
        "workloads.web.containers[0].limits.x: the limit of x (1) is below the request (2)",
    ),
    (
        container(health=o.HealthCheck(probe=o.ExecProbe(command=("x", "${Y}")))),
        "workloads.web.containers[0].health.exec[1]: unknown variable ${Y}",
    ),
]


@pytest.mark.parametrize(
    "definition",
    [
        workload(replicas=200, gang=o.Gang(minimum=o.MAX_GANG)),
        workload(replicas=0, gang=o.Gang(minimum=2)),
        workload(kind=o.WorkloadKind.BATCH, completions=2, parallelism=2, gang=o.Gang()),
    ],
    ids=["a part of many", "none for now", "all at once"],
)
def test_a_gang_is_accepted(definition: o.WorkloadDefinition) -> None:
    assert o.check_workloads((definition,)) == ()


@pytest.mark.parametrize(("wanted", "least"), [(0, 0), (2, 2), (3, 3), (9, 3)])
def test_of_fewer_than_its_minimum_a_gang_takes_all(wanted: int, least: int) -> None:
    assert o.Gang(minimum=3).least_of(wanted) == least
    assert o.Gang().least_of(wanted) == wanted


@pytest.mark.parametrize(("definition", "message"), CASES, ids=[message for _, message in CASES])
def test_a_workload_is_refused(definition: o.WorkloadDefinition, message: str) -> None:
    (problem,) = o.check_workloads((definition,))

    assert str(problem).startswith(message)


def test_a_mount_in_an_image_wants_an_absolute_path() -> None:
    mount = o.VolumeMount(volume="v", path="x")
    one = o.ContainerConfig(name="main", image="i", volumes=(mount,))

    (problem,) = o.check_workloads((workload(containers=(one,), volumes=(o.Volume(name="v"),)),))

    assert problem.message == "'x' is not an absolute path"


def test_names_are_unique_in_a_namespace_and_not_beyond_it() -> None:
    assert o.check_workloads((workload(), workload(namespace="other"))) == ()
    (problem,) = o.check_workloads((workload(), workload()))
    assert problem.message == "workload 'web' is named twice"


def test_existing_workloads_of_the_same_namespace_may_be_come_after() -> None:
    one = workload(after=(o.Dependency(workload="old"),))

    assert o.check_workloads((one,), others=(workload("old"),)) == ()
    assert o.check_workloads((one,), others=(workload("old", namespace="other"),)) != ()
    assert o.check_workloads((one,)) != ()


def test_every_cycle_is_named_once() -> None:
    def after(name: str, *others: str) -> o.WorkloadDefinition:
        return workload(name, after=tuple(o.Dependency(workload=other) for other in others))

    problems = o.check_workloads(
        (
            after("a", "b"),
            after("b", "a"),
            after("c", "a"),
            after("d", "e"),
            after("e", "f"),
            after("f", "d"),
            after("g"),
        )
    )

    assert [problem.message.split(": ")[1].split(";")[0] for problem in problems] == ["a -> b -> a", "d -> e -> f -> d"]


def test_a_long_chain_is_no_cycle() -> None:
    chain = [workload(f"w{index}", after=(o.Dependency(workload=f"w{index + 1}"),)) for index in range(2000)]

    assert o.check_workloads((*chain, workload("w2000"))) == ()


def test_a_manifest_keeps_to_its_namespace() -> None:
    manifest = Manifest(namespace="mine", workloads=(workload(namespace="other"),))

    (problem,) = check_manifest(manifest)

    assert "it is in the namespace 'other', its manifest in 'mine'" in problem.message
