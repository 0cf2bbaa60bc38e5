"""Columns of any kind as plain ones: what a column holds, and what becomes of texts and vectors."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelworks.protocol.records.describing import marks_of
from modelworks.stats.clusters import nearest

Array = NDArray[np.float64]
SHORT: Final = 16


class Kind(StrEnum):
    """What a column holds."""

    NUMBER = "number"
    CATEGORY = "category"
    TEXT = "text"
    VECTOR = "vector"
    IMAGE = "image"


def kind_of(column: Any) -> Kind:
    """What a column of the reference holds, judged by its values."""
    array = np.asarray(column) if not isinstance(column, np.ndarray) else column
    if array.ndim > 1:
        return Kind.VECTOR if array.ndim == 2 else Kind.IMAGE
    if array.dtype.kind in "biuf":
        return Kind.CATEGORY if array.dtype.kind == "b" else Kind.NUMBER
    present = [value for value in array.tolist() if value is not None]
    if present and all(isinstance(value, list | tuple | np.ndarray) for value in present):
        return Kind.VECTOR if np.ndim(present[0]) == 1 else Kind.IMAGE
    if any(isinstance(v, float) or type(v) is int for v in present) and all(
        isinstance(v, int | float) for v in present
    ):
        return Kind.NUMBER
    distinct = len({str(value) for value in present})
    few = distinct <= 50 or distinct <= min(1000, len(present) / 10)
    return Kind.CATEGORY if few else Kind.TEXT


def matrix(column: Any, width: int | None = None) -> NDArray[np.float32]:
    """Vectors as rows x numbers; rows that are none, or of another width, are NaN throughout."""
    if isinstance(column, np.ndarray) and column.ndim == 2 and column.dtype.kind in "biuf":
        found = column.astype(np.float32)
        return found if width in {None, found.shape[1]} else np.full((len(found), width), np.nan)
    lengths = [len(v) for v in column if isinstance(v, list | tuple | np.ndarray)]
    width = width or max(lengths, default=0)
    found = np.full((len(column), width), np.nan, np.float32)
    for place, value in enumerate(column):
        if isinstance(value, list | tuple | np.ndarray) and len(value) == width:
            try:
                found[place] = value
            except (TypeError, ValueError):
                continue
    return found


def of_vectors(
    name: str, rows: NDArray[np.float32], centre: Array | None, clusters: Any = None
) -> dict[str, Any]:
    """`NAME[0]`, `NAME[1]` ... of short vectors; of long ones what tells where they lie.

    `NAME.distance` is one less the cosine of the angle to the reference's mean vector, `NAME.norm`
    the length. With clusters there are `NAME.cluster`, the number of the nearest one's centre, and
    `NAME.nearest`, the distance to it.

    Args:
        name: of the column.
        rows: rows x numbers; NaN = there is none.
        centre: mean vector of the reference; None = these rows are it: each is then compared with
            the mean of the others, for none is as far from a mean that it is in as a new one is.
        clusters: centres that the reference found, clusters x numbers.
    """
    if rows.shape[1] <= SHORT:
        return {
            f"{name}[{place}]": rows[:, place].astype(np.float64) for place in range(rows.shape[1])
        }
    wide = rows.astype(np.float64)
    norms = np.sqrt((wide**2).sum(1))
    found: dict[str, Any] = {f"{name}.distance": 1 - _cosines(wide, norms, centre)}
    found[f"{name}.norm"] = norms
    if clusters is not None:
        places, apart = nearest(rows, clusters)
        names = np.array([f"#{n}" for n in range(len(clusters))] + [None], object)
        found |= {f"{name}.cluster": names[places], f"{name}.nearest": apart}
    return found


def _cosines(rows: Array, norms: Array, centre: Array | None) -> Array:
    """Of the angles to the centre, or to the mean of all other rows."""
    if centre is None:
        count = int((~np.isnan(norms)).sum())
        whole = np.nan_to_num(np.nansum(rows, axis=0))
        along = (rows @ whole - norms**2) / max(count - 1, 1)
        lengths = (whole @ whole - 2 * rows @ whole + norms**2) / max(count - 1, 1) ** 2
        lengths = np.sqrt(np.maximum(lengths, 0.0))
    else:
        along, lengths = rows @ centre, np.sqrt(centre @ centre)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = along / (norms * np.maximum(lengths, 1e-30))
    return found


def unknown(name: str, column: Sequence[Any], vocabulary: NDArray[np.uint32]) -> dict[str, Any]:
    """`NAME.unknown`: the share of each text's distinct words that the reference does not have."""
    known = set(vocabulary.tolist())
    found = np.full(len(column), np.nan)
    for place, text in enumerate(column):
        if isinstance(text, str):
            marks = marks_of(text)
            found[place] = len(marks - known) / max(len(marks), 1)
    return {f"{name}.unknown": found}
