"""References to variables are replaced by one rule."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrion.shared_types import (
    ContainerConfig,
    ExecProbe,
    HealthCheck,
    HttpProbe,
    ReferenceInvalid,
    endpoints_variable,
    expand,
    expand_container,
    expand_environment,
    port_variable,
    references,
    volume_variable,
)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("", ""),
        ("plain", "plain"),
        ("${A}", "1"),
        ("x${A}y${B}z", "x1y2z"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$${A}", "$1"),
        ("$A $HOME $(x) $", "$A $HOME $(x) $"),
        ("${LOOP}", "${A}"),
    ],
)
def test_references_are_replaced_once_and_other_dollar_signs_stay(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2", "LOOP": "${A}"}) == expanded


def test_references_are_named_once_in_their_order() -> None:
    assert references("${B} $${C} ${A} ${B}") == ("B", "A")


def test_an_unknown_name_is_said_with_the_nearest() -> None:
    with pytest.raises(ReferenceInvalid, match=r"unknown variable \$\{HOEM\}; did you mean \$\{HOME\}\?") as caught:
        expand("${HOEM}", {"HOME": "/"})

    assert caught.value.name == "HOEM"


@pytest.mark.parametrize("text", ["${", "${}", "${A", "${A:-b}", "${1}", "${a b}", "${Ä}"])
def test_what_is_no_reference_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(ReferenceInvalid, match=r"write \$\$\{") as caught:
        references(text)

    assert caught.value.name == ""
    with pytest.raises(ReferenceInvalid):
        expand(text, {"A": "1"})


@given(st.text(st.sampled_from("$${}AB x"), max_size=12))
def test_a_text_expands_if_and_only_if_its_references_are_known(text: str) -> None:
    try:
        names = references(text)
    except ReferenceInvalid:
        names = None

    try:
        expand(text, {"A": "", "AB": "", "B": ""})
    except ReferenceInvalid:
        assert names is None or not set(names) <= {"A", "AB", "B"}
    else:
        assert names is not None
        assert set(names) <= {"A", "AB", "B"}


@given(st.text(max_size=12))
def test_doubled_dollar_signs_keep_any_text(text: str) -> None:
    assert expand(text.replace("$", "$$"), {}) == text


def test_variables_may_refer_to_those_above_and_to_what_is_given() -> None:
    variables = {"PATH": "/opt:${PATH}", "A": "${PATH}"}

    assert expand_environment(variables, {"PATH": "/bin"}) == {"PATH": "/opt:/bin", "A": "/opt:/bin"}
    with pytest.raises(ReferenceInvalid):
        expand_environment({"A": "${B}", "B": "1"}, {})


def test_all_of_a_container_that_can_refer_is_expanded() -> None:
    config = ContainerConfig(
        name="a",
        command=("run", "${PORT_HTTP}"),
        args=("${MODE}", "$$"),
        env_vars={"MODE": "m${ORCHESTRION_INDEX}"},
        health=HealthCheck(probe=HttpProbe(port="http", path="/${MODE}")),
    )
    given_variables = {"PORT_HTTP": "80", "ORCHESTRION_INDEX": "3"}

    expanded = expand_container(config, given_variables)

    assert expanded.command == ("run", "80")
    assert expanded.args == ("m3", "$")
    assert expanded.env_vars == {"MODE": "m3"}
    assert expanded.health == HealthCheck(probe=HttpProbe(port="http", path="/m3"))

    checked = attrs.evolve(config, health=HealthCheck(probe=ExecProbe(command=("check", "${MODE}"))))
    assert expand_container(checked, given_variables).health == HealthCheck(probe=ExecProbe(command=("check", "m3")))


def test_a_health_path_that_becomes_no_path_is_refused() -> None:
    config = ContainerConfig(name="a", health=HealthCheck(probe=HttpProbe(port="http", path="/${A}")))

    with pytest.raises(ReferenceInvalid, match="becomes '/x y'"):
        expand_container(config, {"A": "x y"})


def test_variables_have_the_names_of_their_objects_in_capitals() -> None:
    assert port_variable("http-admin") == "PORT_HTTP_ADMIN"
    assert volume_variable("counts") == "VOLUME_COUNTS"
    assert endpoints_variable("my-web", "http") == "ORCHESTRION_ENDPOINTS_MY_WEB_HTTP"
