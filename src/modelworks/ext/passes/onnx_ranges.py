"""What values the tensors of an ONNX graph take on calibration rows; bounded in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort

from modelworks.core.errors import InvalidError
from modelworks.ext.formats.npz_rows import NpzRows
from modelworks.ext.formats.onnx_model import short
from modelworks.ext.passes.onnx_session import settings

METHODS: Final = ("minmax", "percentile", "entropy")
MOST: Final = 512
"""Rows that are looked at, unless more are asked for."""

_BINS: Final = 2048
_ENTROPY_BINS, _LEVELS = 512, 128
_MEMORY: Final = 256 << 20  # of all tensors of one run
_MOST_ROWS: Final = 64
_TYPES: Final = {
    "tensor(bool)": np.bool_,
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
}


@dataclass(frozen=True, slots=True)
class Watched:
    """A graph whose tensors are outputs.

    Attributes:
        session: of it.
        rows: that are run through it.
        names: of the float tensors that the graph makes.
        given: of its inputs that are floats too.
        size: rows a run, so that all tensors fit in memory.
    """

    session: ort.InferenceSession
    rows: NpzRows
    names: tuple[str, ...]
    given: tuple[str, ...]
    size: int

    def runs(self) -> Iterator[dict[str, Any]]:
        """Tensor -> values, a run of some rows."""
        for batch in self.rows.batches(self.size):
            made = dict(zip(self.names, _run(self.session, self.names, batch), strict=True))
            yield {**{name: batch[name] for name in self.given}, **made}


def watch(
    model: onnx.ModelProto, file: Path, names: Sequence[str], threads: int, most: int = MOST
) -> Watched:
    """A graph whose tensors can be looked at.

    Args:
        model: the graph; it stays as it is.
        file: npz, an array an input.
        names: of the tensors; those that are no float32 are left out.
        threads: of it.
        most: rows that are run.

    Raises:
        InvalidError: the rows do not fit the graph.
    """
    stored = {one.name for one in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in stored]
    rows = NpzRows(file, inputs, most)
    seen = onnx.ModelProto.FromString(model.SerializeToString())
    known = {value.name for value in (*seen.graph.output, *seen.graph.input)}
    for name in names:
        if name not in known:
            seen.graph.output.append(onnx.ValueInfoProto(name=name))
    session = ort.InferenceSession(seen.SerializeToString(), settings("basic", threads))
    floats = {one.name for one in session.get_outputs() if one.type == "tensor(float)"}
    kept = tuple(name for name in names if name in floats)
    floats = {one.name for one in session.get_inputs() if one.type == "tensor(float)"}
    given = tuple(name for name in names if name in floats)
    one = rows.first(1)
    for taken in session.get_inputs():
        wanted, held = _TYPES.get(taken.type), one[taken.name].dtype
        if wanted is not None and held != wanted:
            raise InvalidError(
                f"the calibration rows of '{taken.name[:60]}' are {held}; the model takes "
                f"{np.dtype(wanted)}",
                field="calibration",
            )
    first = _run(session, kept, one)
    size = max(1, min(_MOST_ROWS, _MEMORY // max(1, sum(one.nbytes for one in first))))
    return Watched(session, rows, kept, given, size)


def extremes(watched: Watched) -> dict[str, tuple[float, float]]:
    """Tensor -> its smallest and largest value; what is not finite is passed over."""
    found: dict[str, tuple[float, float]] = {}
    for run in watched.runs():
        for name, values in run.items():
            known = values if np.isfinite(values).all() else values[np.isfinite(values)]
            if known.size:
                low, high = found.get(name, (np.inf, -np.inf))
                found[name] = (min(low, float(known.min())), max(high, float(known.max())))
    return found


def clipped(watched: Watched, method: str, percentile: float) -> dict[str, tuple[float, float]]:
    """Tensor -> the range that its values are cut to.

    Args:
        watched: the graph.
        method: `minmax` cuts nothing; `percentile` the outermost values; `entropy` where the
            distribution in eight bits is nearest to the one in floats (Migacz, GTC 2017).
        percentile: of the values that stay.
    """
    wide = extremes(watched)
    if method == "minmax":
        return wide
    even = method == "entropy"
    bins = _ENTROPY_BINS if even else _BINS
    edges = {}
    for name, (low, high) in wide.items():
        top = max(abs(low), abs(high))
        edges[name] = (-top, top) if even else (low, high)
    counts = {name: np.zeros(bins, np.int64) for name, (low, high) in edges.items() if high > low}
    for run in watched.runs():
        for name in counts:
            counts[name] += np.histogram(run[name], bins, edges[name])[0]
    cut = dict(wide)
    for name, count in counts.items():
        low, high = (
            _by_entropy(count, edges[name])
            if even
            else _by_percentile(count, edges[name], percentile)
        )
        cut[name] = max(low, wide[name][0]), min(high, wide[name][1])
    return cut


def _by_percentile(
    count: Any, edges: tuple[float, float], percentile: float
) -> tuple[float, float]:
    share = np.cumsum(count) / max(1, count.sum())
    places = np.linspace(*edges, len(count) + 1)
    rest = (1 - percentile / 100) / 2
    low = places[int(np.searchsorted(share, rest, side="right"))]
    high = places[min(len(count), int(np.searchsorted(share, 1 - rest)) + 1)]
    return float(low), float(high)


def _by_entropy(count: Any, edges: tuple[float, float]) -> tuple[float, float]:
    middle, best = len(count) // 2, (np.inf, len(count) // 2)
    for half in range(_LEVELS // 2, middle + 1):
        best = min(best, (_divergence(count, middle - half, middle + half), half))
    top = edges[1] * best[1] / middle
    return -top, top


def _divergence(count: Any, start: int, end: int) -> float:
    """Of the bins from `start` to `end` in `_LEVELS` levels from the whole distribution."""
    inner = count[start:end].astype(np.float64)
    whole = inner.copy()
    whole[0] += count[:start].sum()
    whole[-1] += count[end:].sum()
    steps = np.minimum(np.arange(len(inner)) // (len(inner) // _LEVELS), _LEVELS - 1)
    there = whole > 0
    mass = np.bincount(steps, inner, _LEVELS)
    spread = np.bincount(steps, there, _LEVELS)
    coarse = np.where(there, (mass / np.maximum(spread, 1))[steps], 0.0)
    if not coarse.sum():
        return np.inf
    left, right = whole[there] / whole.sum(), coarse[there] / coarse.sum()
    return float((left * np.log(left / np.maximum(right, 1e-9))).sum())


def _run(session: ort.InferenceSession, names: Sequence[str], batch: dict[str, Any]) -> list[Any]:
    try:
        found: list[Any] = session.run(list(names), batch) if names else []
    except Exception as error:  # onnxruntime has no base of its own
        raise InvalidError(
            f"the model refuses the calibration rows: {short(error)}", field="calibration"
        ) from error
    return found
