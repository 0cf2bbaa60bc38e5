"""Removes from an ONNX graph what computes nothing, folds constants and repairs shapes."""

from typing import ClassVar

import onnx
import onnxslim

from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import own_signature
from modelworks.ext.passes.onnx_parts import begin, end, told


class OnnxClean:
    """onnxslim, and outputs whose shapes are the signature's."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="onnx_clean",
        version=1,
        title="graph clean-up",
        consumes=("onnx",),
        produces="onnx",
        engine="onnxruntime",
        exact=True,
        settings=(
            Setting("fuse", default=True, help="a convolution and the normalisation after it"),
        ),
        libraries=("onnx", "onnxslim"),
        extra="optimize",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:  # noqa: ARG002 - the seam's
        """Every graph can be looked through."""
        return ""

    def apply(self, job: PassJob) -> Applied:
        """Clean the graph; see `core.seams.Pass.apply`."""
        model = begin(self.facts, job)
        before = len(model.graph.node)
        inputs = [onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in model.graph.input]
        skipped = None if job.settings["fuse"] else ["graph_fusion"]
        with told(self.facts):
            model = onnxslim.slim(model, skip_optimizations=skipped)
        _keep_inputs(model, inputs)
        repaired = _repair(model, job)
        after = len(model.graph.node)
        notes = [f"{before} operators became {after}"]
        if repaired:
            notes.append(f"the shape of {', '.join(repaired)[:120]} was wrong and is repaired")
        return end(job, model, (), notes, {"nodes_before": before, "nodes": after})


def _keep_inputs(model: onnx.ModelProto, inputs: list[onnx.ValueInfoProto]) -> None:
    """Inputs as they were: one that nothing reads would be gone, and callers send it."""
    del model.graph.input[:]
    model.graph.input.extend(inputs)


def _repair(model: onnx.ModelProto, job: PassJob) -> list[str]:
    """Let outputs say what the signature says; the names of those that did not."""
    wanted = {spec.name: spec.shape for spec in own_signature(job.source, job.signature).outputs}
    found = []
    for value in model.graph.output:
        shape = wanted.get(value.name)
        held = value.type.tensor_type
        if shape is None or not held.HasField("shape") or len(held.shape.dim) != len(shape):
            continue
        for place, (dim, size) in enumerate(zip(held.shape.dim, shape, strict=True)):
            if size is None and dim.HasField("dim_value"):
                dim.dim_param = f"{value.name}_{place}"
                found.append(value.name)
    return list(dict.fromkeys(found))
