"""What will be placed where once what stops has ended."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from orchestrion.mocks import mock_nodes
from orchestrion.orchestrator_core._cluster.pushing import Outlook
from orchestrion.scheduler_interface import KeptView, PlacedInstance, ViewKeeper
from orchestrion.shared_types import HIGHEST_PRIORITY, InstanceKey, NodeId, Resources, Uid

NODES = mock_nodes(3)

CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["put", "remove", "stop", "late", "leave", "join"]), st.integers(0, 2), st.integers(0, 5)
    ),
    max_size=30,
)


def _key(slot: int) -> InstanceKey:
    return InstanceKey(Uid("w"), slot, 1)


def _placed(slot: int) -> PlacedInstance:
    demand = Resources(cpu_millicores=100 + slot)
    return PlacedInstance(key=_key(slot), namespace="default", workload="w", demand=demand)


def _shown(view: KeptView) -> dict[NodeId, tuple[int, dict[InstanceKey, int]]]:
    return {
        each.node.id: (
            each.reserved.cpu_millicores,
            {key: placed.priority for key, placed in each.instances.items()},
        )
        for each in view
    }


@given(CHANGES)
def test_it_is_the_same_whether_it_is_kept_up_to_date_or_made_anew(changes: list[tuple[str, int, int]]) -> None:
    keeper, kept = ViewKeeper(), Outlook()
    for node in NODES:
        keeper.set_node(node)
    where = dict[int, int]()
    stopping = dict[int, bool]()
    for change, place, slot in changes:
        match change:
            case "put":
                keeper.put(NODES[place].id, _placed(slot))
                where[slot] = place
                stopping.pop(slot, None)
            case "remove":
                keeper.remove(_key(slot))
                where.pop(slot, None)
                stopping.pop(slot, None)
            case "leave":
                keeper.remove_node(NODES[place].id)
            case "join":
                keeper.set_node(NODES[place])
            case _:
                if slot in where:
                    stopping[slot] = change == "late"
        there = dict[NodeId, dict[InstanceKey, bool]]()
        for each, late in stopping.items():
            there.setdefault(NODES[where[each]].id, {})[_key(each)] = late
        real = keeper.view()

        shown = _shown(kept.view(real, there))

        assert shown == _shown(Outlook().view(real, there))
        expected = {slot: at for slot, at in where.items() if stopping.get(slot) is not False}
        for node_id, (reserved, instances) in shown.items():
            held = {slot for slot, at in expected.items() if NODES[at].id == node_id}
            assert instances == {_key(slot): HIGHEST_PRIORITY if slot in stopping else 0 for slot in held}
            assert reserved == sum(100 + slot for slot in held)
