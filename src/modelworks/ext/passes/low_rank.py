"""Replaces a wide matrix by two narrow ones where the model's own data need no more.

What is kept is not the energy of the weights, most of which no row ever meets, but that of what a
layer gives on calibration rows. With Y = X W over the rows and V the first r eigenvectors of Y'Y,
W V V' is the matrix of rank r whose Y is nearest (Eckart and Young, 1936, for Y).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import onnx
from onnx import helper

from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.passes import Applied, Need, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import name_nodes, read_model
from modelworks.ext.passes.onnx_parts import begin, refused_keep, told
from modelworks.ext.passes.onnx_ranges import watch
from modelworks.ext.passes.training.graphs import Graph, attributes, write_graph
from modelworks.ext.passes.training.rows import Array, read_rows

_LEAST: Final = 64  # of both sides of a matrix: below it there is nothing to win
_MOST: Final = 8192  # of the left side: its square is held in memory
_STEP: Final = 8  # ranks are multiples of it, as kernels like them
_UNSEEN: Final = 1e-6  # share of the mean energy that directions without rows count as


@dataclass(frozen=True, slots=True)
class _Product:
    """A product with a constant matrix.

    Attributes:
        node: of the graph.
        matrix: `[into, out]`.
        turned: it lies in the graph the other way round.
    """

    node: Any
    matrix: Array
    turned: bool


class LowRank:
    """MatMul and Gemm in two steps, each kept only where it multiplies less."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="low_rank",
        version=1,
        title="low-rank factors",
        consumes=("onnx",),
        produces="onnx",
        engine="onnxruntime",
        needs=frozenset({Need.ROWS}),
        settings=(
            Setting("energy", 0.999, "of what layers give, that is kept", least=0.5, most=1.0),
            Setting("left", 0.7, "share of multiplications at most", least=0.05, most=1.0),
        ),
        keeps=True,
        libraries=("numpy", "onnx", "onnxruntime"),
        extra="optimize",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """Nets with at least one matrix that is large enough."""
        if _products(Graph(read_model(job.source))):
            return ""
        return f"no constant matrix of at least {_LEAST} by {_LEAST}: there is nothing to factor"

    def apply(self, job: PassJob) -> Applied:
        """Factor what can be; see `core.seams.Pass.apply`."""
        model = begin(self.facts, job)
        name_nodes(model)
        graph = Graph(model)
        found = _products(graph)
        refused_keep(self.facts, job.keep, [one.node.name for one in found])
        rows = read_rows(job, self.facts.name)
        with told(self.facts):
            grams = _grams(graph.model, job, found)
            ranks = {one.node.name: _factored(graph, one, grams, job) for one in found}
        changed = tuple(name for name, rank in ranks.items() if rank)
        before = sum(one.matrix.size for one in found)
        after = sum(
            ranks[one.node.name] * sum(one.matrix.shape) or one.matrix.size for one in found
        )
        names = ", ".join(f"{name} to rank {ranks[name]}" for name in changed[:4])
        note = (
            f"{len(changed)} of {len(found)} matrices are two now ({names or 'none'}), "
            f"measured on {rows.count} rows"
        )
        figures = {"matrices": float(len(changed)), "multiplications": after / max(1, before)}
        return write_graph(graph, job, changed, (note,), figures)


def _products(graph: Graph) -> list[_Product]:
    found = []
    for node in graph.nodes:
        if node.domain or node.op_type not in {"MatMul", "Gemm"} or len(node.input) < 2:
            continue
        matrix = graph.weight(node.input[1])
        if matrix is None or matrix.ndim != 2 or matrix.dtype != np.float32:
            continue
        own = attributes(node) if node.op_type == "Gemm" else {}
        turned = bool(own.get("transB"))
        matrix = matrix.T if turned else matrix
        wide = min(matrix.shape) >= _LEAST and matrix.shape[0] <= _MOST
        if wide and not own.get("transA") and graph.weight(node.input[0]) is None:
            found.append(_Product(node, matrix, turned))
    return found


def _grams(model: onnx.ModelProto, job: PassJob, found: list[_Product]) -> dict[str, Array]:
    """Tensor -> X'X over all calibration rows, of what the products are made with."""
    assert job.calibration is not None  # noqa: S101 - the rows were read
    names = tuple(dict.fromkeys(str(one.node.input[0]) for one in found))
    grams: dict[str, Array] = {}
    for run in watch(model, job.calibration, names, job.threads).runs():
        for name, values in run.items():
            flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
            with np.errstate(invalid="ignore", over="ignore"):  # told of below
                grams[name] = grams.get(name, 0.0) + flat.T @ flat
    for name, gram in grams.items():
        if not np.isfinite(gram).all():
            raise InvalidError(
                f"on the calibration rows '{name[:80]}' is not always finite: leave out rows with "
                "missing or endless values",
                field="calibration",
            )
    return grams


def _factored(graph: Graph, one: _Product, grams: dict[str, Array], job: PassJob) -> int:
    """Factor one product; the rank, 0 = it stays."""
    into, out = one.matrix.shape
    gram = grams.get(str(one.node.input[0]))
    if one.node.name in job.keep or gram is None:
        return 0
    gram = gram + np.eye(into) * (_UNSEEN * np.trace(gram) / into)
    wide = one.matrix.astype(np.float64)
    energy, vectors = np.linalg.eigh(wide.T @ gram @ wide)
    energy, vectors = np.maximum(energy[::-1], 0), vectors[:, ::-1]
    share = np.cumsum(energy) / max(float(energy.sum()), 1e-300)
    rank = int(np.searchsorted(share, job.settings["energy"])) + 1
    rank = min(-(-rank // _STEP) * _STEP, int(out))
    if rank * (into + out) > job.settings["left"] * into * out:
        return 0
    _split(graph, one, wide @ vectors[:, :rank], vectors[:, :rank].T)
    return rank


def _split(graph: Graph, one: _Product, first: Array, second: Array) -> None:
    """Put a product before the node, which gets the second factor in the place of its matrix."""
    node = one.node
    names = [f"{node.name}_low_{place}" for place in (1, 2)]
    graph.put(names[0], first.astype(np.float32))
    graph.put(names[1], (second.T if one.turned else second).astype(np.float32))
    between = f"{node.name}_low"
    before = helper.make_node("MatMul", [node.input[0], names[0]], [between], f"{between}_rank")
    node.input[0], node.input[1] = between, names[1]
    graph.insert_before(node, before)
