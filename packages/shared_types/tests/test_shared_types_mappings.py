"""Mappings within values can't be changed, and cost nothing where they stay the same."""

from __future__ import annotations

from attrs import evolve
from immutabledict import immutabledict
from orchestrion.shared_types import Binding, ContainerConfig, NodeId, Resources


def test_a_value_made_from_another_shares_its_mappings() -> None:
    config = ContainerConfig(name="main", env_vars={"A": "1"})

    assert evolve(config, image="other").env_vars is config.env_vars


def test_empty_mappings_are_one_and_the_same() -> None:
    first, second = Binding(node_id=NodeId("a"), generation=1), Binding(node_id=NodeId("b"), generation=2, devices={})

    assert first.devices is second.devices


def test_a_mapping_that_can_change_is_copied() -> None:
    variables = {"A": "1"}
    config = ContainerConfig(name="main", env_vars=variables)
    variables["A"] = "2"

    assert config.env_vars == {"A": "1"}
    assert type(config.env_vars) is immutabledict


def test_amounts_of_zero_are_dropped_from_immutable_mappings_too() -> None:
    assert Resources(extended=immutabledict({"fpga": 0, "tpu": 2})).extended == {"tpu": 2}
    assert Resources(extended=immutabledict({"fpga": 0})) == Resources()
