"""`retry`: what waits after a failure is tried again at once."""

from __future__ import annotations

from orchestrion.orchestrator_core import parse_subject

from ._objects import reach_objects
from ._output import Form, is_for_people, note, show
from ._places import place_of
from ._running import run_async
from ._where import Where


def run_retry(name: str, where: Where, form: Form) -> int:
    """End the back-off of a workload or of one instance, and print the names of the instances that waited."""
    place = place_of(where)

    async def retry() -> list[str]:
        async with reach_objects(where, place) as objects:
            subject = parse_subject(name)
            path = objects.path(await objects.kind("workload"), subject.workload)
            body = {} if subject.index is None else {"instance": name}
            data = (await objects.api.ask("POST", f"{path}/retry", body)).data
            return [str(each) for each in data["instances"]]

    done = run_async(retry)
    if is_for_people(form):
        note(f"{name}: tried again now: {', '.join(done)}" if done else f"{name}: nothing waits for another try")
        return 0
    show(done, form, table=list, name=str)
    return 0
