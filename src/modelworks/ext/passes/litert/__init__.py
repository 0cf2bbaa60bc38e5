"""ONNX to LiteRT: dense networks and small convolutional ones, float32, answers as before."""

from typing import ClassVar

from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob
from modelworks.ext.formats.onnx_model import (
    carry,
    model_files,
    own_signature,
    read_graph,
    read_model,
)
from modelworks.ext.passes.litert import convert, proof
from modelworks.ext.passes.litert.source import BATCH

MODEL = "model.tflite"


class LiteRtPass:
    """The pass `litert`; see the module."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="litert",
        version=1,
        title="LiteRT, float32",
        consumes=("onnx",),
        produces="tflite",
        engine="litert",
        looks=True,
        exact=True,
        libraries=("ai-edge-litert", "onnx", "onnxruntime"),
        extra="litert",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """Names the first operators that have no LiteRT form; see `core.seams.Pass`."""
        unknown = convert.missing(read_graph(job.source))
        if unknown:
            return convert.unknown_said(unknown)
        for spec in own_signature(job.source, job.signature).inputs:
            if None in spec.shape[1:]:
                return f"input '{spec.name}' has the shape {list(spec.shape)}; {BATCH}"
        return ""

    def apply(self, job: PassJob) -> Applied:
        """Convert and compare; see `core.seams.Pass`."""
        if job.format not in self.facts.consumes:
            raise InvalidError(f"litert reads onnx, not {job.format}", field="format")
        signature = own_signature(job.source, job.signature)
        data = convert.convert(read_model(job.source), signature, job.threads)
        carry(job.source, job.into, model_files(job.source))
        proof.write(job.into / MODEL, data)
        apart = proof.compare(job, signature)
        return Applied(
            "tflite",
            notes=(f"compared with ONNX Runtime: at most {apart:.1g} apart",),
            figures={"bytes": float(len(data)), "apart": apart},
        )
