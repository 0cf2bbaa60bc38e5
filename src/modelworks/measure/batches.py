"""What a server's own statistics say of a run: batches, and where the time went."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_PARTS: Final = ("queue", "compute_input", "compute_infer", "compute_output")


@dataclass(frozen=True, slots=True)
class Batches:
    """The difference of two answers of `/v2/models/{m}/stats` (Triton's statistics extension).

    Attributes:
        rows: predicted.
        executions: of the engine.
        mean: rows an execution.
        sizes: (rows, executions of that size), ascending.
        mean_us: part -> mean time of a request in it, microseconds.
    """

    rows: int
    executions: int
    mean: float
    sizes: tuple[tuple[int, int], ...]
    mean_us: dict[str, float]


def batches_of(before: Any, after: Any) -> Batches | None:
    """What happened between two answers; None where they say nothing usable.

    Args:
        before: the JSON of the first answer.
        after: of the second.
    """
    first, second = _model(before), _model(after)
    if first is None or second is None:
        return None
    rows = _whole(second, "inference_count") - _whole(first, "inference_count")
    executions = _whole(second, "execution_count") - _whole(first, "execution_count")
    if rows < 0 or executions <= 0:
        return None  # reloaded in between, or nothing ran
    sizes = _sizes(second)
    for size, count in _sizes(first).items():
        sizes[size] = sizes.get(size, 0) - count
    means = {}
    for part in _PARTS:
        count, spent = (
            _part(second, part, what) - _part(first, part, what) for what in ("count", "ns")
        )
        if count > 0 and spent >= 0:
            means[part] = spent / count / 1000
    ran = tuple(sorted((size, count) for size, count in sizes.items() if count > 0))
    return Batches(rows, executions, rows / executions, ran, means)


def _model(document: Any) -> Mapping[str, Any] | None:
    listed = document.get("model_stats") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], dict):
        return None
    return listed[0]


def _whole(data: Any, name: str) -> int:
    value = data.get(name, 0) if isinstance(data, dict) else 0
    try:
        return int(value)  # Triton's gRPC gateway writes 64-bit numbers as text
    except (TypeError, ValueError):
        return 0


def _part(model: Mapping[str, Any], part: str, what: str) -> int:
    found = model.get("inference_stats")
    return _whole(found.get(part) if isinstance(found, dict) else None, what)


def _sizes(model: Mapping[str, Any]) -> dict[int, int]:
    found: dict[int, int] = {}
    listed = model.get("batch_stats")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict):
            size = _whole(entry, "batch_size")
            found[size] = found.get(size, 0) + _whole(entry.get("compute_infer"), "count")
    return found
