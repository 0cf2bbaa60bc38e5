"""The kernel's code: flattened trees, followed in 32 lanes at once.

A lane is a row of the same tree where there are many rows, and a tree of the same row where there
are few. Nothing branches on data: a leaf leads to itself, and every lane takes as many steps as the
deepest tree has levels. A step reads the node (threshold, feature, left child), the row's value of
that feature, and goes to the child: the right one stands behind the left.

Both ways add a row's leaves one after another in the order of the trees, in float32: a row's sum
does not depend on how many rows came with it, and is the one that onnxruntime has. Forests whose
thresholds float32 would blur have rows, thresholds and sums of float64.

What the code is given as `forest` is an array of 64-bit fields, see `Field`.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Final

from llvmlite import ir

from modelworks.ext.engines.trees import ending
from modelworks.ext.engines.trees.loops import (
    F32,
    F64,
    I32,
    I64,
    PTR,
    alike,
    gather,
    loop,
    many,
    number,
    place,
    read,
    same,
)
from modelworks.ext.formats.trees import Ending

LANES: Final = 32  # two vectors of 16: while one waits for memory, the other computes
FEW: Final = 20  # rows left over, up to which trees go in lanes
WORDS: Final = 4  # of 32 bits a node: threshold, feature, left child, leaf
MISSING_RIGHT: Final = 1 << 31  # in the word of the feature: where NaN goes


class Field(IntEnum):
    """What stands where in `forest`."""

    NODES = 0  # address: int32[nodes, WORDS]
    VALUES = 1  # address: real[leaves, 1 or targets]
    ROOTS = 2  # address: int32[trees, and LANES more]
    DEPTHS = 3  # address: int32[trees]
    TARGETS = 4  # address: int32[trees]; unused where a leaf has a value for every target
    BASE = 5  # address: real[targets]
    LABELS = 6  # address: int64[classes]
    BLOCKS = 7  # address: int32[blocks + 1]: trees whose nodes stay near together
    BLOCK_COUNT = 8
    TREES = 9
    WIDTH = 10  # features of a row
    SUMS = 11  # targets
    DEEPEST = 12  # address: int32[trees / LANES, rounded up]
    THRESHOLDS = 13  # address: float64[nodes], where they are float64: a word is too short for one


class Leaf(StrEnum):
    """What a leaf holds."""

    ONE = "one"  # a value, for its tree's target
    ALL = "all"  # a value for every target


@dataclass(frozen=True, slots=True)
class Sort:
    """What the code is made for.

    Attributes:
        leaf: what a leaf holds.
        last: what becomes of the sums.
        strict: a row goes left where its value is below the threshold; else where it is not above.
        double: rows, thresholds and sums are float64, else float32: `real`.
    """

    leaf: Leaf
    last: Ending
    strict: bool
    double: bool

    @property
    def real(self) -> ir.Type:
        """Of rows, thresholds and sums."""
        return F64 if self.double else F32


def module(sort: Sort) -> ir.Module:
    """The code for forests of a sort.

    It has one function, `run(forest, x, rows, sums, label, output)`: real `x` of rows x
    features; `sums` is scratch, real of targets x rows rounded up to `LANES`; int64 `label` of
    rows; float32 `output` of rows x what `last` makes of the sums.
    """
    found = ir.Module("trees")
    function = ir.Function(
        found, ir.FunctionType(ir.VoidType(), [PTR, PTR, I64, PTR, PTR, PTR]), "run"
    )
    b = ir.IRBuilder(function.append_basic_block("entry"))
    _Run(b, sort, function.args[:4]).write()
    forest, _, rows, sums, label, output = function.args
    stride = _padded(b, rows)
    fields = [read(b, I64, forest, number(f)) for f in (Field.SUMS, Field.BASE, Field.LABELS)]
    base, labels = (b.inttoptr(field, PTR) for field in fields[1:])
    with loop(b, number(0), rows) as row:
        sources = ending.Row(
            sort.real, place(b, sort.real, sums, row), stride, fields[0], base, labels
        )
        ending.write(b, sort.last, sources, row, label, output)
    b.ret_void()
    return found


def _padded(b: ir.IRBuilder, rows: Any) -> Any:
    return b.and_(b.add(rows, number(LANES - 1)), number(-LANES))


class _Run:
    """Writes what fills `sums`."""

    def __init__(self, b: ir.IRBuilder, sort: Sort, given: Any) -> None:
        self._b, self._sort = b, sort
        self._above = ">=" if sort.strict else ">"
        forest, self._x, self._rows, self._sums = given
        fields = [read(b, I64, forest, number(field)) for field in Field]
        addresses = [f for f in Field if f not in _COUNTS]
        at = {f: b.inttoptr(fields[f], PTR) for f in addresses} | {f: fields[f] for f in _COUNTS}
        self._at = at
        self._words = [place(b, I32, at[Field.NODES], number(word)) for word in range(WORDS)]
        self._stride = _padded(b, self._rows)

    def write(self) -> None:
        b, at, real = self._b, self._at, self._sort.real
        with loop(b, number(0), b.mul(self._stride, at[Field.SUMS])) as i:
            b.store(ir.Constant(real, 0.0), place(b, real, self._sums, i))
        rest = b.and_(self._rows, number(LANES - 1))
        alone = b.icmp_signed("<=", rest, number(FEW))
        together = b.select(alone, b.sub(self._rows, rest), self._rows)
        with loop(b, number(0), at[Field.BLOCK_COUNT]) as block:
            first, end = (
                b.sext(read(b, I32, at[Field.BLOCKS], b.add(block, number(i))), I64) for i in (0, 1)
            )
            with loop(b, number(0), together, LANES) as row, loop(b, first, end) as tree:
                self._rows_in_lanes(row, tree)
        with loop(b, together, self._rows) as row, loop(b, number(0), at[Field.TREES], LANES) as t:
            self._trees_in_lanes(row, t)

    def _rows_in_lanes(self, row: Any, tree: Any) -> None:
        b, at = self._b, self._at
        width = b.trunc(at[Field.WIDTH], I32)
        last = b.trunc(b.sub(b.sub(self._rows, row), number(1)), I32)
        lane = ir.Constant(many(I32, LANES), list(range(LANES)))
        ends = same(b, last, LANES)
        lane = b.select(b.icmp_signed("<", lane, ends), lane, ends)  # behind the end: the last row
        starts = b.mul(lane, same(b, width, LANES))
        x = place(b, self._sort.real, self._x, b.mul(row, at[Field.WIDTH]))
        root = same(b, read(b, I32, at[Field.ROOTS], tree), LANES)
        leaf = self._descend(root, x, starts, read(b, I32, at[Field.DEPTHS], tree))
        if self._sort.leaf is Leaf.ONE:
            target = b.sext(read(b, I32, at[Field.TARGETS], tree), I64)
            self._add(gather(b, self._sort.real, at[Field.VALUES], leaf), target, row)
            return
        sums = at[Field.SUMS]
        first = b.mul(leaf, same(b, b.trunc(sums, I32), LANES))
        with loop(b, number(0), sums) as target:
            values = place(b, self._sort.real, at[Field.VALUES], target)
            self._add(gather(b, self._sort.real, values, first), target, row)

    def _add(self, values: Any, target: Any, row: Any) -> None:
        b, real = self._b, self._sort.real
        spot = place(b, real, self._sums, b.add(b.mul(target, self._stride), row))
        vector = many(real, LANES)
        b.store(b.fadd(b.load(spot, typ=vector, align=4), values), spot, align=4)

    def _trees_in_lanes(self, row: Any, tree: Any) -> None:
        b, at = self._b, self._at
        x = place(b, self._sort.real, self._x, b.mul(row, at[Field.WIDTH]))
        vector = many(I32, LANES)
        roots = b.load(place(b, I32, at[Field.ROOTS], tree), typ=vector, align=4)
        depth = read(b, I32, at[Field.DEEPEST], b.sdiv(tree, number(LANES)))
        leaf = self._descend(roots, x, None, depth)
        with b.goto_entry_block():
            kept = b.alloca(vector)
        b.store(leaf, kept)
        left = b.sub(at[Field.TREES], tree)
        count = b.select(b.icmp_signed("<", left, number(LANES)), left, number(LANES))
        with loop(b, number(0), count) as lane:
            one = b.sext(read(b, I32, kept, lane), I64)
            if self._sort.leaf is Leaf.ONE:
                target = b.sext(read(b, I32, at[Field.TARGETS], b.add(tree, lane)), I64)
                self._add_one(one, target, row)
            else:
                first = b.mul(one, at[Field.SUMS])
                with loop(b, number(0), at[Field.SUMS]) as target:
                    self._add_one(b.add(first, target), target, row)

    def _add_one(self, value: Any, target: Any, row: Any) -> None:
        b, real = self._b, self._sort.real
        spot = place(b, real, self._sums, b.add(b.mul(target, self._stride), row))
        found = read(b, real, self._at[Field.VALUES], value)
        b.store(b.fadd(b.load(spot, typ=real), found), spot)

    def _descend(self, root: Any, x: Any, starts: Any, depth: Any) -> Any:
        """The leaves that the lanes come to, by their number.

        Args:
            root: node that each lane begins at.
            x: address of the first value of a row.
            starts: where the row of each lane begins behind `x`; None = it is one row.
            depth: steps to the deepest leaf of these trees. Fewer are taken where no lane moved in
                one: trees side by side are of different depths.
        """
        b, vector = self._b, many(I32, LANES)
        before = b.block
        step, after = b.append_basic_block("step"), b.append_basic_block("arrived")
        b.cbranch(b.icmp_signed(">", depth, ir.Constant(I32, 0)), step, after)
        b.position_at_end(step)
        node, level = b.phi(vector), b.phi(I32)
        to = self._step(node, x, starts)
        deeper = b.add(level, ir.Constant(I32, 1))
        moved = b.bitcast(b.icmp_signed("!=", to, node), ir.IntType(LANES))
        more = b.and_(
            b.icmp_signed("<", deeper, depth),
            b.icmp_signed("!=", moved, ir.Constant(ir.IntType(LANES), 0)),
        )
        b.cbranch(more, step, after)
        for value, first, next_ in ((node, root, to), (level, ir.Constant(I32, 0), deeper)):
            value.add_incoming(first, before)
            value.add_incoming(next_, step)
        b.position_at_end(after)
        end = b.phi(vector)
        end.add_incoming(root, before)
        end.add_incoming(to, step)
        return gather(b, I32, self._words[3], b.shl(end, alike(I32, 2, LANES)))

    def _step(self, node: Any, x: Any, starts: Any) -> Any:
        b = self._b
        at = b.shl(node, alike(I32, 2, LANES))
        if self._sort.double:
            threshold = gather(b, F64, self._at[Field.THRESHOLDS], node)
        else:
            threshold = gather(b, F32, self._words[0], at)
        feature = gather(b, I32, self._words[1], at)
        child = gather(b, I32, self._words[2], at)
        column = b.and_(feature, alike(I32, MISSING_RIGHT - 1, LANES))
        value = gather(b, self._sort.real, x, column if starts is None else b.add(starts, column))
        missing = b.fcmp_unordered("uno", value, value)
        lost = b.and_(missing, b.icmp_signed("<", feature, alike(I32, 0, LANES)))
        right = b.or_(b.fcmp_ordered(self._above, value, threshold), lost)
        return b.add(child, b.zext(right, many(I32, LANES)))


_COUNTS: Final = (Field.BLOCK_COUNT, Field.TREES, Field.WIDTH, Field.SUMS)
