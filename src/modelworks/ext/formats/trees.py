"""Flattened trees: the words of the format `trees`."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from modelworks.core.tensor import Signature

FORMAT: Final = "trees"
VERSION: Final = 1


class Ending(StrEnum):
    """What becomes of a row's sums."""

    SCORE = "score"  # they are the answer
    EXP = "exp"  # their exponentials are
    SIGMOID = "sigmoid"  # each through the logistic function
    SOFTPLUS = "softplus"  # log(1 + exp)
    SIGNED_SQUARE = "signed-square"  # each times its size
    CLASSES = "classes"  # label of the largest, and the sums
    SOFTMAX = "softmax"  # the same, and probabilities
    EACH = "each"  # the same, each through the logistic function
    EACH_LABEL = "each-label"  # the same, and the label is of the largest of those
    BINARY = "binary"  # one sum: label by its sign, probabilities by the logistic function
    BINARY_RAW = "binary-raw"  # the same, and the sum with and without a minus
    SHARE = "share"  # one sum, the second class's probability: label by whether it is over a half


UNLABELLED: Final = frozenset(
    {Ending.SCORE, Ending.EXP, Ending.SIGMOID, Ending.SOFTPLUS, Ending.SIGNED_SQUARE}
)
PAIRS: Final = frozenset({Ending.BINARY, Ending.BINARY_RAW, Ending.SHARE})


class Before(StrEnum):
    """What is done to the rows before the trees see them."""

    MISSING = "missing"  # one value means that there is none
    SCALE = "scale"  # less an offset, times a factor, by column


@dataclass(frozen=True, slots=True)
class Change:
    """One thing done to the rows, in their own precision.

    Attributes:
        kind: what.
        value: that stands for a missing one.
        offset: one a column, or one for all.
        factor: the same.
    """

    kind: Before
    value: float = 0.0
    offset: tuple[float, ...] = ()
    factor: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class About:
    """What is no array.

    Attributes:
        signature: of the graph that the trees come from. Its inputs are one matrix, or columns
            that stand beside each other in their order; outputs are named by `label`, `output`.
        ending: what becomes of the sums.
        width: features of a row.
        strict: a row goes left where its value is below the threshold; else where it is not above.
        label: name of the output with the labels; empty = there is none.
        output: name of the output with numbers.
        labels: of the classes: all whole numbers, or all text.
        before: in their order.
        double: rows, thresholds, leaves and sums are float64, else float32.
        version: of the format.
    """

    signature: Signature
    ending: Ending
    width: int
    strict: bool
    label: str = ""
    output: str = ""
    labels: tuple[int | str, ...] = ()
    before: tuple[Change, ...] = ()
    double: bool = False
    version: int = VERSION


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """All trees behind each other; a node's right child stands behind its left one.

    Attributes:
        about: what is no array.
        thresholds: real[nodes]: float64 where `about.double` says so, else float32.
        features: int32[nodes]: column of the row.
        missing_right: uint8[nodes]: 1 = NaN goes right, else left.
        children: int32[nodes]: the left child; a leaf's is the leaf itself.
        leaves: int32[nodes]: number of the leaf; -1 = it is none.
        values: real[leaves, sums], or [leaves, 1] where a tree adds to one sum only.
        roots: int32[trees].
        targets: int32[trees]: the sum that a tree adds to; empty = to all of them.
        base: real[sums]: added at the end.
        depths: int32[trees]: steps to the deepest leaf; found by `trees_file.check`.
    """

    about: About
    thresholds: Any
    features: Any
    missing_right: Any
    children: Any
    leaves: Any
    values: Any
    roots: Any
    targets: Any
    base: Any
    depths: Any = field(default=None)
