"""Structured pruning: whole channels leave a net, which is taught its answers again."""

from typing import ClassVar, Final

from modelworks.core.optimizing.passes import Applied, Need, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import read_graph
from modelworks.ext.passes.onnx_parts import told
from modelworks.ext.passes.training.cost import seconds

_STEP_S: Final = 0.004
_MULTIPLIED: Final = 1e10


class PruneChannels:
    """Convolutions and dense layers become narrower: fewer multiplications on any engine."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="prune_channels",
        version=1,
        title="structured pruning and fine-tuning",
        consumes=("onnx",),
        produces="onnx",
        engine="onnxruntime",
        needs=frozenset({Need.ROWS}),
        settings=(
            Setting("ratio", 0.5, "share of the channels that go", least=0.05, most=0.95),
            Setting("rounds", 2, "in which they go, each followed by training", least=1, most=20),
            Setting("round_to", 8, "channels left are a multiple of it", choices=(1, 4, 8, 16)),
            Setting("steps", 1500, "updates at most, of all rounds", least=1, most=1_000_000),
            Setting("rate", 2e-3, "of learning", least=1e-6, most=0.1),
            Setting("temperature", 4.0, "of the answers before", least=1.0, most=100.0),
            Setting("alpha", 0.7, "weight of them beside labels", least=0.0, most=1.0),
        ),
        libraries=("onnx", "torch", "torch-pruning"),
        extra="optimize-torch",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """Nets with at least two layers of which one feeds the other."""
        graph = read_graph(job.source)
        kinds = [node.op_type for node in graph.graph.node]
        layers = [kind for kind in kinds if kind in {"Conv", "Gemm", "MatMul"}]
        if len(layers) < 2:
            return f"{len(layers)} layers with channels: there is none that another one would miss"
        return ""

    def seconds(self, job: PassJob) -> float:
        """See `core.seams.optimizing.Seconds`; of images a weight is used many times."""
        return seconds(job, 6.0, _STEP_S, _MULTIPLIED)

    def apply(self, job: PassJob) -> Applied:
        """Prune and teach; see `core.seams.Pass.apply`."""
        from modelworks.ext.passes.prune.channels import prune  # noqa: PLC0415 - imports PyTorch

        with told(self.facts):
            return prune(self.facts, job)
