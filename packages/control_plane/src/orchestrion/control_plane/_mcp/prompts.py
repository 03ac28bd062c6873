"""Prompts: beginnings of conversations that users choose."""

from __future__ import annotations

from typing import Any, Final

import trio
from attrs import frozen

from .messages import INVALID_PARAMS, RpcError

_MAX_CHARS: Final = 10_000


@frozen(kw_only=True)
class _Prompt:
    name: str
    title: str
    description: str
    arguments: tuple[tuple[str, str, bool], ...]
    """Name, description, and whether it has to be given."""
    text: str
    """With `{name}` for arguments."""


_PROMPTS: Final = {
    prompt.name: prompt
    for prompt in (
        _Prompt(
            name="diagnose_workload",
            title="Diagnose a workload",
            description="Finds out why a workload is not doing what it should.",
            arguments=(
                ("name", "The workload's name.", True),
                ("namespace", "Its namespace; default without it.", False),
            ),
            text="Find out why the workload {name!r} in namespace {namespace!r} is not doing what it should. Look at "
            "it with get_workload; where instances wait for a place, use explain_workload; where they fail or restart, "
            "read get_logs, with previous for what came before a restart, and list_events for its subject. Change "
            "nothing. Say what is wrong, what shows it, and the smallest change that would help.",
        ),
        _Prompt(
            name="deploy_workload",
            title="Deploy a workload",
            description="Writes a manifest, plans it and, once agreed upon, applies it.",
            arguments=(("description", "What is to run.", True),),
            text="Write an Orchestrion manifest for this: {description}\nShow it, and what plan_workloads says about "
            "it. Apply it with apply_workloads only after I have agreed, and then follow it with get_workload until it "
            "is Healthy or has ended, or say why it can't be.",
        ),
        _Prompt(
            name="review_cluster",
            title="Review the cluster",
            description="Looks over the cluster and tells what needs somebody's care.",
            arguments=(),
            text="Look over the cluster: get_cluster_status, list_nodes, list_workloads, and list_events with "
            "warnings. Change nothing. Tell what needs somebody's care, the most urgent first, each with what shows "
            "it.",
        ),
    )
}

_DEFAULTS: Final = {"namespace": "default"}


async def list_prompts() -> dict[str, Any]:
    """Return all prompts."""
    await trio.lowlevel.checkpoint()
    return {
        "prompts": [
            {
                "name": prompt.name,
                "title": prompt.title,
                "description": prompt.description,
                "arguments": [
                    {"name": name, "description": about, "required": required}
                    for name, about, required in prompt.arguments
                ],
            }
            for prompt in _PROMPTS.values()
        ]
    }


async def get_prompt(name: str, arguments: Any) -> dict[str, Any]:
    """Return a prompt with its arguments filled in.

    Raises:
        RpcError: There is none of that name, or the arguments do not fit.
    """
    await trio.lowlevel.checkpoint()
    prompt = _PROMPTS.get(name)
    if prompt is None:
        raise RpcError(INVALID_PARAMS, f"there is no prompt {name!r:.80}")
    if not isinstance(arguments, dict):
        raise RpcError(INVALID_PARAMS, "arguments: an object is wanted")
    known = {each: required for each, _, required in prompt.arguments}
    for each, given in arguments.items():
        if each not in known:
            raise RpcError(INVALID_PARAMS, f"arguments.{each:.80}: it is not known")
        if not isinstance(given, str) or len(given) > _MAX_CHARS:
            raise RpcError(INVALID_PARAMS, f"arguments.{each}: a text of at most {_MAX_CHARS} characters is wanted")
    missing = [each for each, required in known.items() if required and not arguments.get(each)]
    if missing:
        raise RpcError(INVALID_PARAMS, f"arguments.{missing[0]}: it is missing")
    text = prompt.text.format_map({**_DEFAULTS, **arguments})
    return {
        "description": prompt.description,
        "messages": [{"role": "user", "content": {"type": "text", "text": text}}],
    }
