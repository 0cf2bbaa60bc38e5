"""A form in another format answers as the source did, or it is not handed on."""

from typing import Any, Final

import numpy as np

from modelworks.core.errors import CrashedError
from modelworks.core.tensor import TensorSpec

_NEAR: Final = 1e-3  # of the largest value of an output; what is seen is about 1e-6
_SAME: Final = 0.9  # share of equal whole numbers: ties of scores may fall either way


def held(form: str, spec: TensorSpec, one: Any, other: Any) -> float:
    """The largest difference, relative to the largest value of the output; 0 for whole numbers.

    Args:
        form: its format as it is told, `LiteRT`.
        spec: of the output.
        one: what the source answers.
        other: what the form answers.

    Raises:
        CrashedError: another shape or type, too far away, or not finite where the source is.
    """
    if one.shape != other.shape or one.dtype != other.dtype:
        raise CrashedError(
            f"output '{spec.name}' of the {form} form is {other.dtype}{list(other.shape)}, not "
            f"{one.dtype}{list(one.shape)}"
        )
    real = one.dtype.kind == "f"
    away = _away(one, other)
    if not away <= (_NEAR if real else 1 - _SAME):
        raise CrashedError(
            f"output '{spec.name}' of the {form} form is {away:.2g} away from the source's"
        )
    return away if real else 0.0


def _away(one: Any, other: Any) -> float:
    if one.dtype.kind != "f":
        return float(np.mean(one != other)) if one.size else 0.0
    finite = np.isfinite(one)
    if not np.array_equal(finite, np.isfinite(other)):
        return float("inf")
    wide, got = one[finite].astype(np.float64), other[finite].astype(np.float64)
    return float(np.abs(wide - got).max(initial=0.0)) / float(np.abs(wide).max(initial=1e-6))
