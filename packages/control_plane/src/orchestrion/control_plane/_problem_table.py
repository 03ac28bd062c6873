"""What the codes of problem documents mean, and what to do: the one table that their pages are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

PROBLEMS_PATH: Final = "/problems"
"""Where a server explains its codes; a reference that is resolved against the server that gave it."""


class Meaning(NamedTuple):
    """What a code means.

    Attributes:
        means: What has happened, in whole sentences.
        do: What to do next.
    """

    means: str
    do: str


_AGAIN: Final = "Try again in a while. If it stays so, look at /healthz and at the log of the server."
_READ_AGAIN: Final = "Read it again, decide by what it is now, and send the change with that revision."
_MEND: Final = "Mend what `detail` names, with its place, and send it again."
_OPERATOR: Final = "Whoever runs the server has to look: the log has more under the `trace_id` of the answer."

MEANINGS: Final[Mapping[str, Meaning]] = {
    "closed": Meaning("The server is ending.", "Ask again once it is back."),
    "cluster-closed": Meaning("The cluster manager is ending, as its server is.", "Ask again once it is back."),
    "cluster-failure": Meaning("The cluster manager could not do what it was asked.", _AGAIN),
    "cluster-not-initialized": Meaning("The cluster manager has not begun its work.", _AGAIN),
    "cluster-unavailable": Meaning("The cluster manager can't be asked now. Nothing is lost by asking again.", _AGAIN),
    "compacted": Meaning(
        "What is asked for lies further back than the server remembers.",
        "List anew, and follow from the `revision` of that list.",
    ),
    "config-invalid": Meaning("What was sent can't be accepted. Nothing was changed.", _MEND),
    "config-missing": Meaning(
        "A container reads a ConfigMap or a Secret that is not there. It starts once it is.",
        "Make what `detail` names, or have the workload read something else.",
    ),
    "conflict": Meaning(
        "There is one of that name already, others say otherwise, or it is being removed. Nothing was changed.",
        _READ_AGAIN,
    ),
    "container-not-found": Meaning(
        "There is no such container.", "Look at the `status` of the instance for its names."
    ),
    "denied": Meaning(
        "It is known who asks, and they may not do that. Nothing was changed.",
        "Ask somebody who may, or have a role given that allows what `detail` names; `GET /api/v1/rights` has yours.",
    ),
    "error": Meaning("Something went wrong that has no code of its own.", _OPERATOR),
    "instance-not-found": Meaning("There is no such instance, or it is no longer remembered.", "List the instances."),
    "internal": Meaning("This is a fault of the server or of a plug-in of it, and not of the request.", _OPERATOR),
    "leadership-lost": Meaning("Another server has taken over the cluster meanwhile.", "Ask again."),
    "network-failure": Meaning("Somebody whom the server asks for it could not be reached.", _AGAIN),
    "no-port-free": Meaning(
        "All ports that the node may give to containers are in use.",
        "Stop something there, or have whoever runs the node widen its range of ports.",
    ),
    "node-file-invalid": Meaning("The file of a node is damaged, or a newer version wrote it.", _OPERATOR),
    "node-not-found": Meaning("There is no node of that id.", "List the nodes."),
    "not-found": Meaning(
        "There is no such object, kind or path, or nothing of the kind is written by anybody.",
        "Check the name and the namespace; `GET /api/v1` has the kinds that there are.",
    ),
    "not-proved": Meaning("What was shown does not prove who asks. Nothing was changed.", "Log in again."),
    "precondition-failed": Meaning(
        "It is not what the request takes it for: it was changed, or is another one. Nothing was changed.", _READ_AGAIN
    ),
    "quota-exceeded": Meaning(
        "There would be more of something than the namespace may have. Nothing was changed.",
        "Ask for less, remove something, or have the ResourceQuota raised.",
    ),
    "reference-invalid": Meaning("A text refers to a variable that does not exist, or refers to it wrongly.", _MEND),
    "runtime-closed": Meaning("The runtime of the node is ending.", _AGAIN),
    "runtime-command-not-executable": Meaning(
        "The program of a command is there, and can't be executed.", "Check its permissions in the container."
    ),
    "runtime-command-not-found": Meaning(
        "The program of a command is not there in the container.", "Check its name and the container's PATH."
    ),
    "runtime-config-unsupported": Meaning(
        "The runtime of the node can never run such a container.",
        "Leave out what `detail` names, or place it elsewhere.",
    ),
    "runtime-conflict": Meaning("The runtime has such a container already, made otherwise.", _OPERATOR),
    "runtime-failure": Meaning("The runtime of the node could not do what it was asked.", _AGAIN),
    "runtime-port-taken": Meaning(
        "A port of the node is in use by somebody else.", "Choose another port, or leave the choice to the node."
    ),
    "runtime-stale": Meaning("The runtime knows of a newer attempt of the same container.", "Look at what runs now."),
    "runtime-start-failed": Meaning(
        "A container could not be started: a program, a user or a folder is not there.", "Mend what `detail` names."
    ),
    "runtime-unavailable": Meaning("The runtime of the node can't answer now.", _AGAIN),
    "scheduling-failure": Meaning("The scheduler could not decide.", _AGAIN),
    "scheduling-invalid-request": Meaning("The scheduler was asked what it can't be asked.", _OPERATOR),
    "scheduling-unavailable": Meaning("The scheduler can't be asked now. Nothing was decided.", _AGAIN),
    "seal-broken": Meaning(
        "A secret can't be opened: it was changed in the store, or the key of the server is another one.", _OPERATOR
    ),
    "stale": Meaning("Something newer is known than what was sent.", "Do not repeat it. Look at what there is now."),
    "state-closed": Meaning("The store is ending, as its server is.", "Ask again once it is back."),
    "state-compacted": Meaning(
        "What is asked for lies further back than the store remembers.",
        "List anew, and follow from the `revision` of that list.",
    ),
    "state-conflict": Meaning("Others have changed the same meanwhile. Nothing was changed.", _READ_AGAIN),
    "state-corrupt": Meaning("What is stored can't be trusted, or a newer version wrote it.", _OPERATOR),
    "state-failure": Meaning("The store, or the audit log, could not do what it was asked.", _OPERATOR),
    "state-full": Meaning("There is no room for what is to be stored. Nothing was changed.", _OPERATOR),
    "state-future-revision": Meaning(
        "The revision that is asked for has not happened in this store.",
        "List anew, and follow from the `revision` of that list.",
    ),
    "state-in-use": Meaning("Another program has the store open.", "Speak to that program, or stop it."),
    "state-invalid-request": Meaning("The store was asked what it can't be asked.", _MEND),
    "state-lease-not-found": Meaning("What was held for a time is held no longer.", "Begin anew."),
    "state-unavailable": Meaning(
        "The store can't answer now. A change may have been written, or not.",
        "Read what there is before sending a change again; an Idempotency-Key makes repeating safe.",
    ),
    "too-many-requests": Meaning(
        "Who asks asks too often, or too much at once.",
        "Wait as long as `Retry-After` says. The headers RateLimit and RateLimit-Policy tell what is left.",
    ),
    "unauthenticated": Meaning(
        "It is not known who asks: nothing was shown that proves it, or it has expired.", "Log in again."
    ),
    "unavailable": Meaning("Not now.", _AGAIN),
    "unschedulable": Meaning(
        "No node could ever run what is asked for, as the cluster is. Nothing was changed.",
        "Ask for less, or add what `detail` names; `explain` has the smallest change that would place it.",
    ),
    "unsupported": Meaning("This server can't do that, now or later.", "Do without, or ask another one."),
    "workload-not-found": Meaning(
        "There is no such workload.", "Check the name and the namespace; list the workloads."
    ),
}
"""By code. What a plug-in adds has none of its own: it is explained by the nearest of its bases that has."""


def type_of(codes: Iterable[str], /) -> str:
    """Return the reference by which a problem's type is known and explained (RFC 9457, section 3.1.1).

    Args:
        codes: The problem's code, and those of its bases, nearest first.
    """
    code = next((each for each in codes if each in MEANINGS), "error")
    return f"{PROBLEMS_PATH}/{code}"
