"""The form of resources and limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
from orchestrion.shared_types._finding import Path
from orchestrion.shared_types._resources import MAX_AMOUNT, WHOLE_DEVICE, GpuRequest, Resources
from orchestrion.shared_types._suggest import unknown

from ._nodes import Node, Scalar
from ._scalars import Text, Whole
from ._shape import INVALID, Reader, Schema
from ._shapes import Field, Forms, Mapped, Record, Table
from ._terms import (
    BYTES,
    CPU,
    KEY,
    TEXT,
    is_but,
)

_RESOURCE_PATTERN: Final = "[a-zA-Z0-9](?:[-._a-zA-Z0-9]*[a-zA-Z0-9])?/[a-zA-Z0-9](?:[-._a-zA-Z0-9]*[a-zA-Z0-9])?"


def _gpu(thousandths: int) -> GpuRequest | None:
    if thousandths == 0:
        return None
    if thousandths % WHOLE_DEVICE == 0:
        return GpuRequest(count=thousandths // WHOLE_DEVICE)
    if thousandths > WHOLE_DEVICE:
        msg = "ask for whole devices, or for a share of one below 1"
        raise ValueError(msg)
    return GpuRequest(thousandths=thousandths)


def _gpu_amount(gpu: GpuRequest | None) -> int:
    return 0 if gpu is None else gpu.count * WHOLE_DEVICE + gpu.thousandths


def _gpu_record(**attributes: Any) -> GpuRequest:
    if "count" not in attributes and "thousandths" not in attributes:
        attributes["count"] = 1
    return GpuRequest(**attributes)


def _share(thousandths: int) -> int:
    if not 0 < thousandths < WHOLE_DEVICE:
        msg = "a share is above 0 and below 1"
        raise ValueError(msg)
    return thousandths


_GPU = Record(
    "gpu",
    [
        Field("count", Whole(0, MAX_AMOUNT // WHOLE_DEVICE), "Whole devices; 1 where there is no share."),
        Field("share", Mapped(CPU, _share), "A share of one device, such as 0.25.", "thousandths"),
        Field("model", TEXT, "The device's model must contain this text, in any case of letters."),
        Field("memory", BYTES, "Least memory of each device.", "memory_bytes"),
        Field(
            "capability",
            Text("a compute capability such as 8.0", pattern=r"[0-9]+(?:\.[0-9]+)*", numbers=True),
            "Least compute capability of each device.",
        ),
    ],
    _gpu_record,
    kind=GpuRequest,
    about="GPUs: whole ones, or a share of one. A number alone says how many, or which share.",
    example="resources: {gpu: {count: 2, model: A100, memory: 40Gi}}\n",
)
_GPU_FORM = Forms(
    Mapped(CPU, _gpu, _gpu_amount),
    _GPU,
    choose=lambda gpu: 0 if gpu is None or is_but(gpu, GpuRequest, count="count", thousandths="thousandths") else 1,
)
_AMOUNTS = [
    Field("cpu", CPU, "Cores.", "cpu_millicores"),
    Field("memory", BYTES, "Memory.", "memory_bytes"),
    Field("disk", BYTES, "Disk.", "disk_bytes"),
    Field(
        "extended",
        Table(KEY, Whole(0, MAX_AMOUNT)),
        "Any other countable resource by name. One whose name has a slash can also stand beside cpu and memory.",
    ),
]


_SLASHED: Final = re.compile(_RESOURCE_PATTERN)
_SLASHED_KEY: Final = "with_slash"


class _ResourceRecord(Record):
    """Resources, among which a name with a slash is one of the author's own."""

    def read_other(
        self, key: str, place: Scalar, item: Node, path: Path, reader: Reader, values: dict[str, Any]
    ) -> bool:
        """See `Record`."""
        if _SLASHED.fullmatch(key) is None:
            known = [field.key for field in self.fields]
            reader.fail(
                place,
                (*path, key),
                f"{unknown('resource', key, known)} (one of your own is written extended: {{{key:.40}: 1}})",
            )
            return False
        amount = Whole(0, MAX_AMOUNT).read(item, (*path, key), reader)
        if amount is INVALID:
            return False
        values.setdefault(_SLASHED_KEY, {})[key] = amount
        return True

    def _described(self, definitions: dict[str, Schema]) -> Schema:
        amount = Whole(0, MAX_AMOUNT).schema(definitions)
        return {**super()._described(definitions), "patternProperties": {f"^{_RESOURCE_PATTERN}$": amount}}


def _resources(**attributes: Any) -> tuple[Resources, GpuRequest | None]:
    gpu = attributes.pop("gpu", None)
    extended = {**attributes.pop("extended", {}), **attributes.pop(_SLASHED_KEY, {})}
    return Resources(**attributes, extended=extended), gpu


def _split_resources(pair: tuple[Resources, GpuRequest | None]) -> Mapping[str, Any]:
    return {**attrs.asdict(pair[0], recurse=False), "gpu": pair[1]}


REQUESTS = _ResourceRecord(
    "resources",
    [*_AMOUNTS, Field("gpu", _GPU_FORM, "GPUs: a number, or a mapping.", default=None)],
    _resources,
    kind=Resources,
    split=_split_resources,
    about="What the scheduler reserves and the container is promised.",
    example="resources: {cpu: 500m, memory: 64Mi, gpu: 0.5, extended: {licences: 1}}\n",
)
LIMITS = _ResourceRecord(
    "limits",
    _AMOUNTS,
    lambda **attributes: _resources(**attributes)[0],
    kind=Resources,
    about="What the container may use at most; what is not named, or 0, is unlimited.",
    example="limits: {cpu: 2, memory: 256Mi}\n",
)
