"""ONNX to OpenVINO IR: the same network for another engine, float32 unless asked otherwise."""

from typing import ClassVar

from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob, Setting
from modelworks.ext.formats import ir
from modelworks.ext.passes.openvino_parts import IR, ONNX, foreign, read_source, remarks, write_ir


class OpenVinoPass:
    """The pass `openvino`; see the module."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="openvino",
        version=1,
        title="OpenVINO, float32",
        consumes=(ONNX,),
        produces=IR,
        engine="openvino",
        exact=True,
        settings=(
            Setting("half", default=False, help="weights are stored as float16: half the size"),
        ),
        libraries=("onnx", "openvino"),
        extra="openvino",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """Names what OpenVINO does not have, and float64; see `core.seams.Pass`."""
        return foreign(job)

    def apply(self, job: PassJob) -> Applied:
        """Convert; see `core.seams.Pass`."""
        model = read_source(self.facts, job)
        operators = len(model.get_ordered_ops())
        write_ir(self.facts, job, model, half=job.settings["half"])
        size = sum((job.into / name).stat().st_size for name in (ir.MODEL, ir.WEIGHTS))
        return Applied(
            IR, notes=tuple(remarks(job)), figures={"nodes": operators, "bytes": float(size)}
        )
