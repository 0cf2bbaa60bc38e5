"""Words for writing LLVM's code from Python: loops, vectors, reading from many places at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from llvmlite import ir

I1: Final = ir.IntType(1)
I32: Final = ir.IntType(32)
I64: Final = ir.IntType(64)
F32: Final = ir.FloatType()
F64: Final = ir.DoubleType()
PTR: Final = ir.PointerType()


def many(kind: ir.Type, lanes: int) -> ir.VectorType:
    """So many of a kind."""
    return ir.VectorType(kind, lanes)


def number(value: int) -> ir.Constant:
    """A whole number of 64 bits."""
    return ir.Constant(I64, value)


def same(b: ir.IRBuilder, value: Any, lanes: int) -> Any:
    """A value in every lane."""
    vector = many(value.type, lanes)
    one = b.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(I32, 0))
    zeros = ir.Constant(many(I32, lanes), [0] * lanes)
    return b.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


def alike(kind: ir.Type, value: float, lanes: int) -> ir.Constant:
    """A constant in every lane."""
    return ir.Constant(many(kind, lanes), [value] * lanes)


def place(b: ir.IRBuilder, kind: ir.Type, start: Any, at: Any) -> Any:
    """Address of element `at` behind `start`."""
    return b.gep(start, [at], source_etype=kind)


def read(b: ir.IRBuilder, kind: ir.Type, start: Any, at: Any) -> Any:
    """Element `at` behind `start`; of a vector at any address."""
    return b.load(place(b, kind, start, at), typ=kind)


def gather(b: ir.IRBuilder, kind: ir.Type, start: Any, at: Any) -> Any:
    """Elements behind `start`, one a lane: `at` is a vector of 32-bit numbers.

    The addresses lie inside their array: what `at` is made of was checked when it was loaded.
    """
    lanes = at.type.count
    spots = b.gep(start, [at], source_etype=kind)
    spots.type = many(PTR, lanes)  # llvmlite knows no vectors of addresses
    name, size = {F32: ("f32", 4), F64: ("f64", 8), I32: ("i32", 4)}[kind]
    vector = many(kind, lanes)
    reads = b.module.declare_intrinsic(
        f"llvm.masked.gather.v{lanes}{name}.v{lanes}p0",
        fnty=ir.FunctionType(vector, [many(PTR, lanes), I32, many(I1, lanes), vector]),
    )
    align = ir.Constant(I32, size)
    return b.call(reads, [spots, align, alike(I1, 1, lanes), ir.Constant(vector, ir.Undefined)])


def slot(b: ir.IRBuilder, kind: ir.Type) -> Any:
    """Room for one value, outside of all loops."""
    with b.goto_entry_block():
        return b.alloca(kind)


@contextmanager
def loop(b: ir.IRBuilder, start: Any, stop: Any, step: int = 1) -> Iterator[Any]:
    """Code for every number from `start` to before `stop`; gives the number."""
    counter = slot(b, I64)
    b.store(start, counter)
    head, body, after = (b.append_basic_block(name) for name in ("head", "body", "after"))
    b.branch(head)
    b.position_at_end(head)
    now = b.load(counter, typ=I64)
    b.cbranch(b.icmp_signed("<", now, stop), body, after)
    b.position_at_end(body)
    yield now
    b.store(b.add(now, number(step)), counter)
    b.branch(head)
    b.position_at_end(after)
