"""Attention, layer normalisation and GELU, each as one operator of ONNX Runtime's own."""

from typing import ClassVar, Final

from onnxruntime.transformers.optimizer import optimize_model

from modelworks.core.errors import UnsupportedError
from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import name_nodes, read_graph
from modelworks.ext.passes.onnx_parts import begin, end, told
from modelworks.ext.passes.onnx_session import quiet
from modelworks.ext.passes.onnx_shapes import attention, heads

_FUSED: Final = ("Attention", "MultiHeadAttention")


class TransformerFusions:
    """ONNX Runtime's optimizer of transformers."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="transformer_fusions",
        version=1,
        title="transformer operators joined",
        consumes=("onnx",),
        produces="onnx",
        engine="onnxruntime",
        settings=(
            Setting("approximate", default=False, help="GELU by tanh: faster, not the same"),
        ),
        libraries=("onnx", "onnxruntime"),
        extra="optimize",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """There is no attention."""
        if not attention(read_graph(job.source)):
            return "no attention was found: no softmax between two products"
        return ""

    def apply(self, job: PassJob) -> Applied:
        """Join; see `core.seams.Pass.apply`."""
        model = begin(self.facts, job)
        name_nodes(model)
        before = len(model.graph.node)
        with told(self.facts), quiet():
            count, wide = heads(model)
            found = optimize_model(
                model, model_type="bert", opt_level=0, num_heads=count, hidden_size=wide
            )
            if job.settings["approximate"]:
                found.gelu_approximation()
            counts = found.get_fused_operator_statistics()
        joined = sum(counts.get(name, 0) for name in _FUSED)
        if not joined:
            raise UnsupportedError(
                "no attention could be joined: its form is not known to onnxruntime; of "
                "torch's exporters the older one (dynamo=False) writes the form that is"
            )
        result = found.model
        told_of = ", ".join(f"{times} {name}" for name, times in sorted(counts.items()) if times)
        notes = (f"joined into {told_of}",)
        figures = {"nodes_before": before, "nodes": len(result.graph.node), "attention": joined}
        return end(job, result, (), notes, figures)
