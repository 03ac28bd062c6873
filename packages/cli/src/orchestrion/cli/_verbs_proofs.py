"""The commands about certificates and keys, as they are typed. See `_verbs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ._arguments import Argument
from ._options import Context, OutputForm, State
from ._where import Where

Holder = Annotated[str, Argument(("NAME",), "Who it is; unless given, you.")]
Kind = Annotated[str | None, Argument(("--kind",), "user, service, node or workload; unless given, as you.")]
Note = Annotated[str, Argument(("--note",), "What it is for.")]
Lifetime = Annotated[
    str | None, Argument(("--lifetime",), "How long it is good: 8h, 7d; no longer than what you show.")
]


def certificate_create(
    name: Holder = "",
    /,
    *,
    kind: Annotated[str | None, Argument(("--kind",), "user, node or workload; unless given, as you.")] = None,
    lifetime: Annotated[
        str | None,
        Argument(("--lifetime",), "How long it is good: 8h, 7d; no longer than what you show.", default="1h"),
    ] = None,
    file: Annotated[Path | None, Argument(("--file",), "Where it goes, with its key.", default="NAME.pem")] = None,
    note: Note = "",
    state: State = None,
    context: Context = None,
    output: OutputForm = "table",
) -> int:
    """Get a certificate for somebody, and write it down with its key for you alone.

    The key is made here, and the server never sees it. It takes the right to create certificates, and to speak as
    whom it is for; nobody gives more than they have.

    Example: orchestrion certificate create ann --lifetime 7d --file ann.pem
    """
    from ._proofs import run_certificate_create

    return run_certificate_create(name, kind, lifetime, file, note, Where(state, context), output)


def certificate_ls(*, state: State = None, context: Context = None, output: OutputForm = "table") -> int:
    """Show certificates that were issued: whose, what for, and until when they are good."""
    from ._proofs import run_certificate_list

    return run_certificate_list(Where(state, context), output)


def certificate_revoke(
    serials: Annotated[tuple[str, ...], Argument(("SERIAL",), "Serial numbers, as `certificate ls` shows them.")],
    /,
    *,
    state: State = None,
    context: Context = None,
) -> int:
    """Make certificates worthless, at once."""
    from ._proofs import run_certificate_revoke

    return run_certificate_revoke(serials, Where(state, context))


def key_add(
    file: Annotated[
        Path,
        Argument(
            ("FILE",), "A public key of Ed25519: PEM, a line of ssh-ed25519, or base64; - for stdin.", dash="/dev/stdin"
        ),
    ],
    name: Holder = "",
    /,
    *,
    groups: Annotated[
        tuple[str, ...], Argument(("--group", "-g"), "A group that this one is in.", default="none")
    ] = (),
    kind: Kind = None,
    namespaces: Annotated[
        tuple[str, ...], Argument(("--only-namespace",), "A namespace that it may reach.", default="all")
    ] = (),
    allow: Annotated[
        tuple[str, ...],
        Argument(("--allow",), "All that it may do: VERB,VERB:RESOURCE,RESOURCE; * is all.", default="what roles say"),
    ] = (),
    lifetime: Lifetime = None,
    note: Note = "",
    state: State = None,
    context: Context = None,
    output: OutputForm = "table",
) -> int:
    """Have a server take requests that are signed with a key for somebody's. Nobody gives more than they have.

    Example: orchestrion key add ann.pub ann --group devs
    """
    from ._access import Wanted
    from ._proofs import run_key_add

    wanted = Wanted(
        name=name, kind=kind, groups=groups, namespaces=namespaces, allow=allow, lifetime=lifetime, note=note
    )
    return run_key_add(file, wanted, Where(state, context), output)


def key_ls(*, state: State = None, context: Context = None, output: OutputForm = "table") -> int:
    """Show the keys that are trusted: whose, what for, and until when."""
    from ._proofs import run_key_list

    return run_key_list(Where(state, context), output)


def key_rm(
    fingerprints: Annotated[tuple[str, ...], Argument(("FINGERPRINT",), "Fingerprints, as `key ls` shows them.")],
    /,
    *,
    state: State = None,
    context: Context = None,
) -> int:
    """Have keys trusted no longer, at once."""
    from ._proofs import run_key_remove

    return run_key_remove(fingerprints, Where(state, context))


def key_rotate_sealing(*, state: State = None, context: Context = None, output: OutputForm = "table") -> int:
    """Have a server seal secrets with a new key from now on.

    Secrets that are there are sealed anew while the server is at work, and then the older keys are removed from its
    state directory: a copy of its store from before can be read with a copy of `secrets.key` from before only.

    Example: orchestrion key rotate-sealing
    """
    from ._proofs import run_rotate_sealing

    return run_rotate_sealing(Where(state, context), output)
