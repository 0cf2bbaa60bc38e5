"""Inputs whose requests may differ in length, and how they are filled up to share a call.

Written as `attention_mask`, `attention_mask:2` (the axis) or `attention_mask,input_ids=1` (what an
input is filled up with, where that is not 0).
"""

import math
from dataclasses import dataclass

from modelworks.core.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Ragged:
    """One axis of a model's inputs that differs from request to request.

    All inputs whose axis is dynamic are filled up along it; the server proves at load that the
    model's answers stay the same, and does not do it otherwise.

    Attributes:
        mask: the input that tells the model what is real: filled up with 0.
        axis: 1 or more; axis 0 is the batch.
        values: what an input is filled up with, by name; 0 where it is not named.
    """

    mask: str
    axis: int = 1
    values: tuple[tuple[str, float], ...] = ()


def parse_ragged(text: str) -> Ragged | None:
    """The axis as it is written on a command line; None for an empty text.

    Raises:
        InvalidError: no such form.
    """
    if not text:
        return None
    head, *rest = text.split(",")
    mask, _, axis = head.partition(":")
    values = []
    for part in rest:
        name, equals, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not name or not equals or not math.isfinite(number):
            raise _wrong(text)
        values.append((name, number))
    if not mask or (axis and not (axis.isdecimal() and 0 < int(axis[:3]) < 32)):
        raise _wrong(text)
    return Ragged(mask, int(axis) if axis else 1, tuple(values))


def _wrong(text: str) -> InvalidError:
    return InvalidError(
        f"ragged: '{text[:60]}' is not MASK[:AXIS][,INPUT=VALUE...], such as attention_mask or "
        "attention_mask,input_ids=1",
        field="ragged",
    )
