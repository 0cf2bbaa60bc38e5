"""What a server is told to serve: a resolved list, written by `control`, read by `serving`.

The server never sees the registry. The list is JSON (core.codec), replaced by atomic rename;
`generation` rises with every change.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from modelworks.core import codec
from modelworks.core.by_rows import BY_ROWS
from modelworks.core.caching import AnswerCache
from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.files import replace_text
from modelworks.core.graphs import GRAPH
from modelworks.core.instances import Instances
from modelworks.core.native import NATIVE
from modelworks.core.ragged import Ragged
from modelworks.core.records import RecordPolicy
from modelworks.core.stateful import Sequences
from modelworks.core.tensor import Signature

ENGINES = {
    "onnx": "onnxruntime",
    "tflite": "litert",
    "openvino-ir": "openvino",
    "trees": "trees",
    BY_ROWS: "by_rows",
    "cascade": "cascade",
    "stages": "stages",
    "genai": "genai",
    "gguf": "llamacpp",
    "decoder": "vllm",
    NATIVE: "native",
    GRAPH: GRAPH,
}
"""Artifact format -> the engine that serves what was imported; a variant says its own. A graph has
none: the server itself leads requests through the engines of its models."""


BATCHING_BOUNDS = {
    "max_batch_size": (1, 65_536),
    "max_queue_size": (1, 10_000_000),
    "max_delay_ms": (0, 60_000),
    "priority_levels": (1, 32),
    "timeout_ms": (0, 86_400_000),
    "latency_goal_ms": (0, 3_600_000),
}
"""What `Batching` takes, both ends included."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How one model's requests share engine calls.

    Attributes:
        max_batch_size: items (rows) in one engine call; 1 turns batching off.
        max_queue_size: items waiting at most; more are answered 503.
        max_delay_ms: how long an idle engine may wait for a batch to fill; 0 = it never waits. With
            a latency goal the longest delay that may be learnt; 0 = half of the goal.
        priority_levels: requests may say `priority` 1 (first) to this; who says nothing is of the
            last level. 1 = all are equal, whatever they say.
        timeout_ms: of requests that bring no `timeout` of their own; 0 = they wait for ever.
        latency_goal_ms: batch size and delay are learnt, within the limits above, so that 99 of
            100 requests are answered within it; 0 = nothing is learnt.
    """

    max_batch_size: int = 64
    max_queue_size: int = 4096
    max_delay_ms: float = 0.0
    priority_levels: int = 1
    timeout_ms: float = 0.0
    latency_goal_ms: float = 0.0

    def check(self, where: str = "") -> None:
        """Refuse what cannot be.

        Args:
            where: stands before the field's name in errors (`models[0].batching`).

        Raises:
            InvalidError: a value out of its bounds; `field` names it.
        """
        for name, (lowest, highest) in BATCHING_BOUNDS.items():
            value = getattr(self, name)
            if not lowest <= value <= highest:  # NaN is out of all bounds
                path = f"{where}.{name}".lstrip(".")
                raise InvalidError(
                    f"{path}: {value} is not from {lowest:g} to {highest:g}", field=path
                )


class Isolation(StrEnum):
    """Where a model's engine runs."""

    THREAD = "thread"  # in the server's process
    PROCESS = "process"  # in one of its own: it can be ended, and all its memory comes back


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One version to serve.

    Attributes:
        name: of the model.
        version: `1.4.0`.
        path: the model file, or the folder that holds it, on this machine.
        digest: of the artifact; checked by whoever put it at `path`.
        format: `onnx`.
        engine: entry-point name.
        signature: as registered; None = take the engine's own.
        default: answers requests that name no version. Exactly one a model.
        aliases: other names of this version: `/v2/models/fraud@champion/infer`.
        autoload: load at start; otherwise on request by the repository API.
        batching: its limits.
        trusted: the owner vouched for it, as the version's evidence says.
        interpreter: Python of the environment that a native model needs; empty = the server's.
        isolation: where its engine runs; a native model always has a process of its own.
        pinned: never unloaded to make room for another model.
        ragged: the axis along which requests differ in length; None = as the signature says.
        records: which of its requests are recorded, where the server keeps records; None = as the
            server's own settings say.
        revision: of the deployment, `fraud/3`; empty = it is served without one.
        variant: which form of the version it is; empty = the source form.
        tenant: who owns it.
        background: a file of plain rows (JSON) that requests are explained against; empty = none
            are explained.
        engine_options: the engine's own settings; one that it does not know is refused at load.
        cache: answers are kept and given again; None = each is computed.
        sequences: it remembers from one request of a sequence to the next; None = it does not.
        instances: devices, and copies of the model there that answer side by side; empty = one, as
            `engine_options` say.
    """

    name: str
    version: str
    path: str
    digest: str
    format: str = "onnx"
    engine: str = "onnxruntime"
    signature: Signature | None = None
    default: bool = True
    aliases: tuple[str, ...] = ()
    autoload: bool = True
    batching: Batching = Batching()
    trusted: bool = False
    interpreter: str = ""
    isolation: Isolation = Isolation.THREAD
    pinned: bool = False
    ragged: Ragged | None = None
    records: RecordPolicy | None = None
    revision: str = ""
    variant: str = ""
    tenant: str = "default"
    background: str = ""
    engine_options: dict[str, str] = field(default_factory=dict)
    cache: AnswerCache | None = None
    sequences: Sequences | None = None
    instances: tuple[Instances, ...] = ()

    @property
    def ref(self) -> str:
        """`fraud:1.4.0`, or `fraud:1.4.0#int8`."""
        form = f"#{self.variant}" if self.variant else ""
        return f"{self.name}:{self.version}{form}"


@dataclass(frozen=True, slots=True)
class ServedList:
    """Everything one server may serve."""

    generation: int
    models: tuple[ServedModel, ...]
    schema: int = 1


def read_served(path: Path) -> ServedList:
    """The list at `path`.

    Raises:
        NotFoundError: no such file.
        InvalidError: not a list of this schema.
    """
    try:
        data: Any = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFoundError(f"no served list at {path}") from error
    except ValueError as error:
        raise InvalidError(f"{path} is no JSON: {error}") from error
    return codec.decode(ServedList, data)


def write_served(path: Path, served: ServedList) -> None:
    """Replace the list at `path` atomically: a reader sees the old one or the new one."""
    replace_text(path, json.dumps(codec.encode(served), indent=1))
