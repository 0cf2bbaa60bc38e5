"""The file of the format `trees`: arrays of numbers; nothing in it runs.

`trees.npz` holds the arrays of a `Forest` and, as JSON, its `About`. Everything that a kernel would
follow (children, leaves, roots, features, targets) is checked when it is read: the kernel itself
checks nothing.
"""

import json
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core import codec
from modelworks.core.errors import InvalidError
from modelworks.ext.formats.trees import PAIRS, UNLABELLED, VERSION, About, Before, Forest

FILE: Final = "trees.npz"
MOST_NODES: Final = 100_000_000
WIDEST: Final = 1 << 20  # features, and targets
DEEPEST: Final = 4096
_ABOUT: Final = "about"
_REALS: Final = frozenset({"thresholds", "values", "base"})
_DTYPES: Final = {
    "thresholds": "f4",
    "features": "i4",
    "missing_right": "u1",
    "children": "i4",
    "leaves": "i4",
    "values": "f4",
    "roots": "i4",
    "targets": "i4",
    "base": "f4",
}


def write(forest: Forest, path: Path) -> None:
    """Write the file; the same forest gives the same bytes."""
    text = json.dumps(codec.encode(forest.about), sort_keys=True).encode()
    arrays: dict[str, Any] = {
        name: np.asarray(getattr(forest, name), _kind(forest, name)) for name in _DTYPES
    }
    with path.open("wb") as file:
        np.savez(file, about=np.frombuffer(text, np.uint8), **arrays)


def read(path: Path) -> Forest:
    """The file's forest, checked.

    Raises:
        InvalidError: there is none, or it is not what a kernel may follow; `field` says where.
    """
    if not path.is_file():
        raise InvalidError(f"no model file at {path}", field="path")
    try:
        arrays = _arrays(path)
    except (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile) as error:
        words = " ".join(str(error).split())[:160]
        raise InvalidError(f"{path.name} is no file of trees: {words}", field="file") from error
    plain = all(isinstance(one, np.ndarray) for one in arrays.values())
    if not plain or arrays.keys() != {_ABOUT, *_DTYPES}:
        raise _wrong("file", f"it holds {', '.join(sorted(arrays))[:120]}")
    about = _about(arrays.pop(_ABOUT))
    return check(Forest(about, **arrays))


def _arrays(path: Path) -> dict[str, Any]:
    """The arrays, none of them larger than its place in the file."""
    with zipfile.ZipFile(path) as packed:
        if any(one.compress_type != zipfile.ZIP_STORED for one in packed.infolist()):
            raise ValueError("it is compressed")
        if sum(one.file_size for one in packed.infolist()) > path.stat().st_size:
            raise ValueError("its members overlap")
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def _about(array: Any) -> About:
    if array.dtype != np.uint8 or array.ndim != 1:
        raise _wrong(_ABOUT, "it is no text")
    try:
        data = json.loads(array.tobytes())
    except (ValueError, RecursionError) as error:
        raise _wrong(_ABOUT, "it is no JSON") from error
    about = codec.decode(About, data)
    if about.version != VERSION:
        raise _wrong("version", f"it is {about.version}; this Modelworks reads {VERSION}")
    return about


def check(forest: Forest) -> Forest:
    """The same with its depths, where a kernel may follow it.

    Raises:
        InvalidError: a number leads out of its array, a tree in a circle, or two into one.
    """
    _check_shapes(forest)
    _check_ends(forest)
    nodes, sums = len(forest.children), len(forest.base)
    for name, low, high in (
        ("features", 0, forest.about.width),
        ("leaves", -1, len(forest.values)),
        ("roots", 0, nodes),
        ("targets", 0, sums),
        ("missing_right", 0, 2),
    ):
        array = getattr(forest, name)
        if array.size and (array.min() < low or array.max() >= high):
            raise _wrong(name, f"a number is not from {low} to {high - 1}")
    arrays = {name: getattr(forest, name) for name in _DTYPES}
    return Forest(forest.about, **arrays, depths=_depths(forest))


def _kind(forest: Forest, name: str) -> Any:
    return np.dtype("f8" if forest.about.double and name in _REALS else _DTYPES[name])


def _check_shapes(forest: Forest) -> None:
    for name in _DTYPES:
        array = getattr(forest, name)
        if array.dtype != _kind(forest, name) or array.ndim != (2 if name == "values" else 1):
            raise _wrong(name, f"it is {array.dtype} of {array.ndim} axes")
    nodes, sums, trees = len(forest.children), len(forest.base), len(forest.roots)
    if not 1 <= nodes <= MOST_NODES or not trees:
        raise _wrong("children", f"{nodes} nodes of {trees} trees")
    if not 1 <= sums <= WIDEST or not 1 <= forest.about.width <= WIDEST:
        raise _wrong("base", f"{sums} sums, rows of {forest.about.width}")
    for name in ("thresholds", "features", "missing_right", "leaves"):
        if len(getattr(forest, name)) != nodes:
            raise _wrong(name, f"{len(getattr(forest, name))} of {nodes} nodes")
    every = not len(forest.targets)
    if forest.values.size >= 1 << 31:  # the kernel's numbers of places have 32 bits
        raise _wrong("values", f"{forest.values.size} of them")
    if forest.values.shape[1] != (sums if every else 1):
        raise _wrong("values", f"{forest.values.shape[1]} a leaf")
    if not every and len(forest.targets) != trees:
        raise _wrong("targets", f"{len(forest.targets)} of {trees} trees")


def _check_ends(forest: Forest) -> None:
    about, sums = forest.about, len(forest.base)
    wanted = 0 if about.ending in UNLABELLED else 2 if about.ending in PAIRS else sums
    if len(about.labels) != wanted or len({type(one) for one in about.labels}) > 1:
        raise _wrong("labels", f"{len(about.labels)} labels of {sums} sums")
    if any(type(one) is int and not -(2**63) <= one < 2**63 for one in about.labels):
        raise _wrong("labels", "one is no whole number of 64 bits")
    if about.ending in PAIRS and sums != 1:
        raise _wrong("base", f"{sums} sums for two classes")
    for change in about.before:
        if any(len(one) not in {1, about.width} for one in (change.offset, change.factor)) and (
            change.kind is Before.SCALE
        ):
            raise _wrong("before", "the numbers of a scale do not fit the rows")
    inputs = about.signature.inputs
    widths = [spec.shape[1:] for spec in inputs]
    matrix = len(inputs) == 1 and widths[0] == (about.width,)
    if not matrix and (widths != [(1,)] * about.width):
        raise _wrong("signature", "its inputs are neither a matrix nor columns of the rows' width")
    names = {spec.name for spec in about.signature.outputs}
    if not names or names - {about.label, about.output}:
        raise _wrong("signature", "an output is none of the trees'")


def _depths(forest: Forest) -> Any:
    """Follow all trees at once; each node may be come to once."""
    children, leaves, nodes = forest.children, forest.leaves, len(forest.children)
    seen = np.full(nodes, -1, np.int64)
    at = forest.roots.astype(np.int64)
    tree = np.arange(len(at), dtype=np.int32)
    depths = np.zeros(len(at), np.int32)
    for level in range(DEEPEST):
        ways = np.arange(len(at))
        known = (seen[at] >= 0).any()
        seen[at] = ways
        if known or (seen[at] != ways).any():
            raise _wrong("children", "two ways lead to one node")
        depths[tree] = level
        ends = leaves[at] >= 0
        if (children[at[ends]] != at[ends]).any():
            raise _wrong("children", "a leaf leads away from itself")
        at, tree = at[~ends], tree[~ends]
        if not len(at):
            return depths
        left = children[at].astype(np.int64)
        if left.min() < 0 or left.max() + 1 >= nodes:
            raise _wrong("children", "a child is not there")
        at, tree = np.stack([left, left + 1], 1).ravel(), np.repeat(tree, 2)
    raise _wrong("children", f"a tree is deeper than {DEEPEST}")


def _wrong(where: str, what: str) -> InvalidError:
    return InvalidError(f"{FILE} is no file of trees: {where}: {what}", field=where)
