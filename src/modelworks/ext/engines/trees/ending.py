"""The kernel's end: what a row's sums become, as ONNX defines it and onnxruntime computes it."""

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from modelworks.ext.engines.trees.loops import F32, I64, loop, number, place, read, slot
from modelworks.ext.formats.trees import PAIRS, UNLABELLED, Ending


@dataclass(frozen=True, slots=True)
class Row:
    """Where a row's sums are.

    Attributes:
        real: of them.
        sums: address of the first one.
        stride: elements from one to the next.
        count: of them.
        base: address of what is added to each.
        labels: address of the classes' labels.
    """

    real: ir.Type
    sums: Any
    stride: Any
    count: Any
    base: Any
    labels: Any


def write(b: ir.IRBuilder, last: Ending, given: Row, row: Any, label: Any, output: Any) -> None:
    """Code for one row's label and output."""
    if last in PAIRS:
        _pair(b, last, given, row, label, output)
        return
    real = given.real
    most, best = slot(b, real), slot(b, I64)
    b.store(ir.Constant(real, float("-inf")), most)
    b.store(number(0), best)
    first = b.mul(row, given.count)
    with loop(b, number(0), given.count) as i:
        value = _summed(b, given, i)
        raw = value
        if last in _LINKS:
            value = _LINKS[last](b, value)
        b.store(_single(b, value), place(b, F32, output, b.add(first, i)))
        if last not in UNLABELLED:
            seen = value if last is Ending.EACH_LABEL else raw
            larger = b.fcmp_ordered(">", seen, b.load(most, typ=real))
            b.store(b.select(larger, seen, b.load(most, typ=real)), most)
            b.store(b.select(larger, i, b.load(best, typ=I64)), best)
    if last not in UNLABELLED:
        chosen = read(b, I64, given.labels, b.load(best, typ=I64))
        b.store(chosen, place(b, I64, label, row))
    if last is Ending.SOFTMAX:
        _softmax(b, given, b.load(most, typ=real), place(b, F32, output, first))


def _summed(b: ir.IRBuilder, given: Row, i: Any) -> Any:
    value = read(b, given.real, given.sums, b.mul(i, given.stride))
    return b.fadd(value, read(b, given.real, given.base, i))


def _softmax(b: ir.IRBuilder, given: Row, most: Any, output: Any) -> None:
    total = slot(b, given.real)
    b.store(_like(most, 0), total)
    with loop(b, number(0), given.count) as i:
        value = _call(b, "exp", b.fsub(_summed(b, given, i), most))
        b.store(_single(b, value), place(b, F32, output, i))
        b.store(b.fadd(b.load(total, typ=given.real), value), total)
    whole = _single(b, b.load(total, typ=given.real))
    with loop(b, number(0), given.count) as i:
        spot = place(b, F32, output, i)
        b.store(b.fdiv(b.load(spot, typ=F32), whole), spot)


def _pair(b: ir.IRBuilder, last: Ending, given: Row, row: Any, label: Any, output: Any) -> None:
    value = _summed(b, given, number(0))
    limit = 0.5 if last is Ending.SHARE else 0.0
    second = b.zext(b.fcmp_ordered(">", value, _like(value, limit)), I64)
    b.store(read(b, I64, given.labels, second), place(b, I64, label, row))
    if last is Ending.SHARE:
        pair = b.fsub(_like(value, 1), value), value
    elif last is Ending.BINARY_RAW:
        pair = b.fneg(value), value
    else:
        pair = _logistic(b, b.fneg(value)), _logistic(b, value)
    first = b.shl(row, number(1))
    for i, one in enumerate(pair):
        b.store(_single(b, one), place(b, F32, output, b.add(first, number(i))))


def _like(other: Any, value: float) -> ir.Constant:
    return ir.Constant(other.type, float(value))


def _single(b: ir.IRBuilder, value: Any) -> Any:
    """As float32: outputs are."""
    return value if value.type is F32 else b.fptrunc(value, F32)


def _call(b: ir.IRBuilder, name: str, value: Any) -> Any:
    return b.call(b.module.declare_intrinsic(f"llvm.{name}", [value.type]), [value])


def _logistic(b: ir.IRBuilder, value: Any) -> Any:
    """The logistic function as onnxruntime's classifiers of trees compute it."""
    small = _call(b, "exp", b.fneg(_call(b, "fabs", value)))
    high = b.fdiv(_like(value, 1), b.fadd(_like(value, 1), small))
    return b.select(
        b.fcmp_ordered("<", value, _like(value, 0)), b.fsub(_like(value, 1), high), high
    )


def _sigmoid(b: ir.IRBuilder, value: Any) -> Any:
    """The same function, small values too as exact as float32 has them."""
    small = _call(b, "exp", b.fneg(_call(b, "fabs", value)))
    over = b.select(b.fcmp_ordered("<", value, _like(value, 0)), small, _like(value, 1))
    return b.fdiv(over, b.fadd(_like(value, 1), small))


def _exp(b: ir.IRBuilder, value: Any) -> Any:
    return _call(b, "exp", value)


def _softplus(b: ir.IRBuilder, value: Any) -> Any:
    """`log(1 + exp(v))` as `max(v, 0) + log(1 + exp(-|v|))`."""
    small = _call(b, "exp", b.fneg(_call(b, "fabs", value)))
    above = b.select(b.fcmp_ordered(">", value, _like(value, 0)), value, _like(value, 0))
    return b.fadd(above, _call(b, "log", b.fadd(_like(value, 1), small)))


def _signed_square(b: ir.IRBuilder, value: Any) -> Any:
    return b.fmul(value, _call(b, "fabs", value))


_LINKS = {
    Ending.EXP: _exp,
    Ending.SIGMOID: _sigmoid,
    Ending.SOFTPLUS: _softplus,
    Ending.SIGNED_SQUARE: _signed_square,
    Ending.EACH: _logistic,
    Ending.EACH_LABEL: _sigmoid,
}
