"""ONNX artifacts as passes read and write them: the graph, and the files that lie beside it."""

import heapq
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import external_data_helper, numpy_helper

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.stepped import read_stepped
from modelworks.core.tensor import Signature

MODEL: Final = "model.onnx"
WEIGHTS: Final = "model.onnx.data"
LARGE: Final = 1_600_000_000
"""Bytes from which on the weights lie in a file of their own: a message ends at 2 GiB."""

_LONGEST: Final = 160


def short(error: BaseException, limit: int = _LONGEST) -> str:
    """What a library complained of, one line: its class and its first words."""
    text = " ".join(str(error)[: limit * 20].split()) or "no reason given"
    text = f"{type(error).__name__}: {text}"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def read_graph(folder: Path) -> onnx.ModelProto:
    """The graph of an artifact, its weights still where they lie.

    Raises:
        InvalidError: there is none, or it is damaged.
    """
    return _read(folder, weights=False)


def read_model(folder: Path) -> onnx.ModelProto:
    """The graph of an artifact with all of its weights, checked.

    Raises:
        InvalidError: there is none, or it is damaged.
    """
    return _read(folder, weights=True)


def _read(folder: Path, *, weights: bool) -> onnx.ModelProto:
    file = folder / MODEL
    if not file.is_file():
        raise InvalidError(f"the artifact has no {MODEL}", field="source")
    try:
        if weights:
            onnx.checker.check_model(str(file))
        model = onnx.load(file, load_external_data=weights)
    except (DecodeError, ValueError, onnx.checker.ValidationError) as error:
        raise InvalidError(f"{MODEL} is damaged: {short(error)}", field="source") from error
    if not model.graph.node:
        raise InvalidError(f"{MODEL} is damaged: its graph is empty", field="source")
    return model


def write_model(model: onnx.ModelProto, into: Path) -> None:
    """Write a graph as an artifact's model file; the same graph gives the same bytes."""
    try:
        size = model.ByteSize()
    except (EncodeError, ValueError):  # what is over two GiB has no size
        size = LARGE
    try:
        if size < LARGE:
            (into / MODEL).write_bytes(model.SerializeToString(deterministic=True))
        else:
            (into / WEIGHTS).unlink(missing_ok=True)
            onnx.save(model, into / MODEL, save_as_external_data=True, location=WEIGHTS)
    except (EncodeError, ValueError) as error:
        raise UnsupportedError(f"the graph cannot be written: {short(error)}") from error


def model_files(folder: Path) -> set[str]:
    """Names of the files, relative to the folder, that are the model: the graph and its weights."""
    graph = read_graph(folder)
    names = {MODEL}
    for tensor in external_data_helper._get_all_tensors(graph):  # noqa: SLF001 - the only walk
        if external_data_helper.uses_external_data(tensor):
            names.add(external_data_helper.ExternalDataInfo(tensor).location)
    return names


def carry(source: Path, into: Path, but: Iterable[str]) -> None:
    """Copy the files that are not the model: those of the steps before it.

    Args:
        source: the artifact's folder.
        into: for the result.
        but: names, relative to `source`, that stay behind.
    """
    left = set(but)
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_file() and str(name) not in left:
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, into / name)


def own_signature(folder: Path, signature: Signature) -> Signature:
    """What the model file itself takes: the version's signature where it has no steps."""
    stepped = read_stepped(folder)
    return signature if stepped is None else stepped.model


def weights_of(model: onnx.ModelProto) -> dict[str, Any]:
    """Initializer -> numpy array, and the same of `Constant` nodes; without those not read."""
    found = {
        one.name: numpy_helper.to_array(one)
        for one in model.graph.initializer
        if not external_data_helper.uses_external_data(one)
    }
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name that no other has; the same graph gives the same names."""
    seen: set[str] = set()
    for place, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{place}"
            while node.name in seen:
                node.name += "_"
        seen.add(node.name)


def float_bytes(model: onnx.ModelProto) -> int:
    """Bytes of weights that are float32; of a graph that was read without them too."""
    return sum(
        4 * int(np.prod(one.dims, dtype=np.int64))
        for one in model.graph.initializer
        if one.data_type == onnx.TensorProto.FLOAT
    )


def sort_nodes(model: onnx.ModelProto) -> None:
    """Put every node after those that it reads, and else leave the order as it is."""
    graph = model.graph
    made = {name for node in graph.node for name in node.output if name}
    waits = [{n for n in reads_of(node) if n in made} for node in graph.node]
    readers: dict[str, list[int]] = {}
    for place, names in enumerate(waits):
        for name in names:
            readers.setdefault(name, []).append(place)
    ready = [place for place, names in enumerate(waits) if not names]
    heapq.heapify(ready)
    order = []
    while ready:
        place = heapq.heappop(ready)
        order.append(place)
        for name in graph.node[place].output:
            for reader in readers.pop(name, []):
                waits[reader].discard(name)
                if not waits[reader]:
                    heapq.heappush(ready, reader)
    if len(order) < len(graph.node):
        raise UnsupportedError("the graph's nodes read each other in a circle")
    if order != sorted(order):
        nodes = [onnx.NodeProto.FromString(graph.node[i].SerializeToString()) for i in order]
        del graph.node[:]
        graph.node.extend(nodes)


def reads_of(node: onnx.NodeProto) -> set[str]:
    """Names that a node reads, those of the graphs inside of it too."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            for one in inner.node:
                names |= reads_of(one)
    return names
