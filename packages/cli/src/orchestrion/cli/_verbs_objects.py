"""The commands about objects as they are typed. See `_verbs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from ._arguments import Argument
from ._options import AnyNamespace, Context, DryRun, Namespace, OutputForm, State, Yes
from ._where import Where

Kind = Annotated[
    str, Argument(("KIND",), "A kind: workloads, nodes, configmaps, ..., or its name; with an object: KIND/NAME.")
]
ObjectName = Annotated[str, Argument(("OBJECT",), "The object's name.")]


def get(
    kind: Kind,
    /,
    *names: Annotated[str, Argument(("OBJECT",), "Only these objects.")],
    labels: Annotated[
        str | None, Argument(("--labels", "-l"), "Only objects with these labels: app=web,tier in (a, b),!old.")
    ] = None,
    fields: Annotated[
        str | None, Argument(("--field-selector",), "Only objects with these fields: status.phase=Healthy.")
    ] = None,
    watch: Annotated[bool, Argument(("--watch", "-w"), "Go on as objects change.")] = False,
    state: State = None,
    context: Context = None,
    namespace: AnyNamespace = None,
    output: OutputForm = "table",
) -> int:
    """Show objects of a kind, or follow them.

    The kinds are workloads (w), instances (i), nodes (no), namespaces (ns), configmaps (cm), secrets, events (ev),
    priorityclasses (pc), resourcequotas, limitranges, roles, rolebindings, mutatingwebhooks, validatingwebhooks,
    customkinds, and those that these define.
    With a name it looks into the namespace that -n or the context says.

    Examples: orchestrion get workloads -l app=web; orchestrion get i -w -o jsonl
    """
    from ._get import run_get

    return run_get(kind, names, Where(state, context, namespace), output, labels=labels, fields=fields, follow=watch)


def describe(
    kind: Kind,
    name: ObjectName,
    /,
    *,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    output: OutputForm = "table",
) -> int:
    """Show one object with all that belongs to it: a workload's instances, and the latest events.

    With -o json or yaml it is `object`, `instances` and `events`; these are null where the kind has none.
    """
    from ._get import run_describe

    return run_describe(kind, name, Where(state, context, namespace), output)


def create(
    kind: Annotated[str, Argument(("KIND",), "The kind of the object, where no file is named.")] = "",
    name: Annotated[str | None, Argument(("OBJECT",), "Its name.")] = None,
    /,
    *,
    file: Annotated[
        Path | None,
        Argument(("--file", "-f"), "A file of YAML or JSON with whole objects, or - for stdin.", dash="/dev/stdin"),
    ] = None,
    data: Annotated[
        tuple[str, ...], Argument(("--data", "-d"), "An entry of a configmap or a secret: KEY=TEXT, KEY=@FILE, KEY=@-.")
    ] = (),
    dry_run: DryRun = False,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
) -> int:
    """Make objects of a file, or a small one of its kind and name. What is there already is a conflict.

    All of a file are checked before the first is made: where one can't be, none is.

    Examples: orchestrion create namespace shop; orchestrion create secret db -d password=@-
    """
    from ._create import run_create

    return run_create(kind, name, Where(state, context, namespace), file=file, data=data, dry_run=dry_run)


def edit(
    kind: Kind,
    name: ObjectName,
    /,
    *,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
) -> int:
    """Change an object in an editor: that of VISUAL or EDITOR, or vi.

    Where somebody else changes it meanwhile, nothing is written, and it ends with 4.
    """
    from ._write import run_edit

    return run_edit(kind, name, Where(state, context, namespace))


def patch(
    kind: Kind,
    name: ObjectName,
    change: Annotated[str, Argument(("PATCH",), "What to change, as JSON or YAML.", takes_dashes=True)],
    /,
    *,
    type_: Annotated[
        Literal["merge", "json"], Argument(("--type",), "A merge patch (RFC 7396), or steps (RFC 6902).")
    ] = "merge",
    dry_run: DryRun = False,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
    output: OutputForm = "table",
) -> int:
    """Change parts of an object.

    Example: orchestrion patch configmap colours '{spec: {data: {sky: blue}}}'
    """
    from ._write import run_patch

    return run_patch(kind, name, change, type_, Where(state, context, namespace), output, dry_run=dry_run)


def delete(
    kind: Annotated[str, Argument(("KIND",), "A kind, or its name; with an object: KIND/NAME.")] = "",
    names: Annotated[tuple[str, ...], Argument(("OBJECT",), "The objects' names.")] = (),
    /,
    *,
    file: Annotated[
        Path | None,
        Argument(
            ("--file", "-f"),
            "What the manifests and objects of a file or a folder are called, or - for stdin.",
            dash="/dev/stdin",
        ),
    ] = None,
    yes: Yes = False,
    wait: Annotated[
        bool, Argument(("--wait",), "With a file: wait until all of it is gone.", can_be_denied=True)
    ] = True,
    dry_run: DryRun = False,
    state: State = None,
    context: Context = None,
    namespace: Namespace = None,
) -> int:
    """Remove objects, after naming them and asking: some of a kind, or all that a file names.

    An instance is stopped, and its workload replaces it. Without a terminal to ask on, --yes is needed. Of a file, what
    is not there is told and is no error; what names another namespace than -n does is refused.

    Examples: orchestrion delete configmap/a secret/b; orchestrion delete -f app.yaml --yes
    """
    where = Where(state, context, namespace)
    if file is not None and not kind:
        from ._delete_file import run_delete_file

        return run_delete_file(file, where, yes=yes, wait=wait, dry_run=dry_run)
    from ._write import check_named, run_delete

    check_named(kind, names, file)
    return run_delete(kind, names, where, yes=yes, dry_run=dry_run)
