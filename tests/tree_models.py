"""Forests drawn at random, written as our importers write them: no training, every sort."""

from pathlib import Path

import numpy as np

from modelworks.ext.importers.forest import Columns, Forest, Task, write

WIDTH = 6


def drawn(targets=1, trees=7, depth=5, *, mode="BRANCH_LEQ", seed=0, share=False, width=WIDTH):
    """A forest of uneven trees, one of them a single leaf; thresholds repeat, and lie on zero.

    Args:
        targets: sums.
        trees: of them.
        depth: of the deepest leaf.
        mode: how splits ask.
        seed: of everything drawn.
        share: leaves are shares of one, none below zero.
        width: features.
    """
    numbers = np.random.default_rng(seed)
    forest = Forest(targets)

    def grow(node, level, tree, free):
        if level == 0 or (level < depth - 1 and numbers.random() < 0.2):
            weight = numbers.random() / trees if share else numbers.normal()
            forest.leaf(node, tree % targets, float(np.float32(weight)))
            return free
        yes, no = free, free + 1
        value = float(np.float32(numbers.choice([0.0, -0.0, 0.5, numbers.normal()])))
        feature, missing = int(numbers.integers(width)), bool(numbers.random() < 0.5)
        forest.split(node, feature, mode, value, yes, no, missing=missing)
        return grow(no, level - 1, tree, grow(yes, level - 1, tree, free + 2))

    for tree in range(trees):
        grow(0, 0 if tree == 3 else depth, tree, 1)
        forest.end_tree()
    return forest


def rows(count, seed=0, width=WIDTH):
    """Rows with values on the thresholds, both zeros, both infinities and NaN."""
    numbers = np.random.default_rng(seed)
    found = numbers.normal(size=(count, width)).astype(np.float32)
    special = np.array([0.0, -0.0, 0.5, np.nan, np.inf, -np.inf, 1e-40, -1e-40], np.float32)
    chosen = numbers.random(found.shape) < 0.4
    found[chosen] = numbers.choice(special, int(chosen.sum()))
    return found


def onnx_folder(folder: Path, task: Task, forest=None, columns=None):
    """The forest as an artifact; the folder and its signature."""
    folder.mkdir(parents=True, exist_ok=True)
    forest = forest or drawn(len(task.base))
    columns = columns or Columns(WIDTH)
    return folder, write(forest, task, columns, folder / "model.onnx")
