"""Knowledge distillation: a small net learns the model's own answers; training is in `learning`."""

from typing import ClassVar

from modelworks.core.optimizing.passes import Applied, Need, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import own_signature, read_graph
from modelworks.ext.passes.onnx_parts import told
from modelworks.ext.passes.training.students import SIZES, parameters, unfit

_STEP_S = 0.003  # of an update, apart from its arithmetic
_MULTIPLIED = 2e10  # a second, of one thread


class Distil:
    """A student for any model that answers rows of numbers or images: nets, trees, pipelines."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="distil",
        version=1,
        title="distillation into a small net",
        consumes=("onnx",),
        produces="onnx",
        engine="onnxruntime",
        needs=frozenset({Need.ROWS}),
        settings=(
            Setting("size", "small", "of the student", choices=SIZES),
            Setting("steps", 3000, "updates at most", least=1, most=1_000_000),
            Setting("temperature", 4.0, "of the teacher's answers", least=1.0, most=100.0),
            Setting("alpha", 0.7, "weight of the teacher beside labels", least=0.0, most=1.0),
            Setting("mixed", 2, "rows between two others, for each row", least=0, most=20),
        ),
        libraries=("onnx", "torch"),
        extra="optimize-torch",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """What no student is made for, and models that are no larger than one."""
        signature = own_signature(job.source, job.signature)
        why = unfit(signature)
        if why:
            return why
        graph = read_graph(job.source)
        held, wanted = graph.ByteSize(), 4 * parameters(signature, job.settings["size"])
        outside = sum(each.stat().st_size for each in job.source.rglob("*.data"))
        if held + outside < wanted:
            return (
                f"the model takes {(held + outside) / 1e3:.0f} KB, the student would take "
                f"{wanted / 1e3:.0f}"
            )
        return ""

    def seconds(self, job: PassJob) -> float:
        """See `core.seams.optimizing.Seconds`."""
        signature = own_signature(job.source, job.signature)
        if unfit(signature):
            return 60.0
        multiplied = 3 * 64 * parameters(signature, job.settings["size"], multiplied=True)
        return 5.0 + float(job.settings["steps"]) * (_STEP_S + multiplied / _MULTIPLIED)

    def apply(self, job: PassJob) -> Applied:
        """Teach a student; see `core.seams.Pass.apply`."""
        from modelworks.ext.passes.distil.learning import distil  # noqa: PLC0415 - imports PyTorch

        with told(self.facts):
            return distil(self.facts, job)
