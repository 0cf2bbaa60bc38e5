"""Sets the smallest weights to zero: the file shrinks when it is compressed, and nothing else does.

No engine here skips zeros: a call takes as long as before (measured, ratio 1.00 on a CNN with 80 %
of its weights gone). So the pass is `size_only`, and is never offered for speed.
"""

import zlib
from typing import Any, ClassVar

import numpy as np

from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import name_nodes, read_model
from modelworks.ext.passes.onnx_parts import begin, refused_keep, told
from modelworks.ext.passes.training.graphs import Graph, write_graph

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class Magnitude:
    """Global magnitude pruning of convolutions and matrices, without training."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="magnitude",
        version=1,
        title="magnitude pruning (size only)",
        consumes=("onnx",),
        produces="onnx",
        engine="onnxruntime",
        settings=(
            Setting("sparsity", 0.5, "share of the weights that go", least=0.01, most=0.99),
            Setting(
                "scope", "global", "one threshold, or one a layer", choices=("global", "layer")
            ),
        ),
        keeps=True,
        libraries=("onnx",),
        extra="optimize",
        experimental=False,
        size_only=True,
    )

    def fits(self, job: PassJob) -> str:
        """Nets with weights."""
        if _layers(Graph(read_model(job.source))):
            return ""
        return "no convolution and no matrix: there are no weights to set to zero"

    def apply(self, job: PassJob) -> Applied:
        """Set weights to zero; see `core.seams.Pass.apply`."""
        model = begin(self.facts, job)
        name_nodes(model)
        graph = Graph(model)
        layers = _layers(graph)
        refused_keep(self.facts, job.keep, list(layers))
        chosen = {name: tensor for name, tensor in layers.items() if name not in job.keep}
        with told(self.facts):
            before = _packed(graph)
            gone, count = _zeroed(graph, sorted(set(chosen.values())), job.settings)
            after = _packed(graph)
        notes = [
            (
                f"{gone} of {count} weights are zero: {before / 1e3:.0f} KB become "
                f"{after / 1e3:.0f} when they are compressed"
            ),
            "no call is faster and the file itself is as large as before",
        ]
        figures = {
            "sparsity": gone / max(1, count),
            "compressed_before": float(before),
            "compressed": float(after),
        }
        return write_graph(graph, job, tuple(chosen), notes, figures)


def _layers(graph: Graph) -> dict[str, str]:
    """Node -> the name of its weights."""
    found = {}
    for node in graph.nodes:
        if node.op_type in _LAYERS and not node.domain and len(node.input) > 1:
            weight = graph.weight(node.input[1])
            if weight is not None and weight.dtype == np.float32 and weight.ndim > 1:
                found[node.name] = str(node.input[1])
    return found


def _zeroed(graph: Graph, tensors: list[str], settings: Any) -> tuple[int, int]:
    """Set the smallest to zero; how many are zero, of how many."""
    values = {name: graph.weight(name) for name in tensors}
    held = {name: value for name, value in values.items() if value is not None}
    if not held:
        return 0, 0
    sizes = {name: np.abs(value).ravel() for name, value in held.items()}
    if settings["scope"] == "global":
        whole = _threshold(np.concatenate(list(sizes.values())), settings["sparsity"])
        limits = dict.fromkeys(sizes, whole)
    else:
        limits = {name: _threshold(size, settings["sparsity"]) for name, size in sizes.items()}
    gone = 0
    for name, value in held.items():
        changed = np.where(np.abs(value) <= limits[name], np.float32(0), value)
        gone += int((changed == 0).sum())
        graph.put(name, changed)
    return gone, sum(size.size for size in sizes.values())


def _threshold(sizes: Any, sparsity: float) -> float:
    place = min(sizes.size - 1, max(0, round(sparsity * sizes.size) - 1))
    return float(np.partition(sizes, place)[place])


def _packed(graph: Graph) -> int:
    """Bytes of the graph after deflate."""
    return len(zlib.compress(graph.model.SerializeToString(deterministic=True), 6))
