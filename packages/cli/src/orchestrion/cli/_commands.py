"""The table of commands. It imports nothing that takes time: the overview of all commands is made of it alone."""

from __future__ import annotations

from typing import Final, NamedTuple


class Command(NamedTuple):
    """One command.

    Attributes:
        name: What is typed.
        function: Its name in `_verbs`.
        summary: One line.
    """

    name: str
    function: str
    summary: str


GROUPS: Final[tuple[tuple[str, tuple[Command, ...]], ...]] = (
    (
        "Run",
        (
            Command("up", "up", "Run what a manifest asks for, and follow it to its end."),
            Command("dev", "dev", "Serve an orchestrator of this machine, for trying things out."),
            Command("server", "server", "Serve an orchestrator to the network."),
            Command("mcp", "mcp", "Give programs that talk to models tools for an orchestrator."),
            Command("apply", "apply", "Change what a running orchestrator is to run."),
            Command("scale", "scale", "Set the number of instances of a service, or go back to the file's."),
            Command("stop", "stop", "Stop a workload, and keep it; applying it starts it again."),
            Command("rm", "rm", "Stop a workload and forget it."),
        ),
    ),
    (
        "Look",
        (
            Command("status", "status", "Show workloads, their instances, and what happens next."),
            Command("logs", "logs", "Show what instances have written."),
            Command("events", "events", "Show what has happened."),
            Command("explain", "explain", "Say why instances are where they are, or nowhere."),
            Command("exec", "exec_", "Run a command inside an instance."),
        ),
    ),
    (
        "Check",
        (
            Command("validate", "validate", "Check manifests, and change nothing."),
            Command("plan", "plan", "Show what applying would change, and where instances would go."),
            Command("schema", "schema", "Print the JSON Schema of a manifest, for editors."),
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
    lines.append("`orchestrion COMMAND --help` tells more.")
    return "\n".join(lines)
