"""The Open Inference Protocol's documents beside inference: metadata, health, index, statistics.

Plain values in, JSON bytes out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from modelworks.core.codec import encode
from modelworks.core.errors import InvalidError
from modelworks.core.steps import InputSteps
from modelworks.core.tensor import Signature, TensorSpec
from modelworks.protocol.oip.parameters import object_of
from modelworks.protocol.tensors import shown

_PLATFORMS = {("onnx", "onnxruntime"): "onnx_onnxruntime"}


@dataclass(frozen=True, slots=True)
class Duration:
    """How often something was done, and for how long in all: nanoseconds."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """Engine calls of one batch size."""

    batch_size: int
    compute_input: Duration = Duration()
    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """One version's statistics, as Triton counts them.

    Attributes:
        name: of the model.
        version: of it.
        last_inference_ms: milliseconds since the epoch; 0 = never.
        inference_count: rows.
        execution_count: engine calls.
        success: requests answered, and their time from arrival to answer.
        fail: requests that failed.
        queue: time in the queue, of answered requests.
        compute_input: time to gather the inputs.
        compute_infer: time in the engine.
        compute_output: time to scatter and encode the outputs.
        batches: by batch size.
        memory_bytes: that the loaded copies take.
        loads: that went well, and the time of all of them.
        load_failures: loads that did not.
        unloads: of any kind.
        evictions: unloads that made room for another model.
        cache_hit: requests given a kept answer, and what finding and giving took.
        cache_miss: requests of a model with a cache that were computed, and what looking and
            keeping took.
        cuts: engine calls by why their batch was not larger.
    """

    name: str
    version: str
    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: Duration = Duration()
    fail: Duration = Duration()
    queue: Duration = Duration()
    compute_input: Duration = Duration()
    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()
    batches: Sequence[BatchStatistics] = field(default=())
    cuts: Mapping[str, int] = field(default_factory=dict)
    memory_bytes: int = 0
    loads: Duration = Duration()
    load_failures: int = 0
    unloads: int = 0
    evictions: int = 0
    cache_hit: Duration = Duration()
    cache_miss: Duration = Duration()


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One version in the repository index; `state` is READY, UNAVAILABLE, LOADING or UNLOADING."""

    name: str
    version: str
    state: str
    reason: str = ""


def server_metadata(name: str, version: str, extensions: Sequence[str]) -> bytes:
    """`GET /v2`. `extensions`: only what is really served."""
    return orjson.dumps({"name": name, "version": version, "extensions": list(extensions)})


def model_metadata(
    name: str,
    versions: Sequence[str],
    artifact_format: str,
    engine: str,
    signature: Signature,
    variant: str = "",
) -> bytes:
    """`GET /v2/models/{m}`: tensors with -1 for a dynamic axis.

    Steps, and the variant that answers where it is not the form as it was imported, are among the
    parameters.
    """
    platform = _PLATFORMS.get((artifact_format, engine), f"{artifact_format}_{engine}")
    document: dict[str, Any] = {
        "name": name,
        "versions": list(versions),
        "platform": platform,
        "inputs": [_tensor(spec) for spec in signature.inputs],
        "outputs": [_tensor(spec) for spec in signature.outputs],
    }
    parameters: dict[str, Any] = {"variant": variant} if variant else {}
    if signature.steps:
        parameters["steps"] = [shown_steps(item) for item in signature.steps]
    if parameters:
        document["parameters"] = parameters
    return orjson.dumps(document)


def shown_steps(item: InputSteps) -> dict[str, Any]:
    """An input's steps as JSON values, without what is not set."""
    return _set(encode(item))


def _set(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _set(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None and value not in ("", [])
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    shape = [-1 if axis is None else axis for axis in spec.shape]
    return {"name": spec.name, "datatype": str(spec.datatype), "shape": shape}


def server_live(*, live: bool) -> bytes:
    """`GET /v2/health/live`."""
    return orjson.dumps({"live": live})


def server_ready(*, ready: bool) -> bytes:
    """`GET /v2/health/ready`."""
    return orjson.dumps({"ready": ready})


def model_ready(name: str, *, ready: bool) -> bytes:
    """`GET /v2/models/{m}/ready`."""
    return orjson.dumps({"name": name, "ready": ready})


def repository_index(entries: Iterable[IndexEntry]) -> bytes:
    """`POST /v2/repository/index`."""
    return orjson.dumps(
        [
            {"name": e.name, "version": e.version, "state": e.state, "reason": e.reason}
            for e in entries
        ]
    )


def decode_index_request(body: bytes) -> bool:
    """Whether only ready models are asked for. An empty body asks for all.

    Raises:
        InvalidError: not `{"ready": true|false}`.
    """
    ready = _object(body).get("ready", False)
    if type(ready) is not bool:
        raise InvalidError(f"ready must be true or false, got {shown(ready)}", field="ready")
    return ready


def decode_repository_request(body: bytes) -> dict[str, Any]:
    """The `parameters` of a load or unload. An empty body has none.

    Raises:
        InvalidError: no JSON, or parameters that are no object.
    """
    parameters = _object(body).get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise InvalidError(
            f"parameters must be an object, got {shown(parameters)}", field="parameters"
        )
    return parameters


def _object(body: bytes) -> dict[str, Any]:
    return object_of(body) if body.strip() else {}


def statistics(models: Iterable[ModelStatistics]) -> bytes:
    """`GET /v2/models[/{m}[/versions/{v}]]/stats`."""
    return orjson.dumps({"model_stats": [_statistics(model) for model in models]})


def _statistics(model: ModelStatistics) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": model.last_inference_ms,
        "inference_count": model.inference_count,
        "execution_count": model.execution_count,
        "inference_stats": {
            "success": _duration(model.success),
            "fail": _duration(model.fail),
            "queue": _duration(model.queue),
            "compute_input": _duration(model.compute_input),
            "compute_infer": _duration(model.compute_infer),
            "compute_output": _duration(model.compute_output),
            "cache_hit": _duration(model.cache_hit),
            "cache_miss": _duration(model.cache_miss),
        },
        "memory_usage": [{"type": "CPU", "id": 0, "byte_size": model.memory_bytes}],
        "load_stats": {
            "load": _duration(model.loads),
            "load_failure_count": model.load_failures,
            "unload_count": model.unloads,
            "eviction_count": model.evictions,
        },
        "batch_stats": [
            {
                "batch_size": batch.batch_size,
                "compute_input": _duration(batch.compute_input),
                "compute_infer": _duration(batch.compute_infer),
                "compute_output": _duration(batch.compute_output),
            }
            for batch in model.batches
        ],
        "batch_cuts": dict(model.cuts),
    }


def _duration(duration: Duration) -> dict[str, int]:
    return {"count": duration.count, "ns": duration.ns}
