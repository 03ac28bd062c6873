"""`-o jsonpath=...`: a small, exact part of JSONPath, and clear words about the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.cli import run
from orchestrion.cli._jsonpath import template
from orchestrion.cli._options import Expression
from orchestrion.cli._output import line_for
from orchestrion.shared_types import ConfigInvalid

WEB = {
    "metadata": {"name": "web", "labels": {"app.example/tier": "front", "team": "a"}},
    "spec": {"replicas": 3, "paused": False, "cost": 0.5, "ports": [{"name": "http", "port": 80}, {"name": "https"}]},
    "status": {"node": None},
}
DB = {"metadata": {"name": "db"}, "spec": {"replicas": 1, "ports": []}}


@pytest.mark.parametrize(
    ("text", "value", "wanted"),
    [
        ("{.metadata.name}", WEB, "web"),
        ("{$.metadata.name}{@.spec.replicas}", WEB, "web3"),
        ("{ .metadata.name }", WEB, "web"),
        ("name: {.metadata.name}, {'{'}{.spec.replicas}{\"}\\n\"}", WEB, "name: web, {3}\n"),
        ("{.spec.ports[0].name} {.spec.ports[-1].name}", WEB, "http https"),
        ("{.spec.ports[*].name}", WEB, "http https"),
        ("{.spec.ports[2].name}{.nothing.at.all}{.metadata[0]}{.spec.replicas.x}", WEB, ""),
        ("{.metadata.labels['app.example/tier']}{.metadata['name']}", WEB, "frontweb"),
        ("{.metadata.labels.*}", WEB, "front a"),
        (
            "{.spec.paused} {.spec.cost} {.status.node} {.spec.ports[0]}",
            WEB,
            'false 0.5 null {"name":"http","port":80}',
        ),
        ('{.spec.ports[?(@.name=="https")].name}', WEB, "https"),
        ("{.spec.ports[?(@.port)].name}", WEB, "http"),
        ("{.spec.ports[?(@.port >= 80)].name}|{.spec.ports[?(@.port < 80.5)].name}", WEB, "http|http"),
        ("{.spec.ports[?(@.name != 'http')].name}", WEB, "https"),
        ("{.spec.ports[?(@.name > 80)]}", WEB, ""),
        (f"{{.spec.ports[?(@.port < {'9' * 1000})].name}}", WEB, "http"),
        ("{[?(@.spec.replicas==1)].metadata.name}", [WEB, DB], "db"),
        ("{[*].metadata.name}", [WEB, DB], "web db"),
        ("{.items[*].metadata.name}", [WEB, DB], "web db"),
        ("{range [*]}{.metadata.name}:{range .spec.ports[*]} {.name}{end};{end}", [WEB, DB], "web: http https;db:;"),
        ("{range [*]}{.metadata.name}/{$[0].metadata.name} {end}", [WEB, DB], "web/web db/web "),
        ("{@}{$}{.}", 7, "777"),
        ("{}", None, None),
        ("{.spec.on==true}", None, None),
    ],
)
def test_a_template_finds_what_its_paths_say(text: str, value: Any, wanted: str | None) -> None:
    if wanted is None:
        with pytest.raises(ConfigInvalid):
            template(text)
    else:
        assert template(text).text(value) == wanted


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("{.a", 4, "not closed"),
        ("a}", 2, "closed that was not opened"),
        ("{}", 2, "a path is wanted"),
        ("{a}", 2, "a path is wanted"),
        ("{..a}", 2, "`..` is not known"),
        ("{.a.[0]}", 5, "a name is wanted behind the dot"),
        ("{.a[0:2]}", 6, "slices and several"),
        ("{.a[0,1]}", 6, "slices and several"),
        ("{.a[b]}", 5, "a number, *, 'name'"),
        ("{.a[1.5]}", 5, "a number, *, 'name'"),
        ("{.a['b]}", 5, "this text has no end"),
        ("{.a[0}", 6, "the bracket is not closed"),
        ("{.a[?(@.b=~'x')]}", 10, "&&, || and =~"),
        ("{.a[?(@.b==1 && @.c)]}", 14, "&&, || and =~"),
        ("{.a[?(b==1)]}", 7, "@..., a 'text'"),
        ("{.a[?(@.b=1)]}", 10, "or the end of the filter"),
        ("{range .a}x", 1, "has no {end}"),
        ("x{end}", 2, "no range that ends here"),
        ("{.a b}", 5, "the brace is not closed here"),
        ("{range .a}" * 21, 201, "nested more than 20"),
        (f"{{.a[?(@.b=={'9' * 5000})]}}", 12, "a number has at most 1000 digits"),
    ],
)
def test_what_is_not_known_is_told_with_its_place(text: str, place: int, words: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        template(text)
    assert words in refused.value.message
    assert f"(character {place}, " in refused.value.message


@given(st.text(alphabet="{}[].$@*?()'\"=<a0 \\renged-,:", max_size=40), st.sampled_from([WEB, [WEB, DB], 7, None]))
def test_every_text_is_a_template_or_refused(text: str, value: Any) -> None:
    try:
        found = template(text)
    except ConfigInvalid:
        return
    assert isinstance(found.text(value), str)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab'\\\n.", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab'\\\n.", max_size=4), inner, max_size=3),
)


def _leaves(value: Any, path: str = "$") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        quoted = {key: "".join(f"\\{one}" if one in "'\\" else one for one in key) for key in value}
        return [leaf for key, item in value.items() for leaf in _leaves(item, f"{path}['{quoted[key]}']")]
    if isinstance(value, list):
        return [leaf for place, item in enumerate(value) for leaf in _leaves(item, f"{path}[{place}]")]
    return [(path, value)]


@given(_JSON)
def test_each_value_is_found_by_its_own_path(value: Any) -> None:
    for path, leaf in _leaves(value):
        assert template(f"{{{path}}}").text(value) == (leaf if isinstance(leaf, str) else json.dumps(leaf))


def test_a_command_writes_what_a_template_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version", "-o", 'jsonpath={[?(@.name=="orchestrion")].name}']) == 0
    assert capsys.readouterr().out == "orchestrion\n"
    assert run(["version", "-o", 'jsonpath={range [0]}{.name}{"\\n"}{end}']) == 0
    assert capsys.readouterr().out == "orchestrion\n"


@pytest.mark.parametrize(("form", "words"), [("jsonpath={.a", "not closed"), ("xml", "'xml' is none of table,")])
def test_a_form_that_is_none_is_refused_before_anything_is_done(
    form: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["status", "-o", form, "-s", "nowhere"]) == 2
    told = capsys.readouterr()
    assert (told.out, words in told.err) == ("", True)


def test_what_comes_one_by_one_is_a_line_each() -> None:
    form = Expression('jsonpath={.type}: {.object.metadata.name}{"\\n"}')
    assert line_for({"type": "ADDED", "object": WEB}, form) == "ADDED: web"


@pytest.mark.slow
def test_templates_are_not_imported_where_none_is_used() -> None:
    probe = (
        "import sys; from orchestrion.cli import run; run(['version', '-o', 'json']);"
        "print('orchestrion.cli._jsonpath' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
