"""Event files that TensorBoard reads: scalars, histograms, precision-recall curves.

Field numbers are those of TensorFlow's event.proto, summary.proto, histogram.proto, tensor.proto,
and of TensorBoard's plug-in for precision-recall curves.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.evaluation import records as wire
from modelworks.stats.intervals import Floats

THRESHOLDS: Final = 101
_FLOAT: Final = 1  # DT_FLOAT
_BUCKETS: Final = 30
_STEPS: Final = ("step", "epoch", "iteration")
_TRIES: Final = 1000
_LONGEST: Final = 120


def scalar(tag: str, value: float) -> bytes:
    """A number at a step, as a summary's value."""
    return wire.text(1, tag) + wire.single(2, value)


def histogram(tag: str, values: Any) -> bytes:
    """How numbers are spread, in thirty buckets of equal width."""
    numbers = np.asarray(values, np.float64)
    counts, edges = np.histogram(numbers, bins=_BUCKETS)
    histo = (
        wire.double(1, float(numbers.min()))
        + wire.double(2, float(numbers.max()))
        + wire.double(3, float(len(numbers)))
        + wire.double(4, float(numbers.sum()))
        + wire.double(5, float(np.square(numbers).sum()))
        + wire.doubles(6, edges[1:].tolist())
        + wire.doubles(7, counts.astype(float).tolist())
    )
    return wire.text(1, tag) + wire.nested(5, histo)


def pr_curve(tag: str, truth: Any, scores: Floats, weights: Floats) -> bytes:
    """The curve at 101 even thresholds, as the plug-in `pr_curves` stores it: [6, thresholds].

    Its rows are true and false positives, true and false negatives, precision, recall; a row of
    the table is positive where its score is at least the threshold.
    """
    place = np.floor(scores * (THRESHOLDS - 1)).astype(np.int64)
    hits = np.bincount(place, weights * (truth == 1), THRESHOLDS)[::-1].cumsum()[::-1]
    false = np.bincount(place, weights * (truth != 1), THRESHOLDS)[::-1].cumsum()[::-1]
    claimed = np.maximum(hits + false, 1e-7)
    precision, recall = hits / claimed, hits / max(float(hits[0]), 1e-7)
    rows = np.stack([hits, false, false[0] - false, hits[0] - hits, precision, recall])
    shape = b"".join(wire.nested(2, wire.integer(1, size)) for size in rows.shape)
    tensor = (
        wire.integer(1, _FLOAT)
        + wire.nested(2, shape)
        + wire.nested(4, rows.astype("<f4").tobytes())
    )
    plugin = wire.text(1, "pr_curves") + wire.nested(2, wire.integer(2, THRESHOLDS))
    return wire.text(1, tag) + wire.nested(8, tensor) + wire.nested(9, wire.nested(1, plugin))


def write_events(
    folder: Path, steps: Iterable[tuple[int, float, Sequence[bytes]]], at: float
) -> Path:
    """One new event file.

    Args:
        folder: of the run; made where it is not there.
        steps: (step, seconds since 1970, values of the summary).
        at: seconds since 1970, for the file's name and first record.

    Returns:
        Its path.

    Raises:
        InvalidError: it cannot be written.
    """
    events = [wire.double(1, at) + wire.text(3, "brain.Event:2")]
    for step, seconds, values in steps:
        summary = b"".join(wire.nested(1, value) for value in values)
        events.append(wire.double(1, seconds) + wire.integer(2, step) + wire.nested(5, summary))
    content = wire.framed(events)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(_TRIES):
            path = folder / f"events.out.tfevents.{int(at)}.modelworks.{os.getpid()}.{number}"
            try:
                with path.open("xb") as file:
                    file.write(content)
            except FileExistsError:
                continue
            return path
    except OSError as error:
        raise InvalidError(
            f"{folder} cannot be written: {error.strerror}", field="logdir"
        ) from error
    raise InvalidError(f"{folder} is full of event files of this second", field="logdir")


def run_name(text: str) -> str:
    """A text as the name of a run: one folder, whatever is in it."""
    clean = "".join(c if c.isalnum() or c in "=._-, " else "_" for c in text)[:_LONGEST].strip(" .")
    return clean or "_"


def write_curves(folder: Path, columns: Mapping[str, Any], at: float) -> list[Path]:
    """Training curves: a column a tag, a line a step.

    Args:
        folder: log folder; with a column `run`, a folder below it a run.
        columns: `step` (or `epoch`, `iteration`; else the line's number), `time` (seconds since
            1970, optional), `run` (optional), and columns of numbers; NaN = nothing at that step.
        at: seconds since 1970, where there is no `time`.

    Raises:
        InvalidError: no column of numbers, steps that are no whole numbers, not writable.
    """
    count = len(next(iter(columns.values())))
    name = next((one for one in _STEPS if one in columns), "")
    steps = _whole(columns[name], name) if name else np.arange(count)
    times = np.asarray(columns["time"], np.float64) if "time" in columns else np.full(count, at)
    tags = {
        tag: np.asarray(column, np.float64)
        for tag, column in columns.items()
        if tag not in {name, "time", "run"} and np.asarray(column).dtype.kind in "fiub"
    }
    if not tags:
        raise InvalidError("no column of numbers besides step and time", field="curves")
    if not np.isfinite(times).all():
        raise InvalidError("time: a line has none", field="curves")
    runs = (
        np.array([str(one) for one in columns["run"]]) if "run" in columns else np.full(count, "")
    )
    paths = []
    for run in np.unique(runs):
        lines = [
            (
                int(steps[i]),
                float(times[i]),
                [scalar(t, float(c[i])) for t, c in tags.items() if np.isfinite(c[i])],
            )
            for i in np.flatnonzero(runs == run)
        ]
        target = folder / run_name(str(run)) if run else folder
        paths.append(write_events(target, [line for line in lines if line[2]], at))
    return paths


def _whole(column: Any, name: str) -> Any:
    found = np.asarray(column)
    if found.dtype.kind not in "iuf" or not np.array_equal(found, np.floor(found)):
        raise InvalidError(f"{name}: whole numbers are wanted", field="curves")
    return found.astype(np.int64)
