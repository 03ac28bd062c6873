"""What a request must be."""

from __future__ import annotations

from collections import Counter

from orchestrion.shared_types import Resources

from ._errors import InvalidSchedulingRequest
from ._types import SchedulingRequest, demand_of


def check_request(request: SchedulingRequest, /) -> Resources:
    """Return what each slot reserves, if the request is one that the interface allows.

    Raises:
        InvalidSchedulingRequest: No slots, a slot twice, slots of another workload, a demand above `MAX_AMOUNT`, or a
            minimum that is negative or above the number of slots.
    """
    try:
        demand = demand_of(request.workload)
    except ValueError as err:
        msg = f"the containers of workload {request.workload.metadata.name!r} ask for more in all than can be counted"
        raise InvalidSchedulingRequest(msg, remedy="Lower the containers' resource requests.") from err
    metadata, slots = request.workload.metadata, request.slots
    name, uid = metadata.name, metadata.uid
    if len(slots) == 1 and slots[0].workload_id == uid and 0 <= request.minimum <= 1:
        return demand
    if not slots:
        msg = f"a request for workload {name!r} without slots"
        raise InvalidSchedulingRequest(msg, remedy="Ask for one slot or more.")
    strangers = [slot for slot in request.slots if slot.workload_id != uid]
    if strangers:
        msg = f"slot {strangers[0]} does not belong to workload {name!r}, whose uid is {uid!r}"
        raise InvalidSchedulingRequest(msg, remedy="Ask for the slots of each workload apart.")
    if len(set(request.slots)) != len(request.slots):
        twice = next(slot for slot, count in Counter(request.slots).items() if count > 1)
        msg = f"slot {twice} of workload {name!r} is asked for twice"
        raise InvalidSchedulingRequest(msg, remedy="Ask for each slot once.")
    if not 0 <= request.minimum <= len(request.slots):
        msg = f"{request.minimum} of the {len(request.slots)} slots of workload {name!r} are to be placed together"
        raise InvalidSchedulingRequest(msg, remedy="Ask for a minimum from 0 to the number of slots.")
    return demand
