"""A forest as the kernel wants it in memory."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from modelworks.ext.engines.trees import compiled
from modelworks.ext.engines.trees.kernel import LANES, MISSING_RIGHT, WORDS, Field, Leaf, Sort
from modelworks.ext.formats.trees import Forest

_NEAR: Final = 32 * 1024  # bytes of nodes that stay in the nearest cache, of usually 32 to 48 KiB


class Planted:
    """A forest, and the function that runs it.

    Attributes:
        sums: of a row.
        address: of what the function is given first.
        run: the function, see `kernel.module`.
    """

    def __init__(self, forest: Forest, labels: Any) -> None:
        """Lay it out.

        Args:
            forest: checked.
            labels: int64, one a class; any one number where there are none.
        """
        leaf = Leaf.ONE if len(forest.targets) else Leaf.ALL
        about = forest.about
        self.sums = len(forest.base)
        self.run: Callable[..., None] = compiled.function(
            Sort(leaf, about.ending, about.strict, about.double)
        )
        trees = len(forest.roots)
        self._arrays = {
            Field.NODES: _nodes(forest),
            Field.VALUES: np.ascontiguousarray(forest.values),
            Field.ROOTS: np.pad(forest.roots, (0, LANES), "edge"),
            Field.DEPTHS: forest.depths,
            Field.TARGETS: forest.targets,
            Field.BASE: forest.base,
            Field.LABELS: labels,
            Field.BLOCKS: _blocks(forest),
            Field.THRESHOLDS: _apart(forest),
            Field.DEEPEST: np.maximum.reduceat(forest.depths, np.arange(0, trees, LANES)),
        }
        self._fields = np.zeros(len(Field), np.int64)
        for place, array in self._arrays.items():
            self._fields[place] = array.ctypes.data
        self._fields[Field.BLOCK_COUNT] = len(self._arrays[Field.BLOCKS]) - 1
        self._fields[Field.TREES] = trees
        self._fields[Field.WIDTH] = about.width
        self._fields[Field.SUMS] = self.sums
        self.address = self._fields.ctypes.data


def _nodes(forest: Forest) -> Any:
    """The words of every node beside each other: a step reads from one line of the cache."""
    nodes = np.empty((len(forest.children), WORDS), np.int32)
    nodes[:, 0] = 0 if forest.about.double else forest.thresholds.view(np.int32)
    features = forest.features.astype(np.uint32)
    features[forest.missing_right == 1] |= np.uint32(MISSING_RIGHT)
    nodes[:, 1] = features.view(np.int32)
    nodes[:, 2] = forest.children
    nodes[:, 3] = forest.leaves
    # A leaf leads to itself: nothing is above its threshold, and what is missing stays too.
    ends = forest.leaves >= 0
    nodes[ends, 0] = np.array(np.nan, np.float32).view(np.int32)
    nodes[ends, 1] = 0
    return nodes


def _apart(forest: Forest) -> Any:
    """Thresholds that are too long for a word; none where they are not."""
    found = forest.thresholds if forest.about.double else np.empty(0)
    return np.where(forest.leaves >= 0, np.nan, found) if len(found) else found


def _blocks(forest: Forest) -> Any:
    """Where trees begin that are run for all rows before the next ones are."""
    order = np.sort(forest.roots)
    sizes = np.diff(np.append(order, len(forest.children)))[np.searchsorted(order, forest.roots)]
    bytes_ = np.cumsum(sizes, dtype=np.int64) * WORDS * 4
    block = (bytes_ - 1) // _NEAR
    starts = np.flatnonzero(np.diff(block, prepend=-1))
    return np.append(starts, len(sizes)).astype(np.int32)
