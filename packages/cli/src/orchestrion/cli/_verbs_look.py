"""The commands that look and change nothing, as they are typed. See `_verbs`."""

from __future__ import annotations

from typing import Annotated, Literal

from ._arguments import Argument
from ._options import AnyNamespace, Container, Context, Follow, Namespace, OutputForm, State, Subject
from ._where import Where


def status(
    name: Annotated[
        str | None, Argument(("NAME",), "Only this workload, or an instance such as web.0.", is_subject=True)
    ] = None,
    /,
    *,
    watch: Annotated[bool, Argument(("--watch", "-w"), "Go on as that changes, until Ctrl-C.")] = False,
    state: State = None,
    context: Context = None,
    namespace: AnyNamespace = None,
    output: OutputForm = "table",
) -> int:
    """Show workloads, their instances, and what happens next.

    Where no orchestrator runs, the state is read from the store. With --watch, a terminal shows one table that is kept
    up to date; anywhere else comes a line for each workload and instance that has changed, and with -o json, jsonl or
    yaml a line of JSON for each workload. It ends where the workload that was named is gone, or all has ended and its
    orchestrator with it.

    Examples: orchestrion status web; orchestrion status -w; orchestrion status web -w -o jsonl
    """
    from ._status import run_status

    return run_status(name, Where(state, context, namespace), output, follow=watch)


def logs(
    *names: Annotated[str, Argument(("NAME",), "Workloads, or instances such as web.0.", is_subject=True)],
    labels: Annotated[str | None, Argument(("--labels", "-l"), "Of all workloads with these labels.")] = None,
    all_: Annotated[bool, Argument(("--all",), "Of all workloads.")] = False,
    follow: Follow = False,
    since: Annotated[str | None, Argument(("--since",), "Only what was written since: 10m, 2h, or a time.")] = None,
    until: Annotated[str | None, Argument(("--until",), "Only what was written until: 10m, 2h, or a time.")] = None,
    tail: Annotated[int | None, Argument(("--tail",), "Only the last so many lines of each container.")] = None,
    grep: Annotated[
        str | None, Argument(("--grep",), "Only lines in which this regular expression is found.", takes_dashes=True)
    ] = None,
    timestamps: Annotated[bool, Argument(("--timestamps",), "Say of each line when it was written, in UTC.")] = False,
    previous: Annotated[bool, Argument(("--previous",), "The attempt before the latest one.")] = False,
    replaced: Annotated[
        bool, Argument(("--replaced",), "Of instances too that have ended and were replaced by a newer generation.")
    ] = False,
    container: Container = None,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    output: Annotated[Literal["table", "jsonl"], Argument(("--output", "-o"), "How it is written.")] = "table",
) -> int:
    """Show what instances have written: stdout on stdout, stderr on stderr, each line behind its instance's name.

    Of a workload it shows instances that run or are of its newest generation; --replaced shows all that are kept.
    With --follow, instances that come later are shown as well; with --labels or --all, workloads that do, too.

    Examples: orchestrion logs -f --tail 20 web; orchestrion logs -f -l tier=front
    """
    from ._logs import run_logs, wish_of

    return run_logs(
        names,
        Where(state, context, namespace),
        labels,
        container,
        since,
        output,
        follow=follow,
        previous=previous,
        replaced=replaced,
        all_=all_,
        wish=wish_of(tail, until, grep, timestamps=timestamps),
    )


def events(
    *,
    for_: Annotated[str | None, Argument(("--for",), "A workload, or an instance such as web.0.")] = None,
    follow: Follow = False,
    since: Annotated[str | None, Argument(("--since",), "Only what happened since: 10m, 2h, or a time.")] = None,
    limit: Annotated[int, Argument(("--limit",), "The most events; the latest are shown.")] = 1000,
    types: Annotated[
        str,
        Argument(("--types",), "Only of these severities or reasons, with commas between: Warning or Placed,BackOff."),
    ] = "",
    state: State = None,
    context: Context = None,
    namespace: AnyNamespace = None,
    output: OutputForm = "table",
) -> int:
    """Show what has happened, oldest first."""
    from ._look import run_events

    return run_events(for_, Where(state, context, namespace), since, limit, output, follow=follow, types=types)


def explain(
    name: Subject,
    /,
    *,
    node: Annotated[
        str | None, Argument(("--node",), "Only whether this node would take each slot, with every predicate.")
    ] = None,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    output: OutputForm = "table",
) -> int:
    """Say why instances are where they are, or nowhere, and the smallest change that would place them.

    With --node, that is told of one node alone: whether it would take each slot, were it placed anew, and which
    predicates hold.

    Examples: orchestrion explain web.0; orchestrion explain web --node alpha
    """
    from ._look import run_explain

    return run_explain(name, Where(state, context, namespace), output, node)
