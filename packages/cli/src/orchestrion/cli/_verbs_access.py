"""The commands about servers and about who one is there, as they are typed. See `_verbs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ._arguments import Argument
from ._options import Context, OutputForm, State, Yes
from ._where import Where

ContextName = Annotated[str, Argument(("CONTEXT",), "What the server is called here.")]


def login(
    url: Annotated[str, Argument(("URL",), "Where the server is: https://HOST:PORT.")],
    /,
    *,
    name: Annotated[
        str | None,
        Argument(("--name",), "What to call it; unless given, its host, with the port where that name is another's."),
    ] = None,
    replace: Annotated[bool, Argument(("--replace",), "Forget another server that is called so.")] = False,
    token_file: Annotated[
        Path | None,
        Argument(
            ("--token-file",), "A file with a token, or - for stdin; unless given, it is asked for.", dash="/dev/stdin"
        ),
    ] = None,
    token_command: Annotated[
        str | None, Argument(("--token-command",), "A command that prints a token, run each time.", takes_dashes=True)
    ] = None,
    key_file: Annotated[
        Path | None, Argument(("--key-file",), "A file with an Ed25519 key that is trusted there, instead of a token.")
    ] = None,
    oidc: Annotated[
        bool, Argument(("--oidc",), "Log in with a browser, at the issuer of tokens that the server believes.")
    ] = False,
    certificate: Annotated[
        Path | None, Argument(("--certificate",), "A file with a certificate and its key, instead of a token.")
    ] = None,
    authority: Annotated[
        Path | None,
        Argument(("--authority",), "A file with certificates: trust those for the server's, and nobody else."),
    ] = None,
    fingerprint: Annotated[
        str | None, Argument(("--fingerprint",), "That of the server's authority, as the server told it.")
    ] = None,
    system_trust: Annotated[
        bool, Argument(("--system-trust",), "Trust who signs certificates for the system, and nobody else.")
    ] = False,
    server_name: Annotated[
        str, Argument(("--server-name",), "What the server's certificate is for, if not the URL's host.")
    ] = "",
    namespace: Annotated[str, Argument(("--namespace", "-n"), "Where to act there unless told otherwise.")] = "",
    yes: Yes = False,
) -> int:
    """Get to know a server, be known to it, and let commands be about it from now on.

    It shows the fingerprint of the server's authority to compare with what `orchestrion server` told when it began.
    Then it tries the token, and writes both down for you alone, in the folder for settings.

    Examples: orchestrion login https://cluster.example:7070 --token-file admin.token;
    orchestrion login https://cluster.example:7070 --oidc
    """
    from ._login import Login, run_login

    return run_login(
        Login(
            url=url,
            name=name,
            token_file=token_file,
            token_command=token_command,
            key_file=key_file,
            oidc=oidc,
            certificate=certificate,
            authority=authority,
            fingerprint=fingerprint,
            system_trust=system_trust,
            server_name=server_name,
            namespace=namespace,
            yes=yes,
            replace=replace,
        )
    )


def logout(
    name: Annotated[str | None, Argument(("CONTEXT",), "Which server; unless given, the current one.")] = None, /
) -> int:
    """Forget a server, and what one was known by there. The token stays good: `token revoke` ends it."""
    from ._login import run_logout

    return run_logout(name)


def context_ls(*, output: OutputForm = "table") -> int:
    """Show the servers that are known, and which one commands are about."""
    from ._login import run_context_list

    return run_context_list(output)


def context_use(name: ContextName, /) -> int:
    """Say which server commands are about that name none; `local` is the state directory."""
    from ._login import run_context_use

    return run_context_use(name)


def context_rm(name: ContextName, /) -> int:
    """Forget a server, and what one was known by there."""
    from ._login import run_logout

    return run_logout(name)


def whoami(*, state: State = None, context: Context = None, output: OutputForm = "table") -> int:
    """Say as who one is known, and by what."""
    from ._access import run_whoami

    return run_whoami(Where(state, context), output)


def can_i(
    verb: Annotated[str, Argument(("VERB",), "What, such as get, scale or exec.")] = "",
    resource: Annotated[str, Argument(("RESOURCE",), "With what, such as workloads or workloads/status.")] = "",
    object_name: Annotated[str, Argument(("OBJECT",), "With which one.")] = "",
    /,
    *,
    all_: Annotated[bool, Argument(("--list",), "Show all that one may do.")] = False,
    state: State = None,
    context: Context = None,
    namespace: Annotated[str | None, Argument(("--namespace", "-n"), "Where; unless given, everywhere.")] = None,
    output: OutputForm = "table",
) -> int:
    """Say whether one may do something, and why. It ends with 0 for yes and 5 for no.

    Examples: orchestrion auth can-i scale workloads -n shop; orchestrion auth can-i --list
    """
    from ._access import run_can_i

    where = Where(state, context, namespace)
    return run_can_i(verb, resource, object_name, where, output, all_rights=all_)


def token_create(
    name: Annotated[str, Argument(("NAME",), "Who shows it; unless given, you.")] = "",
    /,
    *,
    groups: Annotated[tuple[str, ...], Argument(("--group", "-g"), "A group that this one is in.")] = (),
    kind: Annotated[str | None, Argument(("--kind",), "user, service, node or workload; unless given, as you.")] = None,
    namespaces: Annotated[tuple[str, ...], Argument(("--only-namespace",), "A namespace that it may reach.")] = (),
    allow: Annotated[
        tuple[str, ...], Argument(("--allow",), "All that it may do: VERB,VERB:RESOURCE,RESOURCE; * is all.")
    ] = (),
    lifetime: Annotated[
        str | None, Argument(("--lifetime",), "How long it is good: 8h, 7d; no longer than what you show.")
    ] = None,
    note: Annotated[str, Argument(("--note",), "What it is for.")] = "",
    state: State = None,
    context: Context = None,
    output: OutputForm = "table",
) -> int:
    """Make a token, and show it once. Nobody gives more than they have.

    Roles say what may be done with it: a RoleBinding gives one to its NAME, or to one of its groups. --allow and
    --only-namespace narrow that, and give nothing by themselves.

    Example: orchestrion token create ci --kind service --allow get,list,apply:workloads --lifetime 7d
    """
    from ._access import Wanted, run_token_create

    wanted = Wanted(
        name=name,
        kind=kind,
        groups=groups,
        namespaces=namespaces,
        allow=allow,
        lifetime=lifetime,
        note=note,
    )
    return run_token_create(wanted, Where(state, context), output)


def token_ls(*, state: State = None, context: Context = None, output: OutputForm = "table") -> int:
    """Show tokens: whose, what for, and until when they are good. What they are nobody knows any longer."""
    from ._access import run_token_list

    return run_token_list(Where(state, context), output)


def token_revoke(
    ids: Annotated[tuple[str, ...], Argument(("TOKEN",), "Ids of tokens, as `token ls` shows them.")],
    /,
    *,
    state: State = None,
    context: Context = None,
) -> int:
    """Make tokens worthless, at once."""
    from ._access import run_token_revoke

    return run_token_revoke(ids, Where(state, context))
