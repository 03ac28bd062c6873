"""Documents are checked without a server as a server with nothing in it would."""

from __future__ import annotations

from time import process_time

import pytest
from orchestrion.control_plane.checking import Checked, check_documents
from orchestrion.shared_types.manifest import placed_documents

KIND = """\
kind: CustomKind
metadata: {name: backups}
spec:
  kind: Backup
  plural: backups
  schema: {type: object, properties: {every: {type: string}}, additionalProperties: false}
"""


def checked(*texts: str) -> Checked:
    """Check files called 0.yaml, 1.yaml and so on."""
    files = enumerate(texts)
    return check_documents([one for number, text in files for one in placed_documents(text, file=f"{number}.yaml")])


def told(*texts: str) -> list[str]:
    return [str(problem) for problem in checked(*texts).problems]


GOOD = {
    "ConfigMap": "{data: {tea: '3'}}",
    "Secret": "{data: {tea: '3'}}",
    "Namespace": "{images: {allow: ['*']}}",
    "PriorityClass": "{value: 5}",
    "ResourceQuota": "{hard: {cpu: '4', memory: 1Gi}}",
    "LimitRange": "{min: {cpu: 1m}, max: {cpu: '4'}}",
    "Role": "{rules: [{verbs: [get], resources: [workloads]}]}",
    "RoleBinding": "{role: reader, subjects: [{kind: user, name: ann}]}",
    "CustomKind": "{kind: Backup, plural: backups}",
    "MutatingWebhook": "{url: 'https://a.example/x', rules: [{kinds: [ConfigMap]}]}",
    "ValidatingWebhook": "{url: 'https://a.example/x', rules: [{kinds: [ConfigMap]}]}",
}


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_right_passes_and_is_counted(kind: str) -> None:
    found = checked(f"kind: {kind}\nmetadata: {{name: good}}\nspec: {GOOD[kind]}\n")
    assert (found.problems, found.objects) == ([], {"0.yaml": 1})


BAD = {
    "kind: ConfigMpa\nmetadata: {name: a}": "0.yaml:1:7: kind: unknown kind 'ConfigMpa'; did you mean 'ConfigMap'?",
    "kind: 7\nmetadata: {name: a}": "0.yaml:1:7: kind: the name of a kind is wanted",
    "kind: ConfigMap\nmetadata: {}": "0.yaml:2:11: metadata.name: a name is wanted",
    "kind: ConfigMap\nmetadata: {name: A}": "0.yaml:2:18: metadata.name: 'A' is no name",
    "kind: Node\nmetadata: {name: a}": "0.yaml:1:7: kind: nodes are written by nobody",
    "kind: Role\nmetadata: {name: a, namespace: b}": "0.yaml:2:32: metadata.namespace: 'b' is not ''",
    "kind: ConfigMap\nmetadata: {name: a}\nspec:\n  dta: {}": "0.yaml:4:3: spec: unknown key 'dta'; did you mean",
    "kind: Secret\nmetadata: {name: a}\nspec:\n  data: {t: 7}": "0.yaml:4:13: spec.data[t]: is not what a secret has",
    "kind: PriorityClass\nmetadata: {name: a}\nspec: {value: x}": "0.yaml:3:15: spec.value: ",
    "kind: PriorityClass\nmetadata: {name: batch}\nspec: {value: 1}": "0.yaml:2:18: metadata.name: 'batch' is one of",
    "kind: ResourceQuota\nmetadata: {name: a}\nspec: {hard: {cpu: lots}}": "0.yaml:3:",
    "kind: LimitRange\nmetadata: {name: a}\nspec: {min: {cpu: 3}, max: {cpu: 2}}": "0.yaml:3:",
    "kind: Namespace\nmetadata: {name: a}\nspec: {images: {allow: ['']}}": "0.yaml:3:",
    "kind: Role\nmetadata: {name: a}\nspec: {rules: [{verbs: [get]}]}": "0.yaml:3:16: spec.rules[0]: 'resources'",
    "kind: Role\nmetadata: {name: admin}\nspec: {}": "0.yaml:2:18: metadata.name: a standard role has that name",
    "kind: RoleBinding\nmetadata: {name: a}\nspec:\n  role: r\n  subjects: [{kind: cat, name: b}]": "0.yaml:5:21: ",
    "kind: CustomKind\nmetadata: {name: a}\nspec: {kind: Role, plural: rolls}": "0.yaml:3:7: spec: there is a kind",
    "kind: ValidatingWebhook\nmetadata: {name: a}\nspec:\n  url: https://a\n  rules: []\n  timeout: 9h": "0.yaml:6:12",
    "items:\n- kind: ConfigMap\n  metadata: {name: a}\n  spec: {data: 7}": "0.yaml:4:16: items[0].spec.data: ",
    "items: [{kind: ConfigMap, metadata: {name: a}}, {kind: ConfigMap, metadata: {name: a}}]": "0.yaml:1:84: items[1]",
    "kind: Workload\nmetadata: {name: a}\nspec:\n  containers: [{name: m, command: [r]}]\n  knd: x": "0.yaml:5:3: ",
    "- 7": "0.yaml:1:1: an object or a manifest is wanted",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_wrong_is_told_with_its_place(text: str) -> None:
    found = told(text)
    assert found
    assert found[0].startswith(BAD[text])


def test_objects_of_a_kind_are_checked_by_its_schema_wherever_it_is_defined() -> None:
    first = "kind: Backup\nmetadata: {name: a}\nspec:\n  every: day\n"
    objects = first + "---\n" + first.replace("name: a", "name: b").replace("every", "evry")
    assert [problem.partition(" spec")[0] for problem in told(objects, KIND)] == ["0.yaml:9:3:"]
    assert told(objects.replace("evry", "every"), KIND) == []
    assert [problem.partition(";")[0] for problem in told(objects)] == [
        "0.yaml:1:7: kind: unknown kind 'Backup'",
        "0.yaml:6:7: kind: unknown kind 'Backup'",
    ]


def test_a_kind_with_a_wrong_schema_is_told_and_its_objects_are_not() -> None:
    (found,) = told(KIND.replace("type: string", "type: strong"), "kind: Backup\nmetadata: {name: a}\nspec: {x: 1}\n")
    assert found.startswith("0.yaml:6:")


def test_workloads_may_come_after_those_of_other_documents() -> None:
    main = "containers: [{name: main, command: [run]}]"
    one = f"kind: Workload\nmetadata: {{name: one}}\nspec: {{kind: batch, {main}}}\n"
    two = f"workloads:\n  two: {{kind: batch, {main}, after: {{one: succeeded}}}}\n"
    found = checked(one, two)
    assert (found.problems, found.workloads) == ([], {"0.yaml": 1, "1.yaml": 1})
    (problem,) = told(two + "---\n" + KIND)
    assert problem.startswith("0.yaml:2:")


@pytest.mark.parametrize("after", ["{on: succeeded}", "[on, one]"])
def test_who_comes_after_a_workload_that_is_not_there_is_told_which_there_are(after: str) -> None:
    main = "containers: [{name: main, command: [run]}]"
    one = f"kind: Workload\nmetadata: {{name: one}}\nspec: {{kind: batch, {main}}}\n"
    two = f"kind: Workload\nmetadata: {{name: two}}\nspec: {{kind: batch, after: {after}, {main}}}\n"
    (problem,) = told(one, two)
    assert problem.startswith("1.yaml:3:")
    assert problem.endswith("unknown workload 'on'; did you mean 'one'?")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["kind: Workload\nmetadata: {name: %s}\nspec: %s\n", "workloads: {%s: %s}\n"])
def test_four_times_as_many_workloads_take_about_four_times_as_long(form: str) -> None:
    """Each looks at those that it names, and not at all others."""

    def seconds(count: int) -> float:
        body = "{kind: batch, after: [w0], containers: [{name: main, command: [run]}]}"
        texts = [form % ("w0", body.replace("after: [w0], ", "")), *(form % (f"w{n}", body) for n in range(1, count))]
        documents = placed_documents("---\n".join(texts), file="0.yaml")
        begun = process_time()
        assert check_documents(documents).workloads == {"0.yaml": count}
        return process_time() - begun

    seconds(10)  # imports
    assert seconds(4000) < 8 * seconds(1000)


def test_priority_classes_are_those_of_the_documents_and_others_are_remarked() -> None:
    workload = (
        "kind: Workload\nmetadata: {name: a}\nspec: {priority_class: gold, containers: [{name: m, command: [r]}]}\n"
    )
    assert [*checked(workload).remarks["0.yaml"]] == [
        "priority class gold of a is none of the standard ones: whoever runs it has to know it"
    ]
    assert checked(workload, "{kind: PriorityClass, metadata: {name: gold}, spec: {value: 7}}").remarks == {}


def test_resources_that_only_some_node_may_have_are_remarked() -> None:
    quota = "kind: ResourceQuota\nmetadata: {name: a}\nspec: {hard: {cpu: 1, memroy: 1, example.org/seats: 2}}\n"
    assert [*checked(quota).remarks["0.yaml"]] == [
        "resource memroy of a is none that all nodes have: a server has to know it"
    ]


def test_what_is_there_twice_is_told_with_both_places() -> None:
    text = "kind: ConfigMap\nmetadata: {name: a}\n"
    assert told(text, text) == ["1.yaml:2:18: metadata.name: ConfigMap 'a' is there twice; first in 0.yaml:1"]
    assert told(text, text.replace("a}", "a, namespace: b}")) == []


@pytest.mark.parametrize("bad", ["metadata: {name: A}", "metadata: {name: a}\nstatus: {}\nfoo: 1"])
def test_what_is_wrong_with_a_custom_kind_is_told_once(bad: str) -> None:
    found = told(f"kind: CustomKind\n{bad}\nspec: {{kind: Backup, plural: backups}}\n")
    assert len(found) == len(set(found)) >= 1


def test_kinds_beside_are_known_and_what_is_wrong_with_them_is_not_told() -> None:
    backup = "kind: Backup\nmetadata: {name: a}\nspec: {every: 7}\n"
    documents = placed_documents(backup, file="a.yaml")
    beside = placed_documents(f"{KIND}---\n{KIND}---\nkind: CustomKind\nspec: 7\n", file="b.yaml")
    (problem,) = check_documents(documents, beside=beside).problems
    assert str(problem).startswith("a.yaml:3:15: spec.every")
