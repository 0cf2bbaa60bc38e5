"""An evaluation in the shape that TensorFlow Model Analysis writes: metrics for each slice.

Names and field numbers are those of its metrics_for_slice.proto. The same content twice: as JSON,
in the proto's JSON mapping, and as a TFRecord file of `MetricsForSlice`.
"""

import base64
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from modelworks.core.errors import InvalidError
from modelworks.evaluation import records as wire
from modelworks.evaluation.report import Evaluation, Figure

JSON: Final = "metrics.json"
RECORDS: Final = "metrics-00000-of-00001.tfrecord"
# Ours -> theirs, where theirs is another: the names that Keras gives
_NAMES: Final = {
    "roc_auc": "auc",
    "average_precision": "auc_precision_recall",
    "f1": "f1_score",
    "mae": "mean_absolute_error",
    "rmse": "root_mean_squared_error",
    "mape": "mean_absolute_percentage_error",
    "mcc": "matthews_correlation_coefficient",
    "brier": "brier_score",
    "log_loss": "binary_crossentropy",
    "ece": "expected_calibration_error",
}


def documents(found: Evaluation) -> list[dict[str, Any]]:
    """`MetricsForSlice` messages in JSON: all rows first, then each slice that was measured."""
    return [
        {
            "sliceKey": {"singleSliceKeys": [_key(*key) for key in keys]} if keys else {},
            "metricKeysAndValues": [
                {"key": _metric_key(found, figure.metric), "value": _value(figure)}
                for figure in figures
            ],
        }
        for keys, figures in _slices(found)
    ]


def messages(found: Evaluation) -> list[bytes]:
    """The same as protocol buffers."""
    made = []
    for keys, figures in _slices(found):
        slice_key = b"".join(
            wire.nested(1, wire.text(1, column) + wire.text(2, value)) for column, value in keys
        )
        metrics = b"".join(
            wire.nested(51, wire.nested(1, _key_bytes(found, f.metric)) + wire.nested(2, _bytes(f)))
            for f in figures
        )
        made.append(wire.nested(1, slice_key) + metrics)
    return made


def write(folder: Path, found: Evaluation) -> list[Path]:
    """Both files.

    Raises:
        InvalidError: they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / JSON).write_text(json.dumps(documents(found), indent=1) + "\n", "utf-8")
        (folder / RECORDS).write_bytes(wire.framed(messages(found)))
    except OSError as error:
        raise InvalidError(f"{folder} cannot be written: {error.strerror}", field="tfma") from error
    return [folder / JSON, folder / RECORDS]


def _slices(found: Evaluation) -> Iterator[tuple[Sequence[tuple[str, str]], list[Figure]]]:
    """Keys and figures; the number of rows is a figure as well, under their name."""
    rows = float(found.rows)
    whole = Figure("example_count", rows, math.nan, math.nan, found.rows, "")
    yield (), [whole, *found.figures]
    for part in found.slices:
        if part.figures:
            count = Figure("example_count", float(part.rows), math.nan, math.nan, part.rows, "")
            yield part.keys, [count, *part.figures]


def _key(column: str, value: str) -> dict[str, str]:
    return {"column": column, "bytesValue": base64.b64encode(value.encode()).decode()}


def _split(found: Evaluation, metric: str) -> tuple[str, int | None, int | None]:
    """Their name, the class's number, and k of a ranking."""
    name, _, rest = metric.partition("[")
    name, _, top = name.partition("@")
    label = rest.removesuffix("]")
    place = found.classes.index(label) if label in found.classes else None
    known = _NAMES.get(name, name)
    if known == "binary_crossentropy" and len(found.classes) > 2:
        known = "categorical_crossentropy"
    return known, place, int(top) if top.isdigit() else None


def _metric_key(found: Evaluation, metric: str) -> dict[str, Any]:
    name, place, top = _split(found, metric)
    key: dict[str, Any] = {"name": name}
    if place is not None:
        key["subKey"] = {"classId": place}
    if top is not None:
        key["subKey"] = {"topK": top}
    return key


def _value(figure: Figure) -> dict[str, Any]:
    if math.isnan(figure.value):
        return {"doubleValue": "NaN"}
    if math.isnan(figure.low):
        return {"doubleValue": figure.value}
    return {
        "boundedValue": {
            "lowerBound": figure.low,
            "upperBound": figure.high,
            "value": figure.value,
        }
    }


def _key_bytes(found: Evaluation, metric: str) -> bytes:
    name, place, top = _split(found, metric)
    key = wire.text(1, name)
    if place is not None:
        key += wire.nested(3, wire.nested(1, wire.integer(1, place)))
    if top is not None:
        key += wire.nested(3, wire.nested(3, wire.integer(1, top)))
    return key


def _bytes(figure: Figure) -> bytes:
    if math.isnan(figure.low):
        return wire.nested(1, wire.double(1, figure.value))
    bounds = enumerate((figure.low, figure.high, figure.value), 1)
    return wire.nested(2, b"".join(wire.nested(n, wire.double(1, v)) for n, v in bounds))
