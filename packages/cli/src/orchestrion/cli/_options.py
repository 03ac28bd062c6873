"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from ._arguments import Argument

FormChoice = Literal["table", "wide", "json", "jsonl", "yaml", "name"]
"""How data is written."""

JSONPATH = "jsonpath="
"""What a template of paths begins with, as a form."""


class Expression(str):
    """A template of paths into the data, as `jsonpath={.metadata.name}`; see `_jsonpath`."""

    __slots__ = ()

    def __new__(cls, text: str) -> Expression:
        """Take what was typed.

        Raises:
            ValueError: It is none.
        """
        if not text.startswith(JSONPATH) or text == JSONPATH:
            msg = f"{text!r:.80} is none of {', '.join(get_args(FormChoice))}, {JSONPATH}TEMPLATE"
            raise ValueError(msg)
        return super().__new__(cls, text)

    @property
    def template(self) -> str:
        """What is behind the name."""
        return self.removeprefix(JSONPATH)


State = Annotated[
    Path | None,
    Argument(
        ("--state", "-s"), "State directory.", variable="ORCHESTRION_STATE", default=".orchestrion", is_directory=True
    ),
]
Context = Annotated[
    str | None,
    Argument(
        ("--context", "-C"),
        "A server that `login` made known; local is the state directory.",
        variable="ORCHESTRION_CONTEXT",
    ),
]
Namespace = Annotated[
    str | None, Argument(("--namespace", "-n"), "Its namespace; unless given, the context's.", default="default")
]
FileNamespace = Annotated[
    str | None,
    Argument(
        ("--namespace", "-n"),
        "Where that is which names no namespace; what names another one is refused.",
    ),
]
AnyNamespace = Annotated[
    str | None, Argument(("--namespace", "-n"), "Only this namespace; * is all, also where the context names one.")
]
OutputForm = Annotated[
    FormChoice | Expression, Argument(("--output", "-o"), "How the data is written; jsonpath='{.metadata.name}' alike.")
]
Manifest = Annotated[
    Path,
    Argument(("FILE",), "A manifest, a directory of manifests, or - for stdin.", dash="/dev/stdin"),
]
Subject = Annotated[str, Argument(("NAME",), "A workload, or an instance such as web.0.", is_subject=True)]
WorkloadName = Annotated[str, Argument(("NAME",), "A workload.", is_subject=True)]
Follow = Annotated[bool, Argument(("--follow", "-f"), "Go on as more comes.")]
Container = Annotated[str | None, Argument(("--container", "-c"), "Only this container.")]
PLUGIN = "A plug-in, or NAME=MODULE:FACTORY."
Host = Annotated[str, Argument(("--host",), "A name or address of this machine to listen at.")]
Yes = Annotated[bool, Argument(("--yes", "-y"), "Do not ask.")]
Wait = Annotated[bool, Argument(("--wait",), "Wait until nothing runs any more.", can_be_denied=True)]
DryRun = Annotated[bool, Argument(("--dry-run",), "Check everything, say what would change, and change nothing.")]
