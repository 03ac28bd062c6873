"""The reference of the manifest for its authors, made from the same table as the loader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from orchestrion.shared_types._priority import DEFAULT_PRIORITY_CLASS, PRIORITY_CLASSES

from ._form import MANIFEST
from ._shape import UNSET
from ._shapes import Field, Record, records_in

_INTRO: Final = """\
# The manifest

A manifest says what runs. It is YAML 1.2 or JSON, in one document or several, in one file or in a folder (`*.yaml`,
`*.yml`, `*.json`, in the order of their names); all of it is applied together.

```yaml
workloads:
  hello:
    kind: batch
    containers:
      - name: main
        command: [echo, hello]
```

Everything is optional but the names and, for a container without an image, its command. Keys that are not listed
here are refused, with the nearest that is; so is a key that stands twice. A JSON Schema for editors is printed by
`orchestrion schema`.

## How values are written

- **Names** of namespaces, workloads, containers, ports and volumes are 1 to 63 lower-case letters, digits and inner
  hyphens.
- **Texts.** As YAML 1.2 says, `no`, `on` and `1:30` are texts, and `true`, `5` and `1e3` are not. In `command`,
  `args`, `env`, labels and similar places, numbers and `true` or `false` are taken exactly as they are written:
  `[sleep, 1.50]` has the argument `1.50`. Nothing (`A:` or `null`) is never a text; write `""` for an empty one.
- **Cores**: `0.5`, `500m` or `2`; `m` is a thousandth.
- **Bytes**: `1024`, `256Mi`, `1.5G`. `k`, `M`, `G`, `T`, `P` are powers of 1000; `Ki`, `Mi`, `Gi`, `Ti`, `Pi` are
  powers of 1024.
- **Durations**: `1s`, `500ms`, `2m`, `1h30m`, `1d`; a plain number is seconds. The longest is 366 days.
- Amounts are exact. A fraction of a byte or of a thousandth of a core is an error, as is anything negative.
- **Relative paths** in `working_dir` start from the folder of the file that they are written in.
- Anchors, aliases and `<<` merges of YAML may be used. A file is at most 1 MiB, nested at most 64 deep.

## Variables

`${NAME}` in `command`, `args`, `env` and `health` is replaced when an instance starts. `$$` is a dollar sign; a
dollar sign before anything else stays, so that `$HOME` is left to a shell. A name that is not known is an error
before anything runs.

| variable | what |
|---|---|
| `ORCHESTRION_WORKLOAD`, `ORCHESTRION_NAMESPACE` | the workload's name and namespace |
| `ORCHESTRION_INSTANCE`, `ORCHESTRION_NODE` | the instance's name, and its node |
| `ORCHESTRION_INDEX`, `ORCHESTRION_COUNT` | which it is, from 0, of how many; a service's may have gaps and be higher |
| `ORCHESTRION_EPOCH`, `ORCHESTRION_ATTEMPT` | how often it was placed, and how often restarted in place |
| `PORT_<NAME>` | the number of a port of the container |
| `VOLUME_<NAME>` | the path of a volume of the container |
| `CONFIG_<NAME>`, `SECRET_<NAME>` | the directory with the texts of a ConfigMap or a Secret that the container reads |
| `ORCHESTRION_ENDPOINTS_<WORKLOAD>_<PORT>` | the endpoints of a workload that this one comes `after` |
| what `inherit_env` names | from the runtime's own environment |
| what `env` sets | a value may refer to what stands above it; `PATH: /opt/bin:${PATH}` wants `PATH` inherited |

In the names of variables, letters are capitals and hyphens are `_`. `env` can't set the variables of the first
eight rows.

## Priority classes

| `priority_class` | `priority` | `preempts` | for |
|---|---|---|---|
{classes}

## What goes together

- `replicas` is for services; `completions`, `parallelism`, `retries` and `deadline` are for batch; `update` is not
  for batch; `restart: always` is not for batch.
- `after: {X: succeeded}` needs a batch workload X, `after: {X: healthy}` needs any other kind. Cycles are refused.
- A mount names a volume of its workload or of the manifest. Workloads that name the same shared volume share it.
- A name of a port is used once in a workload, and so is a number.
- A fixed number of a port is there once on each node. It is accepted for several replicas, with a warning: on one
  node they can't all run, and an update with `max_surge` above 0 can't start the new instance beside the old one.
- What a container reads of a Secret may be in its `env`, and in a variable that `env` makes of it, but not in
  `command`, `args` or `health`, which others can see.
- A limit is not below its request.
- `canary` is for services, and not above `replicas`.
- `gang` is not above `replicas` or `completions`, and at most 120; `all` takes no more of those. It takes a
  `parallelism` of all completions, or none.
- `priority_class` stands for a `priority` and for whether it `preempts`; what is written beside it must say the same.
- A process (a container without an image) sees volumes and ports where the host has them: `path` and
  `container_port` are for images.
"""


def reference() -> str:
    """Return the reference as Markdown."""
    parts = [_INTRO.replace("{classes}", "\n".join(_classes())), "## Keys\n"]
    parts += [_section(record) for record in records_in(MANIFEST)]
    return "\n".join(parts)


def _classes() -> Iterator[str]:
    for each in PRIORITY_CLASSES:
        default = " (the default)" if each == DEFAULT_PRIORITY_CLASS else ""
        preempts = str(each.preempts).lower()
        yield f"| `{each.name}`{default} | {each.value} | {preempts} | {_cell(each.description)} |"


def _section(record: Record) -> str:
    lines = [f"### {record.name.replace('_', ' ')}\n", f"{record.about}\n"]
    if record.example:
        lines.append(f"```yaml\n{record.example}```\n")
    lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{field.key}` | {field.shape.words} | {_default(record, field)} | {_cell(field.about)} |"
        for field in record.fields
    ]
    return "\n".join(lines) + "\n"


def _default(record: Record, field: Field) -> str:
    if field.required:
        return "**required**"
    default = record.defaults[field.key]
    if default is UNSET or default is None:
        return ""
    plain = field.shape.write(default)
    if plain in ({}, [], ""):
        return ""
    return f"`{plain if isinstance(plain, str) else json.dumps(plain)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
