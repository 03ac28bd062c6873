"""The commands as they are typed. What they do is imported when they run, so that their help is there at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

FormChoice = Literal["table", "json", "jsonl", "yaml", "name"]

State = Annotated[
    Path | None,
    Parameter(
        name=["--state", "-s"], env_var="ORCHESTRION_STATE", show_default=False, help="State directory [.orchestrion]."
    ),
]
Namespace = Annotated[str, Parameter(name=["--namespace", "-n"], help="Namespace of the workload.")]
AnyNamespace = Annotated[
    str | None, Parameter(name=["--namespace", "-n"], show_default=False, help="Only this namespace.")
]
OutputForm = Annotated[FormChoice, Parameter(name=["--output", "-o"], help="How the data is written.")]
Manifest = Annotated[
    Path,
    Parameter(name="FILE", show_default=False, help="A manifest, a directory of manifests, or - for stdin."),
]
Subject = Annotated[str, Parameter(name="NAME", help="A workload, or an instance such as web.0.")]
WorkloadName = Annotated[str, Parameter(name="NAME", help="A workload.")]
Follow = Annotated[bool, Parameter(name=["--follow", "-f"], negative="", help="Go on as more comes.")]
Container = Annotated[
    str | None, Parameter(name=["--container", "-c"], show_default=False, help="Only this container.")
]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask.")]
Wait = Annotated[bool, Parameter(name="--wait", help="Wait until nothing runs any more.")]


def up(
    file: Manifest,
    /,
    *,
    state: State = None,
    logs: Annotated[
        Literal["batch", "all", "none"], Parameter(name="--logs", help="Whose output is shown while it runs.")
    ] = "batch",
    runtime: Annotated[str | None, Parameter(show_default=False, help="Runtime plug-in [process].")] = None,
    cluster: Annotated[str | None, Parameter(show_default=False, help="Cluster plug-in [local].")] = None,
    scheduler: Annotated[str | None, Parameter(show_default=False, help="Scheduler plug-in [simple].")] = None,
    store: Annotated[str | None, Parameter(show_default=False, help="Store plug-in [sqlite].")] = None,
) -> int:
    """Run what a manifest asks for, and follow it to its end.

    It ends when all batch work has ended and no service is left running: with 0, or 1 if any workload has failed.
    Ctrl-C stops everything and ends with 130; a second Ctrl-C stops waiting for that.

    Where an `up` already runs on the state directory, the file is applied to that one and followed, and Ctrl-C only
    ends the following. Batch work of an earlier run that has ended is run again.

    Example: orchestrion up app.yaml
    """
    from ._up import run_up

    plugins = {"runtime": runtime, "cluster": cluster, "scheduler": scheduler, "store": store}
    return run_up(file, state, logs, {interface: name for interface, name in plugins.items() if name is not None})


def apply(
    file: Manifest,
    /,
    *,
    state: State = None,
    dry_run: Annotated[bool, Parameter(negative="", help="Say what would change, and change nothing.")] = False,
    output: OutputForm = "table",
) -> int:
    """Change what a running orchestrator is to run.

    All workloads of the file are accepted, or none. Workloads that the file does not name stay as they are.

    Example: orchestrion apply app.yaml
    """
    from ._change import run_apply

    return run_apply(file, state, output, dry_run=dry_run)


def scale(
    name: WorkloadName,
    replicas: Annotated[
        int | None, Parameter(name="REPLICAS", show_default=False, help="How many, 0 to 1000000.")
    ] = None,
    /,
    *,
    reset: Annotated[bool, Parameter(negative="", help="Go back to the file's number.")] = False,
    state: State = None,
    namespace: Namespace = "default",
) -> int:
    """Set the number of instances of a service, or go back to the file's.

    The number is remembered: applying the same file again does not undo it.

    Examples: orchestrion scale web 5; orchestrion scale web --reset
    """
    from ._change import run_scale

    return run_scale(name, replicas, state, namespace, reset=reset)


def stop(
    name: WorkloadName,
    /,
    *,
    state: State = None,
    namespace: Namespace = "default",
    wait: Wait = True,
) -> int:
    """Stop a workload, and keep it; applying it starts it again.

    Where nobody owns the state directory, this command takes it until the workload has stopped.
    """
    from ._change import run_stop

    return run_stop(name, state, namespace, wait=wait)


def rm(
    names: Annotated[tuple[str, ...], Parameter(name="NAME", help="Workloads.")],
    /,
    *,
    yes: Yes = False,
    state: State = None,
    namespace: Namespace = "default",
    wait: Wait = True,
) -> int:
    """Stop workloads and forget them, after naming what will go and asking.

    Without a terminal to ask on, --yes is needed.
    """
    from ._change import run_remove

    return run_remove(names, state, namespace, yes=yes, wait=wait)


def status(
    name: Annotated[
        str | None, Parameter(name="NAME", show_default=False, help="Only this workload, or an instance such as web.0.")
    ] = None,
    /,
    *,
    state: State = None,
    namespace: AnyNamespace = None,
    output: OutputForm = "table",
) -> int:
    """Show workloads, their instances, and what happens next.

    Where no orchestrator runs, the state is read from the store.
    """
    from ._look import run_status

    return run_status(name, state, namespace, output)


def logs(
    name: Subject,
    /,
    *,
    follow: Follow = False,
    since: Annotated[
        str | None, Parameter(show_default=False, help="Only what was written since: 10m, 2h, or a time.")
    ] = None,
    previous: Annotated[bool, Parameter(negative="", help="The attempt before the latest one.")] = False,
    container: Container = None,
    state: State = None,
    namespace: Namespace = "default",
    output: Annotated[
        Literal["table", "jsonl"], Parameter(name=["--output", "-o"], help="How it is written.")
    ] = "table",
) -> int:
    """Show what instances have written: stdout on stdout, stderr on stderr, each line behind its instance's name.

    Example: orchestrion logs -f --since 10m web
    """
    from ._logs import run_logs

    return run_logs(name, state, namespace, container, since, output, follow=follow, previous=previous)


def events(
    *,
    for_: Annotated[
        str | None, Parameter(name="--for", show_default=False, help="A workload, or an instance such as web.0.")
    ] = None,
    follow: Follow = False,
    since: Annotated[
        str | None, Parameter(show_default=False, help="Only what happened since: 10m, 2h, or a time.")
    ] = None,
    limit: Annotated[int, Parameter(help="The most events, latest first kept.")] = 1000,
    state: State = None,
    namespace: AnyNamespace = None,
    output: OutputForm = "table",
) -> int:
    """Show what has happened, oldest first."""
    from ._look import run_events

    return run_events(for_, state, namespace, since, limit, output, follow=follow)


def explain(
    name: Subject,
    /,
    *,
    state: State = None,
    namespace: Namespace = "default",
    output: OutputForm = "table",
) -> int:
    """Say why instances are where they are, or nowhere, and the smallest change that would place them."""
    from ._look import run_explain

    return run_explain(name, state, namespace, output)


def exec_(
    instance: Annotated[
        str, Parameter(name="INSTANCE", help="An instance, such as web.0, or a workload of which one runs.")
    ],
    /,
    *command: Annotated[str, Parameter(name="COMMAND", allow_leading_hyphen=True, help="Program and arguments.")],
    container: Container = None,
    state: State = None,
    namespace: Namespace = "default",
) -> int:
    """Run a command inside an instance. It ends with the command's exit code.

    Example: orchestrion exec web.0 -- env
    """
    from ._exec import run_exec

    return run_exec(instance, command, state, namespace, container)


def validate(files: Annotated[tuple[Path, ...], Parameter(name="FILE", help="Manifests or directories.")], /) -> int:
    """Check manifests, and change nothing. Each problem is told as file:line:column."""
    from ._manifests import run_validate

    return run_validate(files)


def plan(file: Manifest, /, *, state: State = None, output: OutputForm = "table") -> int:
    """Show what applying would change, and where instances would go.

    It ends with 0 if nothing would change, and with 1 if something would.
    """
    from ._plan import run_plan

    return run_plan(file, state, output)


def schema() -> int:
    """Print the JSON Schema of a manifest, for editors."""
    from ._manifests import run_schema

    return run_schema()


def conformance(
    target: Annotated[str, Parameter(name="MODULE:FACTORY", help="What opens a subject; see the kit's page.")],
    /,
    *,
    kit: Annotated[
        Literal["runtime", "store", "cluster", "scheduler"] | None,
        Parameter(show_default=False, help="Which kit; found from what the factory gives unless named."),
    ] = None,
    clock: Annotated[
        Literal["mock", "real"], Parameter(help="real is for what waits for threads, processes or sockets.")
    ] = "mock",
    only: Annotated[str | None, Parameter(show_default=False, help="Only checks whose id contains this.")] = None,
    output: OutputForm = "table",
) -> int:
    """Prove an implementation of an interface against its kit, and print a report.

    The factory is what the kit's `conformance_checks` takes. It ends with 1 if any check failed. `-o name` prints the
    ids of those that did. ORCHESTRION_KIT_PROFILE says how many examples are tried: quick, ci (unless set) or deep.

    Example: orchestrion conformance my_store:open_store
    """
    from ._conformance import run_conformance

    return run_conformance(target, kit, clock, only, output)


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(name="SHELL", help="Which shell.")], /
) -> int:
    """Print a completion script for a shell.

    Example: orchestrion completion bash > ~/.local/share/bash-completion/completions/orchestrion
    """
    from ._main import make_app

    print(make_app().generate_completion(prog_name="orchestrion", shell=shell))
    return 0


def version(*, output: OutputForm = "table") -> int:
    """Print the versions of Orchestrion's parts that are installed."""
    from ._version import run_version

    return run_version(output)
