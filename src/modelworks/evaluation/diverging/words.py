"""Why a value differs: a guess in words, from what was seen of it and of its sources."""

from collections.abc import Sequence
from typing import Final

from modelworks.evaluation.diverging.meters import Meter
from modelworks.evaluation.diverging.pairing import Pair, Stage

HALF: Final = 65504.0
"""The largest number of half precision, IEEE 754 binary16."""

_UNDEFINED: Final = {
    "Div": "it divides by zero",
    "Log": "it takes the logarithm of a number below zero",
    "Sqrt": "it takes the root of a number below zero",
    "Pow": "it takes the root of a number below zero",
    "Softmax": "all that it compares is minus infinity",
    "Reciprocal": "it divides by zero",
}
_CLIPPED: Final = 0.02  # of the range that is left: values lie so far beyond it
_COARSE: Final = 0.25  # of a usual number: a step that is no detail any more
_NEAR: Final = 0.5
_WIDE: Final = 2.0**31


def guess(pair: Pair, meter: Meter, known: Sequence[tuple[Pair, Meter]], tolerance: float) -> str:
    """One clause.

    Args:
        pair: the value.
        meter: how far it is apart.
        known: what its operator reads, the same of each.
        tolerance: from which on values differ.
    """
    for found in (_broken(pair, meter, known), _by_stage(pair, meter), _cast(pair, meter)):
        if found:
            return found
    before = max((one.apart() for _, one in known if not one.misfit), default=0.0)
    if before > _NEAR * tolerance:
        return (
            f"what it reads is {before:.2g} apart already: many small differences add up, and no "
            "operator alone is to blame"
        )
    if pair.operator is not None and pair.operator.kind != pair.other.kind:
        return f"{pair.other.title} stands for it and computes otherwise: what it reads agrees"
    return "the operator computes otherwise: what it reads agrees" + _told_of(before)


def _told_of(before: float) -> str:
    return f" within {before:.2g}" if before else ""


def _broken(pair: Pair, meter: Meter, known: Sequence[tuple[Pair, Meter]]) -> str:
    reach = max(abs(meter.low[0]), abs(meter.high[0]))
    narrow = meter.kind == "float16" or any(one.kind == "float16" for _, one in known)
    if (meter.endless or meter.nans) and HALF < reach < 1e30:
        return f"beyond float16: it reaches {reach:.3g}, and float16 ends at {HALF:.0f}"
    if meter.nans:
        inner = next((one for _, one in known if one.endless), None)
        if inner is not None:
            return "NaN comes of infinity among what it reads"
        cause = _UNDEFINED.get(pair.other.kind, "the operator makes it")
        return f"NaN in {meter.nans} numbers: {cause}"
    if meter.endless:
        ends = f", and float16 ends at {HALF:.0f}" if narrow else ""
        return f"infinite in {meter.endless} numbers; the source form reaches {reach:.3g}{ends}"
    return ""


def _by_stage(pair: Pair, meter: Meter) -> str:
    if pair.stage is Stage.STORED:
        return f"the weights differ: {meter.worst[1]:.4g} became {meter.worst[2]:.4g}"
    if pair.stage is not Stage.ROUNDED:
        return ""
    (low, kept_low), (high, kept_high) = meter.low, meter.high
    if kept_low >= kept_high:
        return (
            f"too coarse: every value becomes {kept_low:.4g}, and they reach from {low:.4g} to "
            f"{high:.4g}"
        )
    step = min(kept_high - kept_low, meter.step)
    past = max(kept_low - low, high - kept_high)
    if past > max(step, _CLIPPED * (kept_high - kept_low)):
        return (
            f"cut off: it is rounded within {kept_low:.4g} to {kept_high:.4g}, and the values "
            f"reach from {low:.4g} to {high:.4g}"
        )
    how = "too coarse: steps of" if step > _COARSE * meter.usual() else "rounding: steps of"
    return f"{how} {step:.3g}, and a usual value is {meter.usual():.3g}"


def _cast(pair: Pair, meter: Meter) -> str:
    kinds = {pair.other.kind, pair.operator.kind if pair.operator is not None else ""}
    if not kinds & {"Cast", "Convert", "CAST"}:
        return ""
    if max(abs(meter.low[0]), abs(meter.high[0])) >= _WIDE:
        return f"a cast: {meter.worst[1]:.0f} became {meter.worst[2]:.0f}, beyond 32 bits"
    return f"a cast: {meter.worst[1]:.6g} became {meter.worst[2]:.6g}"
