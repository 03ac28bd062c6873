"""The table of commands. It imports nothing that takes time: the overview of all commands is made of it alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final, NamedTuple


class Command(NamedTuple):
    """One command.

    Attributes:
        name: What is typed, such as "up" or "node drain".
        function: Its name in the module.
        summary: One line.
        module: Where its function is, of this package.
    """

    name: str
    function: str
    summary: str
    module: str = "_verbs"

    def load(self) -> Callable[..., int]:
        """Return its function."""
        function: Callable[..., int] = getattr(import_module(f"{__package__}.{self.module}"), self.function)
        return function


_LOOK: Final = "_verbs_look"
_OBJECTS: Final = "_verbs_objects"
_CARE: Final = "_verbs_care"
_ACCESS: Final = "_verbs_access"
_PROOFS: Final = "_verbs_proofs"
_SERVER: Final = "_verbs_server"


GROUPS: Final[tuple[tuple[str, tuple[Command, ...]], ...]] = (
    (
        "Run",
        (
            Command("up", "up", "Run what a manifest asks for, and follow it to its end."),
            Command("dev", "dev", "Serve an orchestrator of this machine, for trying things out.", _SERVER),
            Command("server", "server", "Serve an orchestrator to the network.", _SERVER),
            Command("mcp", "mcp", "Give programs that talk to models tools for an orchestrator."),
            Command("apply", "apply", "Change what a running orchestrator is to run."),
            Command("scale", "scale", "Set the number of instances of a service, or go back to the file's."),
            Command("stop", "stop", "Stop a workload, and keep it; `start` starts it again."),
            Command("start", "start", "Let a workload run again that was stopped."),
            Command("retry", "retry", "Try again now what waits for its next try.", _CARE),
            Command("rm", "rm", "Stop a workload and forget it."),
        ),
    ),
    (
        "Look",
        (
            Command("status", "status", "Show workloads, their instances, and what happens next.", _LOOK),
            Command("logs", "logs", "Show what instances have written.", _LOOK),
            Command("events", "events", "Show what has happened.", _LOOK),
            Command("explain", "explain", "Say why instances are where they are, or nowhere.", _LOOK),
            Command("top", "top", "Show what nodes or instances are promised, and really use.", _CARE),
            Command("wait", "wait", "Wait until something holds of an object.", _CARE),
        ),
    ),
    (
        "Objects",
        (
            Command("get", "get", "Show objects of a kind, or follow them.", _OBJECTS),
            Command("describe", "describe", "Show one object with all that belongs to it.", _OBJECTS),
            Command("create", "create", "Make objects of a file, or a small one of its name.", _OBJECTS),
            Command("edit", "edit", "Change an object in an editor.", _OBJECTS),
            Command("patch", "patch", "Change parts of an object.", _OBJECTS),
            Command("delete", "delete", "Remove objects.", _OBJECTS),
        ),
    ),
    (
        "Inside instances",
        (
            Command("exec", "exec_", "Run a command inside an instance."),
            Command("attach", "attach", "See what the main process of an instance writes, to its end.", _CARE),
            Command("cp", "cp", "Copy files into an instance, or out of one.", _CARE),
            Command("port-forward", "port_forward", "Reach a port of an instance from this machine.", _CARE),
        ),
    ),
    (
        "Care",
        (
            Command("rollout status", "rollout_status", "Follow an update to its end.", _CARE),
            Command("rollout history", "rollout_history", "Show what a workload ran before.", _CARE),
            Command("rollout pause", "rollout_pause", "Hold up the updates of a workload.", _CARE),
            Command("rollout resume", "rollout_resume", "Let the updates of a workload go on.", _CARE),
            Command("rollout promote", "rollout_promote", "Let an update go on beyond its canary.", _CARE),
            Command("rollout restart", "rollout_restart", "Replace all instances by new ones of the same.", _CARE),
            Command("rollout undo", "rollout_undo", "Go back to what a workload ran before.", _CARE),
            Command("node ls", "node_ls", "Show nodes.", _CARE),
            Command("node cordon", "node_cordon", "Keep new work off nodes.", _CARE),
            Command("node uncordon", "node_uncordon", "Let work on nodes again.", _CARE),
            Command("node drain", "node_drain", "Move everything off a node.", _CARE),
            Command("node label", "node_label", "Give a node labels, or take them away.", _CARE),
            Command("node taint", "node_taint", "Give a node taints, or take them away.", _CARE),
            Command("node rm", "node_rm", "Forget nodes that are drained, or gone.", _CARE),
            Command("debug bundle", "debug_bundle", "Write what helps with finding a fault into one file.", _CARE),
        ),
    ),
    (
        "Servers",
        (
            Command("login", "login", "Get to know a server, and be known to it.", _ACCESS),
            Command("logout", "logout", "Forget a server.", _ACCESS),
            Command("context ls", "context_ls", "Show the servers that are known.", _ACCESS),
            Command("context use", "context_use", "Say which server commands are about.", _ACCESS),
            Command("context rm", "context_rm", "Forget a server.", _ACCESS),
            Command("whoami", "whoami", "Say as who you are known.", _ACCESS),
            Command("auth can-i", "can_i", "Say whether you may do something.", _ACCESS),
            Command("token create", "token_create", "Make a token, and show it once.", _ACCESS),
            Command("token ls", "token_ls", "Show tokens, without what they are.", _ACCESS),
            Command("token revoke", "token_revoke", "Make tokens worthless.", _ACCESS),
            Command("certificate create", "certificate_create", "Get a certificate, with a key made here.", _PROOFS),
            Command("certificate ls", "certificate_ls", "Show certificates that were issued.", _PROOFS),
            Command("certificate revoke", "certificate_revoke", "Make certificates worthless.", _PROOFS),
            Command("key add", "key_add", "Have requests taken that are signed with a key.", _PROOFS),
            Command("key ls", "key_ls", "Show the keys that are trusted.", _PROOFS),
            Command("key rm", "key_rm", "Have keys trusted no longer.", _PROOFS),
            Command("key rotate-sealing", "key_rotate_sealing", "Have secrets sealed with a new key.", _PROOFS),
        ),
    ),
    (
        "Check",
        (
            Command("init", "init", "Write a manifest to begin with."),
            Command("validate", "validate", "Check manifests and objects of every kind, and change nothing."),
            Command("fmt", "fmt", "Write manifests in one form."),
            Command("plan", "plan", "Show what applying would change, and where instances would go."),
            Command("diff", "plan", "The same as plan."),
            Command("audit", "audit", "Prove that the audit log of a server is what was written."),
            Command("schema", "schema", "Print the JSON Schema of a manifest, or of a kind."),
            Command("explain-field", "explain_field", "Say what a key of a manifest or of an object means."),
            Command("conformance", "conformance", "Prove an implementation of an interface against its kit."),
        ),
    ),
    (
        "Other",
        (
            Command("completion", "completion", "Print a completion script for a shell."),
            Command("version", "version", "Print versions."),
        ),
    ),
)

COMMANDS: Final = tuple(command for _, commands in GROUPS for command in commands)

_BY_NAME: Final = {command.name: command for command in COMMANDS}


def command_of(arguments: Sequence[str], /) -> Command | None:
    """Return the command that arguments begin with, or None."""
    return _BY_NAME.get(" ".join(arguments[:2])) or _BY_NAME.get(" ".join(arguments[:1]))


NO_COLOR: Final = "--no-color"
"""What wants no colours; it may stand anywhere, with every command."""

_LEADING: Final = ("--context", "-C", "--state", "-s", "--namespace", "-n")
"""Options about where a command acts, which may stand before its name."""


def leading(arguments: Sequence[str], /) -> int:
    """Return how many arguments at the beginning say where a command acts; one more where a value is still to come."""
    count = 0
    while count < len(arguments) and arguments[count].partition("=")[0] in _LEADING:
        count += 1 if "=" in arguments[count] else 2
    return count


def name_first(arguments: Sequence[str], /) -> list[str]:
    """Return arguments with a command's name before the options about where it acts: `-C prod status` is understood."""
    front, rest = list(arguments[: leading(arguments)]), list(arguments[leading(arguments) :])
    command = command_of(rest)
    words = len(command.name.split()) if command is not None else len(rest)
    return [*rest[:words], *front, *rest[words:]]


def commands_under(group: str, /) -> list[Command]:
    """Return the commands whose names begin with a word and go on, such as those of "node"."""
    return [command for command in COMMANDS if command.name.startswith(f"{group} ")]


def group_overview(group: str, /) -> str:
    """Return the text of `orchestrion GROUP --help`."""
    commands = commands_under(group)
    width = max(len(command.name) for command in commands) + 2
    lines = [f"Usage: orchestrion {group} COMMAND [OPTIONS]", ""]
    lines += [f"  {command.name:<{width}}{command.summary}" for command in commands]
    return "\n".join([*lines, "", f"`orchestrion {group} COMMAND --help` tells more."])


_EXAMPLES: Final = (
    ("orchestrion up app.yaml", "run it, and follow it to its end"),
    ("orchestrion status web", "how one workload is doing"),
    ("orchestrion logs -f web", "what it writes"),
)


def overview() -> str:
    """Return the text of `orchestrion --help`."""
    width = max(len(command.name) for command in COMMANDS) + 2
    lines = [
        "Run services and batch jobs as a manifest describes them.",
        "",
        "Usage: orchestrion COMMAND [OPTIONS]",
        "",
    ]
    reach = max(len(example) for example, _ in _EXAMPLES) + 2
    lines += ["Examples:", *(f"  {example:<{reach}}# {what}" for example, what in _EXAMPLES), ""]
    for title, commands in GROUPS:
        lines += [f"{title}:", *(f"  {command.name:<{width}}{command.summary}" for command in commands), ""]
    lines.append(f"`orchestrion COMMAND --help` tells more. With {NO_COLOR}, as with NO_COLOR=1, nothing is coloured.")
    return "\n".join(lines)
