"""Each thing that can be wrong with a manifest is refused with its place and a remedy."""

from __future__ import annotations

import textwrap

import pytest
from orchestrion.shared_types import ConfigInvalid, Problem
from orchestrion.shared_types.manifest import parse_manifest


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigInvalid) as caught:
        parse_manifest(textwrap.dedent(text), file="app.yaml")
    assert not any(problem.message.endswith(".") for problem in caught.value.problems)
    assert all(problem.file == "app.yaml" for problem in caught.value.problems)
    return caught.value.problems


def service(lines: str) -> str:
    """Return a manifest of one service whose container has further keys, from line 5 on."""
    head = "workloads:\n  web:\n    containers:\n    - name: main\n"
    return head + textwrap.indent(textwrap.dedent(lines), "      ")


def batch(lines: str) -> str:
    """Return a manifest of one batch workload with further keys, from line 5 on."""
    head = "workloads:\n  job:\n    containers: [{name: main, command: [a]}]\n    kind: batch\n"
    return head + textwrap.indent(textwrap.dedent(lines), "    ")


CONTAINER = [
    ("", "4:7", "containers[0]", "command is missing; write command: [program, argument, ...], or an image"),
    ("command: []\n", "4:7", "containers[0]", "command is missing"),
    ("comand: [a]\n", "5:7", "containers[0].comand", "unknown key 'comand'; did you mean 'command'?"),
    ("command: [a]\nxyz: 1\n", "6:7", "containers[0].xyz", "unknown key 'xyz'; known: args, command"),
    ("command: a b\n", "5:16", "containers[0].command", "a list of texts is wanted, not the text 'a b'"),
    ("command: [a, null]\n", "5:20", "containers[0].command[1]", "a text is wanted, not nothing"),
    ("command: ['']\n", "5:17", "containers[0].command[0]", "the program's name is empty"),
    (
        "command: [a]\nimage: 5\n",
        "6:14",
        "containers[0].image",
        "a text is wanted, not a whole number (5); put it in quotes",
    ),
    ("command: [a]\nimage: x\ndriver: process\n", "6:14", "containers[0].image", "the process driver has no images"),
    ("command: [a]\nenv: [A=b]\n", "6:12", "containers[0].env", "a mapping of texts is wanted, not a list"),
    ("command: [a]\nenv: {A: }\n", "6:16", "containers[0].env.A", "write a value, or leave the key out"),
    ("command: [a]\nenv: {A-B: x}\n", "6:13", "containers[0].env.A-B", "'A-B' is not a variable's name"),
    (
        "command: [a]\nenv: {PORT_HTTP: x}\nports: [http]\n",
        "6:24",
        "containers[0].env.PORT_HTTP",
        "is set by the orchestrator",
    ),
    ("command: [a, '${PROT_HTTP}']\nports: [http]\n", "5:20", "containers[0].command[1]", "did you mean ${PORT_HTTP}?"),
    ("command: [a, '${HOME}']\n", "5:20", "containers[0].command[1]", "write $${HOME} to leave it to a shell"),
    ("command: [a, '${HOME:-x}']\n", "5:20", "containers[0].command[1]", "is not a reference such as ${NAME}"),
    ("command: [a]\nresources: {memroy: 1}\n", "6:19", "containers[0].resources.memroy", "did you mean 'memory'?"),
    (
        "command: [a]\nresources: {licences: 1}\n",
        "6:19",
        "containers[0].resources.licences",
        "written extended: {licences: 1}",
    ),
    ("command: [a]\nresources: {cpu: -1}\n", "6:24", "containers[0].resources.cpu", "'-1' is negative"),
    ("command: [a]\nresources: {memory: 1.5}\n", "6:27", "containers[0].resources.memory", "a fraction of a byte"),
    ("command: [a]\nresources: {memory: 500m}\n", "6:27", "containers[0].resources.memory", "m is a thousandth"),
    (
        "command: [a]\nresources: {memory: .inf}\n",
        "6:27",
        "containers[0].resources.memory",
        "is wanted, not a number (.inf)",
    ),
    ("command: [a]\nresources: {gpu: 1.5}\n", "6:24", "containers[0].resources.gpu", "whole devices, or for a share"),
    ("command: [a]\nresources: {cpu: 2}\nlimits: {cpu: 1}\n", "7:21", "containers[0].limits.cpu", "below the request"),
    ("command: [a]\nvolumes: [data]\n", "6:17", "containers[0].volumes.data", "unknown volume 'data'; there is none"),
    ("command: [a]\nports: [8080]\n", "6:15", "containers[0].ports[0]", "write {http: 8080} instead of the list"),
    (
        "command: [a]\nports: {http: 99999}\n",
        "6:21",
        "containers[0].ports.http",
        "a port's number from 1 to 65535 is wanted",
    ),
    (
        "command: [a]\nports: {a: 80, b: 80}\n",
        "6:25",
        "containers[0].ports.b",
        "port 80/tcp is asked for by 'a' already",
    ),
    (
        "command: [a]\nports: {a: {container_port: 80}}\n",
        "6:18",
        "containers[0].ports.a",
        "container_port can't differ",
    ),
    (
        "command: [a]\nhealth: {http: web}\n",
        "6:22",
        "containers[0].health.http",
        "unknown port 'web'; there is none here",
    ),
    (
        "command: [a]\nports: {d: {protocol: udp}}\nhealth: {tcp: {port: d}}\n",
        "7:21",
        "containers[0].health.tcp",
        "port 'd' is udp; a check needs tcp",
    ),
    (
        "command: [a]\nhealth: {interval: 1s}\n",
        "6:15",
        "containers[0].health",
        "exactly one of http, tcp, exec is wanted",
    ),
    ("command: [a]\nhealth: {exec: [a], interval: 0}\n", "6:37", "containers[0].health.interval", "above 0 is wanted"),
    ("command: [a]\nworking_dir: x\n", "6:20", "containers[0].working_dir", "this manifest has no folder"),
    ("command: [a]\nworking_dir: ~/x\n", "6:20", "containers[0].working_dir", "~ is not replaced here"),
    ("command: [a]\nworking_dir: '${A}'\n", "6:20", "containers[0].working_dir", "variables are not replaced here"),
    ("command: [a]\ncpu_set: [1, 1]\n", "6:16", "containers[0].cpu_set", "different cores"),
    ("command: [a]\nstop_grace: 5 s\n", "6:19", "containers[0].stop_grace", "a duration such as 1s"),
    ("command: [a]\nstop_grace: 9999d\n", "6:19", "containers[0].stop_grace", "longer than a year"),
]


@pytest.mark.parametrize(
    ("lines", "place", "path", "message"), CONTAINER, ids=[case[0] or "nothing" for case in CONTAINER]
)
def test_a_container_is_refused(lines: str, place: str, path: str, message: str) -> None:
    (problem,) = problems(service(lines))

    assert f"{problem.line}:{problem.column}" == place
    assert problem.path == f"workloads.web.{path}"
    assert message in problem.message


BATCH = [
    ("replicas: 2\n", "5:5", "replicas", "replicas has no meaning for a batch; a batch workload has completions"),
    ("replicas: 1\n", "5:5", "replicas", "replicas has no meaning"),
    ("update: {max_surge: 2}\n", "5:5", "update", "a batch workload is not updated while it runs"),
    ("restart: always\n", "5:14", "restart", "never ends; use on-failure or never"),
    ("restart: on_failure\n", "5:14", "restart", "did you mean 'on-failure'?"),
    ("completions: 0\n", "5:18", "completions", "a whole number from 1 to 1000000 is wanted"),
    ("completions: 2.0\n", "5:18", "completions", "is wanted, not a number (2.0)"),
    ("completions: '2'\n", "5:18", "completions", "is wanted, not the text '2'"),
    ("after: {none: succeeded}\n", "5:19", "after.none", "unknown workload 'none'; known: job"),
    ("after: job\n", "5:12", "after.job", "these wait for each other for ever: job -> job"),
    ("deadline: -1s\n", "5:15", "deadline", "'-1s' is negative"),
    ("priority_class: bach\n", "5:21", "priority_class", "unknown priority class 'bach'; did you mean 'batch'?"),
    ("priority_class: 5\n", "5:21", "priority_class", "the name of a priority class is wanted"),
    (
        "priority_class: batch\npriority: 10001\n",
        "6:15",
        "priority",
        "the class batch stands for priority: 10000, not 10001; write one of the two",
    ),
    (
        "preempts: true\npriority_class: batch\n",
        "5:15",
        "preempts",
        "the class batch stands for preempts: false, not true; write one of the two",
    ),
    ("gang: some\n", "5:11", "gang", "all or a whole number from 1 to 120 is wanted, not the text 'some'"),
    ("gang: 0\n", "5:11", "gang", "from 1 to 120"),
    ("gang: 2\n", "5:11", "gang", "there never are 2 instances to come up together; completions is 1"),
    ("completions: 121\ngang: all\n", "6:11", "gang", "121 instances are too many to come up together; at most 120"),
    (
        "completions: 3\nparallelism: 2\ngang: all\n",
        "6:18",
        "parallelism",
        "a gang's completions may all run at once; raise it to 3, or leave it out",
    ),
    ("disruption: {}\n", "5:17", "disruption", "max_unavailable is missing"),
    (
        "disruption: {max_unavailable: -1}\n",
        "5:35",
        "disruption.max_unavailable",
        "a whole number from 0 to 1000000 or a",
    ),
    (
        "disruption: {max_unavailable: 101%}\n",
        "5:35",
        "disruption.max_unavailable",
        "or a percentage from 0% to 100% is wanted",
    ),
    ("priority: 99999999999\n", "5:15", "priority", "from -2147483648 to 2147483647"),
    ("placement: {spread: [{by: node, max_skew: 0}]}\n", "5:47", "placement.spread[0].max_skew", "from 1 to"),
    (
        "placement: {expressions: [{key: a, operator: In}]}\n",
        "5:31",
        "placement.expressions[0]",
        "In on 'a' does not go with 0 values",
    ),
    (
        "placement: {tolerations: [{effect: noschedule}]}\n",
        "5:40",
        "placement.tolerations[0].effect",
        "did you mean 'NoSchedule'?",
    ),
    ("volumes: {a: {scope: own}}\n", "5:26", "volumes.a.scope", "one of shared, instance is wanted"),
    ("labels: {a: [b]}\n", "5:17", "labels.a", "a text is wanted, not a list"),
    ("schedule: '* * * * *'\n", "5:5", "schedule", "unknown key 'schedule'"),
    ("health: {tcp: http}\n", "5:5", "health", "health belongs in a container"),
    ("env: {A: b}\n", "5:5", "env", "env belongs in a container"),
]


@pytest.mark.parametrize(("lines", "place", "path", "message"), BATCH, ids=[case[0] for case in BATCH])
def test_a_batch_workload_is_refused(lines: str, place: str, path: str, message: str) -> None:
    (problem,) = problems(batch(lines))

    assert f"{problem.line}:{problem.column}" == place
    assert problem.path == f"workloads.job.{path}"
    assert message in problem.message


WHOLE = [
    ("", 0, 0, "nothing is defined here"),
    ("# nothing\n---\n---\n", 0, 0, "nothing is defined here"),
    ("workloads: {}\n", 0, 0, "nothing is defined here"),
    ("workloads:\n", 1, 11, "a mapping is wanted, not nothing"),
    ("- a\n", 1, 1, "a manifest is a mapping with the key workloads, not a list"),
    ("hello\n", 1, 1, "not the text 'hello'"),
    ("workload: {}\n", 1, 1, "did you mean 'workloads'?"),
    ("workloads: {A_b: {containers: [{name: a, command: [a]}]}}\n", 1, 13, "'A_b' is not a name"),
    ("workloads: {a: {}}\n", 1, 16, "containers is missing; containers is a list"),
    ("workloads: {a: {containers: []}}\n", 1, 29, "at least 1 is wanted, not an empty one"),
    ("workloads: {a: {containers: [{command: [a]}]}}\n", 1, 30, "name is missing"),
    ("workloads: {a: {kind: job, containers: [{name: a, command: [a]}]}}\n", 1, 23, "one of service, batch, daemon"),
    (
        "workloads: {a: {containers: [{name: b, command: [a]}, {name: b, command: [a]}]}}\n",
        1,
        62,
        "container 'b' is named twice",
    ),
    (
        "workloads: {a: {kind: daemon, replicas: 3, containers: [{name: b, command: [a]}]}}\n",
        1,
        31,
        "a daemon runs once on every node",
    ),
    (
        "workloads: {a: {kind: daemon, gang: all, containers: [{name: b, command: [a]}]}}\n",
        1,
        31,
        "gang has no meaning for a daemon; it runs on each node by itself",
    ),
    (
        "workloads: {a: {kind: daemon, update: {canary: 1}, containers: [{name: b, command: [a]}]}}\n",
        1,
        48,
        "canary has no meaning for a daemon, which is on every node",
    ),
    (
        "workloads: {a: {replicas: 3, update: {canary: 4}, containers: [{name: b, command: [a]}]}}\n",
        1,
        47,
        "there never are 4 instances to go first; replicas is 3",
    ),
    (
        "workloads: {a: {completions: 3, containers: [{name: b, command: [a]}]}}\n",
        1,
        17,
        "use replicas, or write kind: batch",
    ),
    ("volumes: {v: {}, V: {}}\nworkloads: {}\n", 1, 18, "'V' is not a name"),
    ("namespace: a\nworkloads: {}\n---\nnamespace: b\n", 4, 12, "one namespace; 'a' is said in app.yaml:1"),
    (
        "volumes: {v: {}}\n---\nvolumes: {v: {scope: instance}}\n",
        3,
        14,
        "declared twice, once as shared and once as instance",
    ),
    ("a: 1\na: 2\n", 2, 1, "the key 'a' stands here twice; first in line 1"),
    ("a:\n\tb: 1\n", 2, 1, "a tab can't indent YAML; use spaces"),
    ("a: [1\nb: 2\n", 2, 2, "this is not YAML"),
    ("a: @b\n", 1, 4, "put a text that begins with @ in quotes"),
    ("a: b: c\n", 1, 5, "put a text that has ': ' in quotes"),
    ("a: \0\n", 1, 4, "the character \\u0000 can't stand in a manifest"),
    ("a: 'x\u2028y'\n", 1, 6, "the character \\u2028 can't stand in a manifest"),
    ("a: &x [*x]\n", 1, 8, "'x' contains itself"),
    ("a: *x\n", 1, 4, "nothing is anchored as 'x' above"),
    ("a: !!python/object:os.system x\n", 1, 4, "does not go with 'x'"),
    ("a: !!int x\n", 1, 4, "the tag '!!int' does not go with 'x'"),
    ("? [a]\n: b\n", 1, 3, "a key is a text, not a list"),
    ("<<: 5\n", 1, 5, "<< merges mappings, not a whole number (5)"),
    ("a: " + "[" * 100, 1, 67, "nested more than 64 deep"),
    ('{"a": "\\ud800"}', 1, 10, "half of a surrogate pair is no character"),
]


@pytest.mark.parametrize(("text", "line", "column", "message"), WHOLE, ids=[case[3] for case in WHOLE])
def test_a_document_is_refused(text: str, line: int, column: int, message: str) -> None:
    (problem,) = problems(text)

    assert (problem.line, problem.column) == (line, column)
    assert message in problem.message


@pytest.mark.parametrize(
    ("source", "line", "column", "message"),
    [
        (b"\xff\xfea\0", 1, 1, "this is UTF-16; save it as UTF-8"),
        (b"a: 1\n\xc3\xa4: \xff\n", 2, 4, "the byte 0xff is not UTF-8"),
    ],
)
def test_bytes_that_are_not_utf_8_are_refused(source: bytes, line: int, column: int, message: str) -> None:
    with pytest.raises(ConfigInvalid, match=message) as caught:
        parse_manifest(source)

    assert [(one.line, one.column) for one in caught.value.problems] == [(line, column)]


RELATIONS = """
workloads:
  a:
    after: {b: healthy}
    containers: [{name: main, command: [a]}]
  b:
    after: [c]
    containers: [{name: main, command: [a, "${ORCHESTRION_ENDPOINTS_A_HTTP}"]}]
  c:
    after: [a, s, j]
    containers:
    - {name: main, command: [a], ports: [p]}
    - {name: side, command: [a, "${PORT_Q}"], ports: [p]}
    - {name: more, command: [a], ports: [q]}
  s:
    after: {j: healthy}
    containers: [{name: main, command: [a], ports: [http]}]
  j:
    kind: batch
    after: {d: succeeded}
    containers: [{name: main, command: [a, "${PORT_P}"], volumes: [v, v]}]
    volumes: [v]
  d:
    kind: daemon
    containers: [{name: main, command: [a]}]
"""


def test_all_problems_are_told_in_the_order_of_their_places() -> None:
    assert [str(problem).split(";")[0] for problem in problems(RELATIONS)] == [
        "app.yaml:4:16: workloads.a.after.b: these wait for each other for ever: a -> b -> c -> a",
        "app.yaml:8:44: workloads.b.containers[0].command[1]: unknown variable ${ORCHESTRION_ENDPOINTS_A_HTTP}",
        "app.yaml:13:33: workloads.c.containers[1].command[1]: unknown variable ${PORT_Q}",
        "app.yaml:13:55: workloads.c.containers[1].ports.p: port 'p' is named twice in the workload",
        "app.yaml:16:16: workloads.s.after.j: 'j' is a batch workload, which is never healthy as a whole",
        "app.yaml:20:16: workloads.j.after.d: 'd' is a daemon, which never succeeds",
        "app.yaml:21:44: workloads.j.containers[0].command[1]: unknown variable ${PORT_P}",
        "app.yaml:21:68: workloads.j.containers[0].volumes.v: volume 'v' is named twice",
    ]


def test_a_workload_that_is_wrong_itself_hides_nothing_of_the_others() -> None:
    found = problems(
        """
        workloads:
          a: {containers: [{name: main, command: [a], ports: [http], imgae: x}]}
          b:
            after: a
            containers: [{name: main, command: [a, "${ORCHESTRION_ENDPOINTS_A_HTTP}", "${X}"]}]
        """
    )

    assert [problem.path for problem in found] == [
        "workloads.a.containers[0].imgae",
        "workloads.b.containers[0].command[2]",
    ]


def test_no_more_problems_are_told_than_can_be_read() -> None:
    found = problems("workloads: {" + ", ".join(f"w{index}: 5" for index in range(1000)) + "}")

    assert len(found) == 51
    assert found[-1].message == "and more; mend these first"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("retries: -3\n", "a whole number from 0 to 1000000 is wanted, not -3"),
        ("disruption: {max_unavailable: -3}\n", "or a percentage from 0% to 100% is wanted, not -3"),
        ("disruption: {max_unavailable: 120%}\n", "a percentage from 0% to 100% is wanted, not the text"),
    ],
)
def test_a_number_out_of_its_range_is_named_beside_the_range(keys: str, message: str) -> None:
    (problem,) = problems(batch(keys))

    assert message in problem.message
