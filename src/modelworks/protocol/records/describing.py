"""Texts and pictures told by a few numbers, where they themselves are too large or too private.

A logger writes these in place of a field; drift is measured by the same ones, so a reference made
of whole texts and pictures fits records that hold only their descriptions.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelworks.core.tensor import Datatype, TensorSpec

BUCKETS: Final = 24
_WORD: Final = re.compile(r"\w+")
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")
_CHANNELS: Final = ("red", "green", "blue")
_PICTURE: Final = (3, 4)  # axes, the items' among them
_KINDS: Final = {"N": "digit", "P": "punctuation", "S": "symbol", "Z": "space", "C": "control"}


def problem_of(spec: TensorSpec, *, file: bool) -> str:
    """Why a tensor cannot be described; empty = it can.

    Args:
        spec: of it.
        file: each item is a file of an image, which the server decodes.
    """
    if file:
        return "is a picture's file, which only the server opens: drop or keep it"
    if spec.datatype is Datatype.BYTES or len(spec.shape) in _PICTURE:
        return ""
    return "is neither text nor a picture: it has no description"


def describe(name: str, spec: TensorSpec, values: Sequence[Any]) -> dict[str, list[Any]]:
    """What is written in place of a column; None where a value is not what the others are."""
    found = of_text(name, values) if spec.datatype is Datatype.BYTES else of_images(name, values)
    return {key: _plain(column) for key, column in found.items()}


def of_text(name: str, column: Sequence[Any]) -> dict[str, Any]:
    """`NAME.length` in letters, `NAME.words` and `NAME.letters`: one word and one letter of each.

    Of the word the hash is kept, of the letter its script (`latin`, `cyrillic`, `cjk`) or kind
    (`digit`, `space`). One a text, chosen by the text's own hash, so that what is counted is
    independent of one another and a test of the counts is one. Scripts without spaces give pairs
    of letters.
    """
    lengths = np.array([float(len(t)) if isinstance(t, str) else np.nan for t in column])
    words, letters = np.empty(len(lengths), object), np.empty(len(lengths), object)
    words[:] = [_word(text) if isinstance(text, str) else None for text in column]
    letters[:] = [_letter(text) if isinstance(text, str) else None for text in column]
    return {f"{name}.length": lengths, f"{name}.words": words, f"{name}.letters": letters}


def marks_of(text: str) -> set[int]:
    """A 32-bit hash of each distinct word; of scripts without spaces, of each pair of letters."""
    return {_mark(part) for word in _WORD.findall(text.lower()) for part in _parts(word)}


def of_images(name: str, column: Any) -> dict[str, Any]:
    """Brightness, contrast, sharpness and the mean of each colour channel, an image each.

    Args:
        name: of the column.
        column: images x height x width (x channels), or x channels x height x width; a list of
            such images may have several sizes. What is none is NaN.
    """
    images = column if _even(column) else list(column)
    found: dict[str, NDArray[np.float64]] = {}
    for places, some in _by_shape(images):
        for key, values in _measured(some).items():
            whole = found.setdefault(f"{name}.{key}", np.full(len(images), np.nan))
            whole[places] = values
    empty = (f"{name}.{key}" for key in ("brightness", "contrast", "sharpness"))
    return found or {key: np.full(len(images), np.nan) for key in empty}


def _by_shape(images: Any) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """(places, images of one size as images x height x width x channels)."""
    groups: dict[tuple[int, ...], list[int]] = {}
    arrays = [_pixels(image) for image in images]
    for place, array in enumerate(arrays):
        if array is not None:
            groups.setdefault(array.shape, []).append(place)
    return [
        (np.array(places), np.stack([arrays[place] for place in places]))  # type: ignore[misc]
        for places in groups.values()
    ]


def _pixels(image: Any) -> NDArray[np.float32] | None:
    """Height x width x channels; None = it is no image."""
    try:
        array = np.asarray(image, np.float32)
    except (TypeError, ValueError):
        return None
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or not array.size:
        return None
    if array.shape[0] in {1, 3} and array.shape[2] not in {1, 3}:
        array = np.moveaxis(array, 0, 2)
    return array


def _measured(images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    grey = images.mean(3)
    steps = np.abs(np.diff(grey, axis=2))
    found = {
        "brightness": grey.mean((1, 2)),
        "contrast": grey.std((1, 2)),
        "sharpness": steps.mean((1, 2)) if steps.size else np.zeros(len(images), np.float32),
    }
    if images.shape[3] == 3:
        channels = images.mean((1, 2))
        found |= {_CHANNELS[place]: channels[:, place] for place in range(3)}
    return found


def _even(column: Any) -> bool:
    return isinstance(column, np.ndarray) and column.dtype.kind in "biuf"


def _word(text: str) -> str:
    words = _WORD.findall(text.lower())
    if not words:
        return "(none)"
    place = _mark(text)
    word = words[place % len(words)]
    if len(word) > 1 and _UNSPACED.search(word):
        start = (place >> 8) % (len(word) - 1)
        word = word[start : start + 2]
    return f"#{_mark(word) % BUCKETS}"


def _letter(text: str) -> str:
    return _kind(text[_mark(text) % len(text)]) if text else "(none)"


@lru_cache(4096)
def _kind(letter: str) -> str:
    """The script of a letter, the kind of anything else."""
    kind = _KINDS.get(unicodedata.category(letter)[0])
    return kind or unicodedata.name(letter, "unknown").split()[0].lower()


def _parts(word: str) -> list[str]:
    if len(word) > 1 and _UNSPACED.search(word):
        return [word[start : start + 2] for start in range(len(word) - 1)]
    return [word]


def _mark(word: str) -> int:
    return int.from_bytes(blake2b(word.encode("utf-8", "replace"), digest_size=4).digest())


def _plain(column: Any) -> list[Any]:
    """As records hold them: None for NaN."""
    return [None if value != value else value for value in column.tolist()]  # noqa: PLR0124 - NaN
