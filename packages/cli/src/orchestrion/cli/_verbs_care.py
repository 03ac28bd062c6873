"""The commands about updates, nodes and the inside of instances as they are typed. See `_verbs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from ._arguments import Argument
from ._options import (
    AnyNamespace,
    Container,
    Context,
    DryRun,
    Namespace,
    OutputForm,
    State,
    Subject,
    Wait,
    WorkloadName,
    Yes,
)
from ._where import Where

Timeout = Annotated[str | None, Argument(("--timeout",), "How long to wait at most: 90s, 10m; then it ends with 8.")]
Nodes = Annotated[tuple[str, ...], Argument(("NODE",), "Nodes, by name, id, or the beginning of an id.")]
OneNode = Annotated[str, Argument(("NODE",), "A node, by name, id, or the beginning of an id.")]
InstanceName = Annotated[str, Argument(("INSTANCE",), "An instance, or a workload of which one runs.", is_subject=True)]


def wait(
    kind: Annotated[str, Argument(("KIND",), "A kind, such as workload.")],
    name: Annotated[str, Argument(("OBJECT",), "The object's name.")],
    /,
    *,
    for_: Annotated[str, Argument(("--for",), "done (Healthy or Succeeded), exists, deleted, or PATH=VALUE.")] = "done",
    timeout: Timeout = None,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    output: OutputForm = "table",
) -> int:
    """Wait until something holds of an object.

    It ends with 1 where that can't come about any longer by itself, and with 7 where a workload has no place for 10 s.

    Example: orchestrion wait workload web --for status.available=3 --timeout 5m
    """
    from ._wait import run_wait

    return run_wait(kind, name, for_, timeout, Where(state, context, namespace), output)


def rollout_status(
    name: WorkloadName,
    /,
    *,
    timeout: Timeout = None,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    output: OutputForm = "table",
) -> int:
    """Follow an update to its end: 0 where it is rolled out, 1 where it failed or was rolled back.

    It ends with 7 where there is no place for its instances, for 10 s in which nothing else goes on.
    """
    from ._rollout_follow import run_rollout_status

    return run_rollout_status(name, timeout, Where(state, context, namespace), output)


def rollout_history(
    name: WorkloadName,
    /,
    *,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    output: OutputForm = "table",
) -> int:
    """Show what a workload ran before, generation by generation, as far as that is remembered."""
    from ._rollout import run_rollout_history

    return run_rollout_history(name, Where(state, context, namespace), output)


def rollout_pause(
    name: WorkloadName,
    /,
    *,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    output: OutputForm = "table",
) -> int:
    """Hold up the updates of a workload, the one that is going on and those to come.

    Nothing new starts and nothing old is stopped; what fails is replaced by what there was before the update.

    Example: orchestrion rollout pause web
    """
    from ._rollout import run_rollout_pause

    return run_rollout_pause(name, Where(state, context, namespace), output, paused=True)


def rollout_resume(
    name: WorkloadName,
    /,
    *,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    output: OutputForm = "table",
) -> int:
    """Let the updates of a workload go on that were paused."""
    from ._rollout import run_rollout_pause

    return run_rollout_pause(name, Where(state, context, namespace), output, paused=False)


def rollout_promote(
    name: WorkloadName,
    /,
    *,
    dry_run: DryRun = False,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    output: OutputForm = "table",
) -> int:
    """Let an update go on that has a canary: the instances that it has left out until now are replaced as well.

    It ends once that is on record: 0, or 4 where no update of the workload has a canary. An update whose updates are
    paused goes on once they are resumed.

    Example: orchestrion rollout promote web
    """
    from ._rollout import run_rollout_promote

    return run_rollout_promote(name, Where(state, context, namespace), output, dry_run=dry_run)


def rollout_undo(
    name: WorkloadName,
    /,
    *,
    to: Annotated[int | None, Argument(("--to",), "Which generation; unless given, the one before.")] = None,
    dry_run: DryRun = False,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    output: OutputForm = "table",
) -> int:
    """Go back to what a workload ran before; how many instances there are stays as it is."""
    from ._rollout import run_rollout_undo

    return run_rollout_undo(name, to, Where(state, context, namespace), output, dry_run=dry_run)


def rollout_restart(
    name: WorkloadName,
    /,
    *,
    dry_run: DryRun = False,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    output: OutputForm = "table",
) -> int:
    """Replace all instances of a workload by new ones that run the same, step by step as an update does.

    It ends once that is on record: 0, or 4 where the workload is stopped, its updates are paused, or the last one was
    rolled back. `rollout status` follows it, and `rollout history` shows it.

    Example: orchestrion rollout restart web
    """
    from ._rollout import run_rollout_restart

    return run_rollout_restart(name, Where(state, context, namespace), output, dry_run=dry_run)


def node_ls(*, state: State = None, context: Context = None, output: OutputForm = "table") -> int:
    """Show nodes: their state, their instances, and what is promised of what they have."""
    from ._nodes import run_node_ls

    return run_node_ls(Where(state, context), output)


def top(
    topic: Annotated[Literal["nodes", "instances"], Argument(("TOPIC",), "Whose.")] = "nodes",
    /,
    *,
    once: Annotated[bool, Argument(("--once",), "Show it once, at a terminal as well.")] = False,
    state: State = None,
    context: Context = None,
    namespace: AnyNamespace = None,
    output: OutputForm = "table",
) -> int:
    """Show what nodes or instances are promised, beside what they really use of processors and memory.

    At a terminal it is drawn anew every two seconds, until Ctrl-C; elsewhere, and in the forms for programs, it is
    shown once, after half a second of looking. "?" is what can't be told, as of nodes that are run from elsewhere.

    Examples: orchestrion top; orchestrion top instances -n prod --once
    """
    from ._top import run_top

    return run_top(topic, Where(state, context, namespace), output, once=once)


def node_cordon(
    names: Nodes,
    /,
    *,
    dry_run: DryRun = False,
    state: State = None,
    context: Context = None,
    output: OutputForm = "table",
) -> int:
    """Keep new work off nodes; what runs there stays."""
    from ._nodes import run_node_cordon

    return run_node_cordon(names, Where(state, context), output, let=False, dry_run=dry_run)


def node_uncordon(
    names: Nodes,
    /,
    *,
    dry_run: DryRun = False,
    state: State = None,
    context: Context = None,
    output: OutputForm = "table",
) -> int:
    """Let work on nodes again, and end a drain."""
    from ._nodes import run_node_cordon

    return run_node_cordon(names, Where(state, context), output, let=True, dry_run=dry_run)


def node_drain(
    name: OneNode,
    /,
    *,
    reason: Annotated[str, Argument(("--reason",), "Why; others are told.")],
    deadline: Annotated[
        str | None, Argument(("--deadline",), "After how long instances are stopped without waiting: 10m, 1h.")
    ] = None,
    dry_run: DryRun = False,
    wait: Wait = True,
    timeout: Timeout = None,
    state: State = None,
    context: Context = None,
    output: OutputForm = "table",
) -> int:
    """Move everything off a node, and tell what is left there, why, and since when.

    Example: orchestrion node drain alpha --reason "new disks" --deadline 30m
    """
    from ._drain import run_node_drain

    where = Where(state, context)
    return run_node_drain(name, reason, deadline, timeout, where, output, wait=wait, dry_run=dry_run)


def node_label(
    name: OneNode,
    changes: Annotated[tuple[str, ...], Argument(("LABEL",), "KEY=VALUE gives one, KEY- takes one away.")],
    /,
    *,
    dry_run: DryRun = False,
    state: State = None,
    context: Context = None,
    output: OutputForm = "table",
) -> int:
    """Give a node labels, which manifests select by, or take them away.

    They are beside those that the node itself has, and stay when it is started anew.

    Example: orchestrion node label alpha zone=north disk=fast old-
    """
    from ._node_marks import run_node_label

    return run_node_label(name, changes, Where(state, context), output, dry_run=dry_run)


def node_taint(
    name: OneNode,
    changes: Annotated[
        tuple[str, ...], Argument(("TAINT",), "KEY=VALUE:EFFECT gives one, KEY- or KEY:EFFECT- takes some away.")
    ],
    /,
    *,
    dry_run: DryRun = False,
    state: State = None,
    context: Context = None,
    output: OutputForm = "table",
) -> int:
    """Give a node taints, which keep off what does not tolerate them, or take them away.

    An EFFECT is NoSchedule, PreferNoSchedule, or NoExecute, which also ends what is there.

    Examples: orchestrion node taint alpha team=red:NoSchedule; orchestrion node taint alpha team-
    """
    from ._node_marks import run_node_taint

    return run_node_taint(name, changes, Where(state, context), output, dry_run=dry_run)


def node_rm(
    names: Nodes, /, *, yes: Yes = False, dry_run: DryRun = False, state: State = None, context: Context = None
) -> int:
    """Forget nodes, after naming them and asking: those that are gone, that nobody sees, or that are drained.

    One that is seen again is there again; one that was drained, after `node uncordon` with its id. Without a terminal
    to ask on, --yes is needed.
    """
    from ._node_marks import run_node_remove

    return run_node_remove(names, Where(state, context), yes=yes, dry_run=dry_run)


def retry(
    name: Subject,
    /,
    *,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    output: OutputForm = "table",
) -> int:
    """Try again now what waits because it failed: end the back-off of a workload or of one instance.

    It counts against no limit of restarts. Where nothing waits, nothing is done, and this ends with 0 as well.

    Examples: orchestrion retry web; orchestrion retry web.0
    """
    from ._retry import run_retry

    return run_retry(name, Where(state, context, namespace), output)


def attach(
    name: InstanceName,
    /,
    *,
    container: Container = None,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
) -> int:
    """See what the main process of an instance writes from now on, stdout on stdout and stderr on stderr, to its end.

    Main processes have no input, so nothing that is typed gets there, but for Ctrl-C, which leaves everything running
    and ends this with 130. Where the instance ends, this ends with the exit code of its main process, or 128 plus the
    signal that ended it; a restart in place is no end.

    Examples: orchestrion attach web.0; orchestrion attach job -c mapper
    """
    from ._attach import run_attach

    return run_attach(name, Where(state, context, namespace), container)


def cp(
    source: Annotated[str, Argument(("FROM",), "A path here, or INSTANCE:PATH.", dash="/dev/stdin")],
    target: Annotated[
        str, Argument(("TO",), "A path here, - for one file to stdout, or INSTANCE:PATH.", dash="/dev/stdout")
    ],
    /,
    *,
    container: Container = None,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
) -> int:
    """Copy a file or a folder into an instance, or out of one. The instance needs a `tar`.

    It goes into the folder that is named; where nothing is there, that is its new name. A file takes the place of a
    file, and of nothing else.

    Examples: orchestrion cp web.0:/tmp/report.txt .; orchestrion cp ./site web.0:/srv
    """
    from ._copy import run_copy

    return run_copy(source, target, container, Where(state, context, namespace))


def port_forward(
    name: InstanceName,
    ports: Annotated[tuple[str, ...], Argument(("PORT",), "[HERE:]THERE, such as 8080:http, 8080:80 or http.")],
    /,
    *,
    host: Annotated[str, Argument(("--host",), "Where to listen on this machine.")] = "127.0.0.1",
    container: Container = None,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
) -> int:
    """Reach ports of an instance at ports of this machine, until Ctrl-C.

    Behind a server, connections go through the instance, which needs a `socat`, `nc` or `python3` for that.
    """
    from ._forward import run_port_forward

    return run_port_forward(name, ports, container, Where(state, context, namespace), host)


def debug_bundle(
    file: Annotated[Path, Argument(("FILE",), "What to write; it must not be there.")] = Path("orchestrion-bundle.zip"),
    /,
    *,
    logs: Annotated[bool, Argument(("--logs",), "With what instances wrote, which may hold secrets.")] = False,
    state: State = None,
    context: Context = None,
) -> int:
    """Write what helps with finding a fault into one zip file.

    Secrets are not in it, nor the values of environment variables, nor tokens.
    """
    from ._bundle import run_bundle

    return run_bundle(file, Where(state, context), logs=logs)
