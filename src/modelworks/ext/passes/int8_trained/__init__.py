"""Static int8 whose weights and ranges are taught: for networks that lose too much without."""

from typing import ClassVar, Final

from modelworks.core.optimizing.passes import Applied, Need, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import read_graph
from modelworks.ext.passes.onnx_parts import told
from modelworks.ext.passes.onnx_qdq import FIRST, little
from modelworks.ext.passes.onnx_shapes import attention, fused
from modelworks.ext.passes.training.cost import seconds

_STEP_S: Final = 0.012  # of an update, apart from its arithmetic
_MULTIPLIED: Final = 2e9  # a second, of one thread


class Int8Trained:
    """The form of `int8_static`; the net learns what it answered before it was rounded."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="int8_trained",
        version=1,
        title="int8, trained",
        consumes=("onnx",),
        produces="onnx",
        engine="onnxruntime",
        needs=frozenset({Need.ROWS}),
        settings=(
            Setting("steps", 600, "updates at most", least=1, most=1_000_000),
            Setting("rate", 3e-3, "of learning", least=1e-6, most=0.1),
            Setting("ranges", "learned", "of activations", ("learned", "seen")),
            Setting("temperature", 4.0, "of the answers before", least=1.0, most=100.0),
            Setting("alpha", 0.7, "weight of them beside labels", least=0.0, most=1.0),
            FIRST,
            Setting("per_channel", default=True, help="a scale for each output channel"),
        ),
        libraries=("onnx", "onnxruntime", "torch"),
        extra="optimize-torch",
        experimental=False,
        mends="int8_static",
    )

    def fits(self, job: PassJob) -> str:
        """No weights to speak of, or attention, of which nothing is taught here."""
        model = read_graph(job.source)
        if attention(model) or fused(model):
            return (
                "attention cannot be taught in eight bits here: nncf_int8 and int8_dynamic are for "
                "such networks"
            )
        return little(model)

    def seconds(self, job: PassJob) -> float:
        """See `core.seams.optimizing.Seconds`; of images a weight is used many times."""
        return seconds(job, 8.0, _STEP_S, _MULTIPLIED)

    def apply(self, job: PassJob) -> Applied:
        """Teach and round; see `core.seams.Pass.apply`."""
        from modelworks.ext.passes.int8_trained.learning import teach  # noqa: PLC0415 - PyTorch

        with told(self.facts):
            return teach(self.facts, job)
