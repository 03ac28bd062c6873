"""How a command line may go on: what the completion scripts of shells ask for at each press of a key.

It imports nothing that takes time: an answer has to be there before the user's next key.
"""

from __future__ import annotations

import json
import os
import re
import socket
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from ._arguments import Taken, taken_by
from ._commands import COMMANDS, NO_COLOR, Command, command_of, commands_under, leading, name_first
from ._kinds import BUILT_IN, KINDS, OTHER_RESOURCES, VERBS, KindName, known_kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

SECONDS: Final = 0.5
"""How long an orchestrator may take to answer; without an answer there are no names."""

FILES: Final = ":files"
"""Said to a script for: what files there are, the shell knows better."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9][\w./:@=,+-]*|--?[\w-]+(=[A-Za-z0-9][\w./:@=,+-]*)?", re.ASCII)
"""What is offered: a name that comes from somewhere else, and that a shell would take for an order, is not."""

_MAX_BYTES: Final = 16 * 1024 * 1024
_ENDED: Final = ("Succeeded", "Failed", "Lost")
_WORKLOADS: Final = next(kind for kind in KINDS if kind.kind == "Workload")
_NAMESPACES: Final = next(kind for kind in KINDS if kind.kind == "Namespace")
_VALUE_OPTIONS: Final = {
    "--node": "NODE",
    "--namespace": "namespaces",
    "--only-namespace": "namespaces",
    "--context": "contexts",
    "--container": "containers",
}
_FEW: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("wait", "--for"): ("done", "exists", "deleted"),
    ("events", "--types"): ("Normal", "Warning"),
    ("token create", "--kind"): ("user", "service", "node", "workload"),
    ("auth can-i", "VERB"): VERBS,
}
"""The words of which there are a few, by command and what takes them; others may be possible besides."""

_WITH_COMMAS: Final = ("--types",)
"""The options that take several words with commas between."""

_SHOWS_BUILT_IN: Final = ("get", "describe")
"""The commands to which what is there from the start is an object as any other."""

_LEADING: Final = {"--context": "contexts", "-C": "contexts", "--namespace": "namespaces", "-n": "namespaces"}
"""What the values are of options that may stand before a command's name."""


def complete(words: Sequence[str], /) -> int:
    """Print how a command line may go on, one possibility a line. What goes wrong prints nothing.

    Args:
        words: What stands behind `orchestrion`; the last one is being typed, and may be empty.
    """
    *before, current = words or [""]
    if current == "=":  # bash gives `--output=json` as three words
        current = ""
    elif before[-1:] == ["="]:
        before.pop()
    try:
        found = sorted(set(candidates(before, current)))
        fitting = [one for one in found if one.startswith(current) and _PLAIN.fullmatch(one)]
        for candidate in fitting or [one for one in found if one == FILES]:
            print(candidate)
    except Exception:  # noqa: S110 - a traceback in the middle of a command line helps nobody
        pass
    return 0


def candidates(before: Sequence[str], current: str, /) -> Iterable[str]:
    """Return what may stand next, of which some may not begin with what is typed."""
    if "--" in before:
        return [FILES]
    before = [word for word in before if word != NO_COLOR]
    named = name_first(before)
    command = command_of(named)
    if command is None:
        if leading(before) > len(before):
            return _SOURCES[_LEADING[before[-1]]](before, ()) if before[-1] in _LEADING else [FILES]
        return _names_of_commands(before[leading(before) :])
    before = named
    typed = list(before[len(command.name.split()) :])
    taken = list(taken_by(command.load()))
    option = _waiting(typed, taken)
    if option is not None:
        return _option_values(option, command, typed, taken, current)
    name, given, value = current.partition("=")
    if given and name.startswith("--"):
        option = next((one for one in taken if name in one.argument.names and not one.is_flag), None)
        values = [] if option is None else _option_values(option, command, typed, taken, value)
        return [value if value == FILES else f"{name}={value}" for value in values]
    if current.startswith("-"):
        return [*(name for one in taken for name in _options_of(one)), NO_COLOR]
    places = [one for one in taken if one.argument.goes_by_place]
    placed = _placed(typed, taken)
    if not places or (len(placed) >= len(places) and not places[-1].is_several):
        return []
    place = places[min(len(placed), len(places) - 1)]
    if place.argument.names[0] == "KIND" and "/" in current:
        kind = current.partition("/")[0]
        return [f"{kind}/{name}" for name in _objects_for(command, [*typed, kind], taken)]
    if place.argument.names[0] in ("FROM", "TO") and _is_inside(current):
        return []
    return _values(place, command, typed, taken)


def _names_of_commands(before: Sequence[str]) -> Iterable[str]:
    if not before:
        return [*(command.name.split()[0] for command in COMMANDS), "help"]
    if len(before) == 1:
        return [command.name.split()[1] for command in commands_under(before[0])]
    return []


def _options_of(one: Taken) -> Iterator[str]:
    for name in one.argument.names:
        if name.startswith("--"):
            yield name
            if one.argument.can_be_denied:
                yield f"--no-{name.removeprefix('--')}"


def _waiting(typed: Sequence[str], taken: Sequence[Taken]) -> Taken | None:
    """Return the option whose value comes next."""
    if not typed:
        return None
    return next((one for one in taken if typed[-1] in one.argument.names and not one.is_flag), None)


def _placed(typed: Sequence[str], taken: Sequence[Taken]) -> list[str]:
    """Return what was typed that goes by its place."""
    takes_value = {name for one in taken if not one.is_flag for name in one.argument.names}
    given, skip = [], False
    for word in typed:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in takes_value
        else:
            given.append(word)
    return given


def _option_values(
    one: Taken, command: Command, typed: Sequence[str], taken: Sequence[Taken], current: str
) -> Iterable[str]:
    """Return the values of an option, behind those that were typed already where it takes several."""
    before, comma, _ = current.rpartition(",")
    front = before + comma if one.argument.names[0] in _WITH_COMMAS else ""
    return [f"{front}{value}" for value in _values(one, command, typed, taken)]


def _values(one: Taken, command: Command, typed: Sequence[str], taken: Sequence[Taken]) -> Iterable[str]:
    if one.choices:
        return one.choices
    name = one.argument.names[0]
    if (command.name, name) in _FEW:
        return _FEW[command.name, name]
    if name in _VALUE_OPTIONS:
        name = _VALUE_OPTIONS[name]
    if name == "OBJECT":
        return _objects_for(command, typed, taken)
    found = _SOURCES.get(name)
    if found is not None:
        return found(typed, taken)
    return [FILES] if "Path" in str(one.parameter.annotation) else []


def _kind_names(typed: Sequence[str], _taken: Sequence[Taken]) -> Iterable[str]:
    return [kind.plural for kind in (*KINDS, *_own_kinds(typed))]


def _resources(typed: Sequence[str], taken: Sequence[Taken]) -> Iterable[str]:
    return [*_kind_names(typed, taken), *OTHER_RESOURCES]


def _own_kinds(typed: Sequence[str]) -> list[KindName]:
    """Return the kinds that the orchestrator has, of which users have defined some; none where it does not tell."""
    try:
        found = _asked("/api/v1", typed)["resources"]
        return [KindName(str(one["name"]), str(one["kind"]), bool(one["namespaced"])) for one in found]
    except Exception:  # whoever does not answer: the kinds that there always are can be completed
        return []


def _workloads(typed: Sequence[str], _taken: Sequence[Taken]) -> Iterable[str]:
    return _named(_WORKLOADS, typed)


def _instances(typed: Sequence[str], _taken: Sequence[Taken]) -> Iterable[str]:
    found = _asked(f"/v1/instances?namespace={_space(typed)}", typed)
    alive = [one for one in found if one.get("status", {}).get("state") not in _ENDED]
    return [*_named(_WORKLOADS, typed), *(f"{one['workload']}.{one['key']['index']}" for one in alive)]


def _nodes(typed: Sequence[str], _taken: Sequence[Taken]) -> Iterable[str]:
    return [str(one["name"]) for one in _asked("/v1/nodes", typed)]


def _objects_for(command: Command, typed: Sequence[str], taken: Sequence[Taken]) -> Iterable[str]:
    text = _placed(typed, taken)[1 if command.name == "auth can-i" else 0]
    kind = known_kind(text) or known_kind(text, _own_kinds(typed))
    if kind is None:
        return []
    names = _named(kind, typed)
    return [*names, *_built_in(kind, typed)] if command.name in _SHOWS_BUILT_IN and kind.kind in BUILT_IN else names


def _built_in(kind: KindName, typed: Sequence[str]) -> list[str]:
    """Return the names of what is there of a kind from the start; none where the orchestrator does not tell."""
    try:
        items = _asked("/api/v1/built-in", typed)["items"]
        return [str(one["metadata"]["name"]) for one in items if one["kind"] == kind.kind]
    except Exception:  # whoever does not know of any: what there is besides can be completed
        return []


def _tokens(typed: Sequence[str], _taken: Sequence[Taken]) -> Iterable[str]:
    return [str(one["id"]) for one in _asked("/api/v1/tokens", typed)["items"]]


def _copied(typed: Sequence[str], taken: Sequence[Taken]) -> Iterable[str]:
    """Return where files are: here, or, if neither place was said to be one yet, in an instance."""
    there = any(":" in word for word in _placed(typed, taken))
    return [FILES] if there else [*(f"{name}:" for name in _instances(typed, taken)), FILES]


def _is_inside(path: str) -> bool:
    """Whether a path is in an instance, where nobody looks for files at a press of a key."""
    head, colon, _ = path.partition(":")
    return bool(colon) and "/" not in head


def _parts(typed: Sequence[str], taken: Sequence[Taken], part: str) -> Iterable[Any]:
    """Return the parts of a kind of all containers of the workload that the command line is about."""
    text = next(iter(_placed(typed, taken)), "")
    workload = text.rpartition("/")[2].partition(":")[0].partition(".")[0]
    views = _asked(f"/v1/workloads?namespace={_space(typed)}", typed)
    found = [view["definition"] for view in views if view["definition"]["metadata"]["name"] == workload]
    return [one.get(part) for definition in found for one in definition["containers"]]


def _containers(typed: Sequence[str], taken: Sequence[Taken]) -> Iterable[str]:
    return map(str, _parts(typed, taken, "name"))


def _ports(typed: Sequence[str], taken: Sequence[Taken]) -> Iterable[str]:
    return [str(port["name"]) for ports in _parts(typed, taken, "ports") for port in ports or ()]


def _spaces(typed: Sequence[str], _taken: Sequence[Taken]) -> Iterable[str]:
    return _named(_NAMESPACES, typed)


def _contexts(_typed: Sequence[str], _taken: Sequence[Taken]) -> Iterable[str]:
    from ._contexts import LOCAL, load

    return [*load().known, LOCAL]


_SOURCES: Final[dict[str, Callable[[Sequence[str], Sequence[Taken]], Iterable[str]]]] = {
    "KIND": _kind_names,
    "RESOURCE": _resources,
    "NAME": _workloads,
    "INSTANCE": _instances,
    "NODE": _nodes,
    "TOKEN": _tokens,
    "FROM": _copied,
    "TO": _copied,
    "CONTEXT": _contexts,
    "namespaces": _spaces,
    "contexts": _contexts,
    "containers": _containers,
    "PORT": _ports,
}


def _named(kind: KindName, typed: Sequence[str]) -> list[str]:
    """Return the names of objects that there are."""
    space = _space(typed)
    if kind.plural == "workloads":
        views = _asked(f"/v1/workloads?namespace={space}", typed)
        return [str(view["definition"]["metadata"]["name"]) for view in views]
    items = _asked(kind.collection(space), typed)["items"]
    if kind.plural == "nodes":
        # By what people call them; those that are called alike, by their ids.
        called = [str(one["spec"].get("name", "")) for one in items]
        return [
            name if name and called.count(name) == 1 else str(one["metadata"]["name"])
            for one, name in zip(items, called, strict=True)
        ]
    return [str(one["metadata"]["name"]) for one in items]


def _space(typed: Sequence[str]) -> str:
    return _option(typed, "--namespace", "-n") or _space_of_context(typed) or "default"


def _space_of_context(typed: Sequence[str]) -> str:
    """Return the namespace of the context that the command line is about, or "" where it has none of its own."""
    name, environment = _option(typed, "--context", "-C"), os.environ
    if not name:
        if _option(typed, "--state", "-s") or environment.get("ORCHESTRION_URL"):
            return ""
        name = environment.get("ORCHESTRION_CONTEXT", "")
    if not name and environment.get("ORCHESTRION_STATE"):
        return ""
    written = _written_contexts()
    context = written.get("contexts", {}).get(name or written.get("current"), {})
    return str(context.get("namespace", ""))


def _option(typed: Sequence[str], *names: str) -> str:
    """Return the value of an option, which stands behind its name: in the next word, or in the same one after `=`."""
    for name, value in pairwise((*typed, "")):
        if name in names:
            return value
        front, equals, rest = name.partition("=")
        if equals and front in names:
            return rest
    return ""


def _asked(target: str, typed: Sequence[str]) -> Any:
    """Return what the orchestrator answers that the command line is about."""
    state, context = _option(typed, "--state", "-s"), _option(typed, "--context", "-C")
    if not state and context != "local":
        remote = _asked_of_server(target, context)
        if remote is not None:
            return remote
    folder = Path(state or os.environ.get("ORCHESTRION_STATE") or ".orchestrion")
    return _asked_at_socket(folder / "control.sock", target)


def _asked_of_server(target: str, context: str) -> Any:
    """Return what a server answers, or None where the command line is about the state directory."""
    environment = os.environ
    named = context or environment.get("ORCHESTRION_URL") or environment.get("ORCHESTRION_CONTEXT")
    if not named and environment.get("ORCHESTRION_STATE"):
        return None
    if not named and not _written_contexts().get("current"):
        return None
    import trio
    from orchestrion.control_plane import ApiClient

    from ._places import RemoteServer, place_of
    from ._where import Where

    place = place_of(Where(context=context or None))
    if not isinstance(place, RemoteServer):
        return None
    path, _, query = target.partition("?")
    parameters = dict(part.split("=", 1) for part in query.split("&") if part)

    async def ask() -> Any:
        with trio.fail_after(4 * SECONDS):
            return (await ApiClient(place.peer).ask("GET", path, query=parameters)).data

    return trio.run(ask)


def _written_contexts() -> dict[str, Any]:
    """Return what the file of contexts says, unchecked; nothing where it can't be read."""
    import tomllib

    from ._where import CONTEXTS_FILE, settings_folder

    try:
        return tomllib.loads((settings_folder() / CONTEXTS_FILE).read_text())
    except (OSError, ValueError):
        return {}


def _asked_at_socket(path: Path, target: str) -> Any:
    """Ask the owner of a state directory: the few lines of HTTP/1.0 that this takes, because no client is as quick."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(SECONDS)
        peer.connect(os.fspath(path))
        peer.sendall(f"GET {target} HTTP/1.0\r\nHost: orchestrion\r\n\r\n".encode())
        answer = bytearray()
        while len(answer) < _MAX_BYTES and (data := peer.recv(65536)):
            answer += data
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1] != b"200":
        return {"items": ()} if target.startswith("/api/") else ()
    return json.loads(body)


_BASH: Final = """\
# Completion of orchestrion for bash.
_orchestrion() {
    local IFS=$'\\n' rest=$COMP_LINE current=${COMP_WORDS[COMP_CWORD]} word front found
    local -a words=()
    # COMP_WORDS is parted at each of COMP_WORDBREAKS, of which "=" and ":" are within words of ours.
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ ${#words[@]} -gt 0 && -n $word && $rest == "$word"* ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        rest=${rest#*"$word"}
    done
    [[ $current == *[!=:]* ]] || current=
    word=${words[${#words[@]}-1]}
    front=${word%"$current"}
    found=$(orchestrion __complete "${words[@]:1}" 2>/dev/null)
    if [[ $found == *":files"* ]]; then
        COMPREPLY=($(compgen -f -- "$current"))
        compopt -o filenames 2>/dev/null
    else
        COMPREPLY=($found)
        COMPREPLY=("${COMPREPLY[@]#"$front"}")
        [[ ${COMPREPLY[0]-} == *: ]] && compopt -o nospace 2>/dev/null
    fi
}
complete -F _orchestrion orchestrion
"""

_ZSH: Final = """\
#compdef orchestrion
# Completion of orchestrion for zsh.
_orchestrion() {
    local -a found
    found=("${(@f)$(orchestrion __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if (( ${found[(Ie):files]} )); then
        [[ $PREFIX == --*=* ]] && compset -P '*='
        _files
    else
        compadd -- $found
    fi
}
if [[ $funcstack[1] == _orchestrion ]]; then _orchestrion "$@"; else compdef _orchestrion orchestrion; fi
"""

_FISH: Final = """\
# Completion of orchestrion for fish.
function __orchestrion_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l found (orchestrion __complete $words[2..-1] 2>/dev/null)
    if contains -- :files $found
        set -l front (string match -r -- '^--[^=]*=' (commandline -ct); or echo)
        for path in (__fish_complete_path (string replace -r -- '^--[^=]*=' '' (commandline -ct)))
            printf '%s\\n' "$front$path"
        end
    else
        printf '%s\\n' $found
    end
end
complete -c orchestrion -f -a '(__orchestrion_complete)'
"""

SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
"""By shell what makes it ask for how a command line may go on."""
