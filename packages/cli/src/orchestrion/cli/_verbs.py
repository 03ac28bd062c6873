"""The commands as they are typed. What they do is imported when they run, so that their help is there at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from ._arguments import Argument
from ._options import (
    PLUGIN,
    Container,
    Context,
    DryRun,
    FileNamespace,
    Manifest,
    Namespace,
    OutputForm,
    State,
    Wait,
    WorkloadName,
    Yes,
)
from ._where import Where


def up(
    file: Manifest,
    /,
    *,
    state: State = None,
    logs: Annotated[
        Literal["batch", "all", "none"], Argument(("--logs",), "Whose output is shown while it runs.")
    ] = "batch",
    runtime: Annotated[str | None, Argument(("--runtime",), PLUGIN, default="process")] = None,
    cluster: Annotated[str | None, Argument(("--cluster",), PLUGIN, default="local")] = None,
    scheduler: Annotated[str | None, Argument(("--scheduler",), PLUGIN, default="packing")] = None,
    store: Annotated[str | None, Argument(("--store",), PLUGIN, default="sqlite")] = None,
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


def audit(
    action: Annotated[Literal["verify"], Argument(("ACTION",), "What to do.")],
    /,
    *,
    head: Annotated[
        str | None, Argument(("--head",), "A last record that was seen before, as NUMBER:HASH: it must still be there.")
    ] = None,
    archive: Annotated[Path | None, Argument(("--archive",), "A folder with older files of the log.")] = None,
    state: State = None,
) -> int:
    """Prove that the audit log of a server is what was written.

    It ends with 1 where a record was changed, moved, put in or taken out, and says which is the first. Records that
    were taken from the end are found by the head that an earlier run has printed, kept where nobody else can write.

    Example: orchestrion audit verify
    """
    from ._audit import run_verify

    return run_verify(state, head, archive) if action == "verify" else 2


def mcp(*, state: State = None, context: Context = None) -> int:
    """Give programs that talk to models tools for the orchestrator of a state directory, or for a server.

    It speaks the Model Context Protocol over standard input and output until the input ends; a client starts it by
    itself. The tools may do whatever who runs this may. A server has the same at /mcp.

    Example: orchestrion mcp --state /srv/app/.orchestrion
    """
    from ._mcp import run_mcp

    return run_mcp(Where(state, context))


def apply(
    file: Annotated[
        Path | None,
        Argument(("FILE",), "A file or a folder of manifests and objects, or - for stdin.", dash="/dev/stdin"),
    ] = None,
    /,
    *,
    named: Annotated[Path | None, Argument(("--file", "-f"), "The same as FILE.", dash="/dev/stdin")] = None,
    state: State = None,
    context: Context = None,
    namespace: FileNamespace = None,
    dry_run: Annotated[bool, Argument(("--dry-run",), "Say what would change, and change nothing.")] = False,
    set_: Annotated[
        str | None, Argument(("--set",), "The set that all of the file is of; each object gets it as a label.")
    ] = None,
    prune: Annotated[
        bool, Argument(("--prune",), "Remove what is of the set, in the file's namespaces, and is not in the file.")
    ] = False,
    manager: Annotated[
        str, Argument(("--manager",), "Whose word the file is; what other managers say stays.")
    ] = "control",
    force_conflicts: Annotated[
        bool, Argument(("--force-conflicts",), "Take over what other managers say differently.")
    ] = False,
    if_index: Annotated[
        int | None,
        Argument(("--if-index",), "Only if nothing the file names was written after this index, which `plan` tells."),
    ] = None,
    yes: Yes = False,
    wait: Annotated[
        bool, Argument(("--wait",), "Follow what was applied until it is rolled out; a terminal need not ask for it.")
    ] = False,
    detach: Annotated[bool, Argument(("--detach",), "Do not follow it, at a terminal either.")] = False,
    timeout: Annotated[
        str | None, Argument(("--timeout",), "How long to follow it at most: 90s, 10m; then it ends with 8.")
    ] = None,
    output: OutputForm = "table",
) -> int:
    """Change what a running orchestrator is to run.

    The file holds a manifest, or objects of any kind (ConfigMap, Role, ...), several of them, or both. All of it is
    accepted, or nothing. What the file does not name stays as it is, unless it is of its set and --prune says that
    those go, which are named first: without a terminal to ask on, --yes is needed. Where another manager, as an
    autoscaler, says something else, that is a conflict, which names it. With --if-index, so is what others have
    changed, scaled, stopped, made or removed since `plan` told the index; what becomes of instances does not count.

    At a terminal, and elsewhere with --wait, the workloads of the file are followed until they are rolled out, and it
    ends as `rollout status` does; Ctrl-C then leaves the rollout going.

    Examples: orchestrion apply app.yaml; orchestrion apply app.yaml --set shop --prune --dry-run
    """
    from ._apply import one_file, run_apply_file
    from ._apply_workloads import Application, Voice
    from ._follow_applied import follows

    voice, follow = Voice(manager, force_conflicts), follows(wait=wait, detach=detach, timeout=timeout)
    application = Application(voice=voice, dry_run=dry_run, of_set=set_, prune=prune, if_index=if_index, yes=yes)
    return run_apply_file(one_file(file, named), Where(state, context, namespace), output, application, follow)


def scale(
    name: WorkloadName,
    replicas: Annotated[int | None, Argument(("REPLICAS",), "How many, 0 to 1000000.")] = None,
    /,
    *,
    reset: Annotated[bool, Argument(("--reset",), "Go back to the file's number.")] = False,
    dry_run: DryRun = False,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    output: OutputForm = "table",
) -> int:
    """Set the number of instances of a service, or go back to the file's.

    The number is remembered: applying the same file again does not undo it.

    Examples: orchestrion scale web 5; orchestrion scale web --reset
    """
    from ._change import run_scale

    return run_scale(name, replicas, Where(state, context, namespace), output, reset=reset, dry_run=dry_run)


def stop(
    name: WorkloadName,
    /,
    *,
    dry_run: DryRun = False,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    wait: Wait = True,
) -> int:
    """Stop a workload, and keep it; `start` starts it again, and so does applying it.

    Where nobody owns the state directory, this command takes it until the workload has stopped.
    """
    from ._change import run_stop

    return run_stop(name, Where(state, context, namespace), wait=wait, dry_run=dry_run)


def start(
    name: WorkloadName,
    /,
    *,
    rerun: Annotated[bool, Argument(("--rerun",), "Run batch work once more that has ended.")] = False,
    dry_run: DryRun = False,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    output: OutputForm = "table",
) -> int:
    """Let a workload run again that was stopped, as it was.

    Example: orchestrion start web
    """
    from ._change import run_start

    return run_start(name, Where(state, context, namespace), output, rerun=rerun, dry_run=dry_run)


def rm(
    names: Annotated[tuple[str, ...], Argument(("NAME",), "Workloads.", is_subject=True)],
    /,
    *,
    yes: Yes = False,
    dry_run: DryRun = False,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    wait: Wait = True,
) -> int:
    """Stop workloads and forget them, after naming what will go and asking.

    Without a terminal to ask on, --yes is needed. With --dry-run, what would go is named, and nobody is asked.
    """
    from ._change import run_remove

    return run_remove(names, Where(state, context, namespace), yes=yes, wait=wait, dry_run=dry_run)


def exec_(
    instance: Annotated[
        str, Argument(("INSTANCE",), "An instance, such as web.0, or a workload of which one runs.", is_subject=True)
    ],
    /,
    *command: Annotated[str, Argument(("COMMAND",), "Program and arguments.", takes_dashes=True)],
    tty: Annotated[bool, Argument(("--tty", "-t"), "Give the command a terminal, which is this one.")] = False,
    stdin: Annotated[
        bool, Argument(("--stdin", "-i"), "Pass standard input on, as is done in any case; for who types -it.")
    ] = False,
    container: Container = None,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
) -> int:
    """Run a command inside an instance. It ends with the command's exit code.

    With --tty, what is typed goes to the command, Ctrl-C as well.

    Examples: orchestrion exec web.0 -- env; orchestrion exec -it web.0 -- sh
    """
    from ._exec import run_exec

    return run_exec(instance, command, Where(state, context, namespace), container, tty=tty)


def init(
    file: Annotated[
        Path, Argument(("FILE",), "What to write; it must not be there. - is stdout.", dash="/dev/stdout")
    ] = Path("orchestrion.yaml"),
    /,
) -> int:
    """Write a manifest to begin with."""
    from ._workshop import run_init

    return run_init(file)


def fmt(
    files: Annotated[
        tuple[Path, ...], Argument(("FILE",), "Manifests or directories; - for stdin to stdout.", dash="/dev/stdin")
    ],
    /,
    *,
    check: Annotated[bool, Argument(("--check",), "Change nothing; end with 1 where something would.")] = False,
) -> int:
    """Write manifests in one form, with their comments and with the same meaning."""
    from ._workshop import run_format

    return run_format(files, check=check)


def explain_field(
    path: Annotated[
        str,
        Argument(("KEY",), "Such as workloads.containers.health or resourcequota.spec.hard; unless given, a manifest."),
    ] = "",
    /,
    *,
    state: State = None,
    context: Context = None,
) -> int:
    """Say what a key of a manifest or of an object means, which values it takes, and which keys are below it.

    A server is asked for kinds that its users have defined, and for nothing else.
    """
    from ._workshop import run_explain_field

    return run_explain_field(path, Where(state, context))


def validate(
    files: Annotated[
        tuple[Path, ...],
        Argument(("FILE",), "Manifests, files of objects of any kind, directories, or - for stdin.", dash="/dev/stdin"),
    ],
    /,
    *,
    namespace: FileNamespace = None,
    output: OutputForm = "table",
) -> int:
    """Check manifests and objects of every kind, and change nothing. Each problem is told as file:line:column.

    Nobody is asked. Kinds of one's own are those whose CustomKind is in one of the files. `-o json` gives the problems
    with their places, and `-o name` the FILEs that have some.
    """
    from ._validate import run_validate

    return run_validate(files, namespace, output)


def plan(
    file: Manifest,
    /,
    *,
    set_: Annotated[str | None, Argument(("--set",), "The set that the file would be applied as.")] = None,
    prune: Annotated[
        bool, Argument(("--prune",), "Show too what is of the set and not in the file, which would go.")
    ] = False,
    state: State = None,
    context: Context = None,
    namespace: FileNamespace = None,
    output: OutputForm = "table",
) -> int:
    """Show what applying would change, and where instances would go.

    It ends with 0 if nothing would change, and with 1 if something would. --set and --prune are those of `apply`.

    Examples: orchestrion plan app.yaml; orchestrion plan app.yaml --set shop --prune
    """
    from ._plan import run_plan

    return run_plan(file, Where(state, context, namespace), output, of_set=set_, prune=prune)


def schema(
    kind: Annotated[str, Argument(("KIND",), "Such as ResourceQuota; unless given, a manifest.")] = "",
    /,
    *,
    state: State = None,
    context: Context = None,
) -> int:
    """Print the JSON Schema of a manifest, or of the objects of a kind, for editors.

    A server is asked for kinds that its users have defined, and for nothing else.
    """
    from ._manifests import run_schema

    return run_schema(kind, Where(state, context))


def conformance(
    target: Annotated[str, Argument(("MODULE:FACTORY",), "What opens a subject; see the kit's page.")],
    /,
    *,
    kit: Annotated[
        Literal["runtime", "store", "cluster", "scheduler"] | None,
        Argument(("--kit",), "Which kit; found from what the factory gives unless named."),
    ] = None,
    clock: Annotated[
        Literal["mock", "real"],
        Argument(("--clock",), "The real one is for what waits for threads, processes or sockets."),
    ] = "mock",
    only: Annotated[str | None, Argument(("--only",), "Only checks whose id contains this.")] = None,
    output: OutputForm = "table",
) -> int:
    """Prove an implementation of an interface against its kit, and print a report.

    The factory is what the kit's `conformance_checks` takes. It ends with 1 if any check failed. `-o name` prints the
    ids of those that did. ORCHESTRION_KIT_PROFILE says how many examples are tried: quick, ci (unless set) or deep.

    Example: orchestrion conformance my_store:open_store
    """
    from ._conformance import run_conformance

    return run_conformance(target, kit, clock, only, output)


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Argument(("SHELL",), "Which shell.")], /) -> int:
    """Print a completion script for a shell. It completes commands, options, and the names of what there is.

    Example: orchestrion completion bash > ~/.local/share/bash-completion/completions/orchestrion
    """
    from ._complete import SCRIPTS

    print(SCRIPTS[shell], end="")
    return 0


def version(*, output: OutputForm = "table") -> int:
    """Print the versions of Orchestrion's parts that are installed.

    Behind the scheduler's stands whether its core is compiled, or interpreted as ORCHESTRION_PURE=1 has it.
    """
    from ._version import run_version

    return run_version(output)
