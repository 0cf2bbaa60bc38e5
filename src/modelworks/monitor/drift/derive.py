"""Columns of any kind as plain ones: texts, vectors and images become numbers and categories."""

import re
from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelworks.core.errors import InvalidError

Array = NDArray[np.float64]
SHORT: Final = 16
BUCKETS: Final = 24
_WORD: Final = re.compile(r"\w+")
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
_CHANNELS: Final = ("red", "green", "blue")


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


def of_text(name: str, column: Sequence[Any]) -> dict[str, Any]:
    """`NAME.length` in letters and `NAME.words`: the hash of one word of each text.

    One word a text, chosen by the text's own hash, so that the counted words are independent of one
    another and a test of their counts is one. Scripts without spaces give pairs of letters.
    """
    lengths = np.array([float(len(t)) if isinstance(t, str) else np.nan for t in column])
    words = np.empty(len(lengths), object)
    words[:] = [_word(text) if isinstance(text, str) else None for text in column]
    return {f"{name}.length": lengths, f"{name}.words": words}


def of_vectors(name: str, rows: NDArray[np.float32], centre: Array | None) -> dict[str, Any]:
    """`NAME[0]`, `NAME[1]` ... of short vectors; of long ones `NAME.distance` and `NAME.norm`.

    The distance is one less the cosine of the angle to the reference's mean vector.
    """
    if rows.shape[1] <= SHORT:
        return {
            f"{name}[{place}]": rows[:, place].astype(np.float64) for place in range(rows.shape[1])
        }
    if centre is None:
        centre = np.nan_to_num(np.nanmean(rows.astype(np.float64), axis=0))
    norms = np.sqrt((rows.astype(np.float64) ** 2).sum(1))
    along = rows.astype(np.float64) @ centre
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = along / (norms * max(float(np.sqrt((centre**2).sum())), 1e-30))
    return {f"{name}.distance": 1.0 - cosine, f"{name}.norm": norms}


def of_images(name: str, column: Any) -> dict[str, Any]:
    """Brightness, contrast, sharpness and the mean of each colour channel, an image each.

    Args:
        name: of the column.
        column: images x height x width (x channels), or x channels x height x width.

    Raises:
        InvalidError: not images.
    """
    try:
        images = np.asarray(column, np.float32) if _even(column) else np.asarray(list(column))
        images = images.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidError(f"{name}: images of one size are wanted: {error}", field=name) from error
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4:
        raise InvalidError(f"{name}: {images.ndim} axes are no images", field=name)
    if images.shape[1] in {1, 3} and images.shape[3] not in {1, 3}:
        images = np.moveaxis(images, 1, 3)
    grey = images.mean(3)
    found = {
        f"{name}.brightness": grey.mean((1, 2)),
        f"{name}.contrast": grey.std((1, 2)),
        f"{name}.sharpness": np.abs(np.diff(grey, axis=2)).mean((1, 2)),
    }
    if images.shape[3] == 3:
        channels = images.mean((1, 2))
        found |= {f"{name}.{_CHANNELS[place]}": channels[:, place] for place in range(3)}
    return {key: values.astype(np.float64) for key, values in found.items()}


def _even(column: Any) -> bool:
    return isinstance(column, np.ndarray) and column.dtype.kind in "biuf"


def _word(text: str) -> str:
    words = _WORD.findall(text.lower())
    if not words:
        return "(none)"
    place = int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=4).digest())
    word = words[place % len(words)]
    if len(word) > 1 and _UNSPACED.search(word):
        start = (place >> 8) % (len(word) - 1)
        word = word[start : start + 2]
    mark = blake2b(word.encode("utf-8", "replace"), digest_size=4).digest()
    return f"#{int.from_bytes(mark) % BUCKETS}"
