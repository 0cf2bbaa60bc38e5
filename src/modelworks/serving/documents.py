"""What the server tells of itself and its models, from the table and the counters."""

from collections.abc import Iterable
from typing import Any, Final

import orjson

from modelworks.core import codec
from modelworks.core.served import Batching
from modelworks.core.stateful import Sequences
from modelworks.core.tensor import Signature, TensorSpec
from modelworks.protocol.oip import documents
from modelworks.protocol.oip.documents import BatchStatistics, Duration, IndexEntry, ModelStatistics
from modelworks.serving.block import Block
from modelworks.serving.cache.numbers import CacheNumbers, read_cache
from modelworks.serving.entries import Entry
from modelworks.serving.lifetimes import Lifetime, read_lifetime
from modelworks.serving.live import Live
from modelworks.serving.models import ModelTable
from modelworks.serving.sizing import Sizing
from modelworks.serving.statistics import Numbers, Outcome, Stage, read

EXTENSIONS: Final = (
    "binary_tensor_data",
    "classification",
    "generate",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "sequence",
    "statistics",
)
_CONFIG_TYPES: Final = {"BYTES": "TYPE_STRING"}


def server(version: str, sizing: Sizing) -> bytes:
    """`GET /v2`: the protocol's own keys, and how many workers and threads there are and why."""
    found = documents.server_metadata("modelworks", version, EXTENSIONS)
    return found[:-1] + b',"sizing":' + orjson.dumps(codec.encode(sizing)) + b"}"


def model(live: Live, table: ModelTable) -> bytes:
    """`GET /v2/models/{m}`; `versions` are those that answer now."""
    ready = [e.served.version for e in table.entries() if e.live and e.served.name == live.name]
    served = live.served
    return documents.model_metadata(
        live.name, ready, served.format, served.engine, live.signature, served.variant
    )


def index(table: ModelTable, *, ready_only: bool) -> bytes:
    """`POST /v2/repository/index`."""
    return documents.repository_index(
        IndexEntry(e.served.name, e.served.version, e.state.value, e.reason)
        for e in table.entries()
        if e.live is not None or not ready_only
    )


def statistics(block: Block, entries: Iterable[Entry]) -> bytes:
    """`GET .../stats`: of versions that have been loaded at least once."""
    regions = block.models()
    found = []
    for entry in entries:
        name, version = entry.served.name, entry.served.version
        place = regions.get((name, version))
        if place is not None:
            life = read_lifetime(block, place)
            numbers, cache = read(block, place), read_cache(block, place)
            found.append(_statistics(name, version, numbers, life, cache))
    return documents.statistics(found)


def _statistics(
    name: str, version: str, numbers: Numbers, life: Lifetime, cache: CacheNumbers
) -> ModelStatistics:
    success = numbers.outcomes[Outcome.SUCCESS]
    computed = numbers.stages[Stage.COMPUTE].count if cache.hits else success
    return ModelStatistics(
        name=name,
        version=version,
        last_inference_ms=numbers.last_ms,
        inference_count=numbers.items,
        execution_count=numbers.calls,
        success=Duration(success, numbers.stages[Stage.TOTAL].sum_ns),
        fail=Duration(numbers.failures, numbers.fail_ns),
        queue=Duration(computed, numbers.stages[Stage.QUEUE].sum_ns),
        compute_input=Duration(computed, numbers.input_ns),
        compute_infer=Duration(computed, numbers.infer_ns),
        compute_output=Duration(computed, numbers.output_ns),
        batches=[
            BatchStatistics(
                row.size,
                Duration(row.calls, row.input_ns),
                Duration(row.calls, row.infer_ns),
                Duration(row.calls, row.output_ns),
            )
            for row in numbers.batches
        ],
        cuts={cut.value: count for cut, count in numbers.cuts.items() if count},
        memory_bytes=life.footprint,
        loads=Duration(life.loads, life.load_ns),
        load_failures=life.failures,
        unloads=life.unloads,
        evictions=life.evictions,
        cache_hit=Duration(cache.hits, cache.hit_ns),
        cache_miss=Duration(cache.misses, cache.miss_ns),
    )


def config(live: Live, sizing: Sizing) -> bytes:
    """`GET .../config`: the part of Triton's model configuration that means something here."""
    signature: Signature = live.signature
    batched = live.batched
    document: dict[str, Any] = {
        "name": live.name,
        "platform": f"{live.served.format}_{live.served.engine}",
        "backend": live.served.engine,
        "version_policy": {"specific": {"versions": [live.version]}},
        "max_batch_size": live.batching.max_batch_size if batched else 0,
        "input": [_tensor(spec, batched=batched) for spec in signature.inputs],
        "output": [_tensor(spec, batched=batched) for spec in signature.outputs],
        "instance_group": [{"name": live.name, "kind": "KIND_CPU", "count": sizing.workers}],
        "parameters": {"unbatched": {"string_value": live.unbatched}} if live.unbatched else {},
    }
    if batched:
        document["dynamic_batching"] = _dynamic(live.batcher.limits)
    if live.served.cache is not None:
        document["response_cache"] = {"enable": not live.loaded.uncached}
    if live.served.sequences is not None:
        document["sequence_batching"] = _sequence_batching(live.served.sequences)
    return orjson.dumps(document)


def _sequence_batching(sequences: Sequences) -> dict[str, Any]:
    """As in Triton: the direct strategy, states kept by the server."""
    return {
        "max_sequence_idle_microseconds": round(1e6 * sequences.idle_s),
        "direct": {},
        "state": [
            {"input_name": state.input, "output_name": state.output} for state in sequences.state
        ],
    }


def _dynamic(limits: Batching) -> dict[str, Any]:
    """As in Triton; who says no priority is of the last one."""
    found: dict[str, Any] = {
        "max_queue_delay_microseconds": round(1000 * limits.max_delay_ms),
        "default_queue_policy": {
            "timeout_action": "REJECT",
            "default_timeout_microseconds": round(1000 * limits.timeout_ms),
            "allow_timeout_override": True,
            "max_queue_size": limits.max_queue_size,
        },
    }
    if limits.priority_levels > 1:
        levels = limits.priority_levels
        found |= {"priority_levels": levels, "default_priority_level": levels}
    return found


def _tensor(spec: TensorSpec, *, batched: bool) -> dict[str, Any]:
    """As Triton writes it: where requests are batched, without the batch axis."""
    axes = spec.shape[1:] if batched else spec.shape
    return {
        "name": spec.name,
        "data_type": _CONFIG_TYPES.get(spec.datatype.value, f"TYPE_{spec.datatype.value}"),
        "dims": [-1 if axis is None else axis for axis in axes],
    }
