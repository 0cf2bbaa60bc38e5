"""Matrices in four or eight bits, in blocks; what flows between them stays in floats."""

from typing import ClassVar, Final

import onnx
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)
from onnxruntime.quantization.quant_utils import QuantFormat

from modelworks.core.errors import UnsupportedError
from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import name_nodes, read_graph
from modelworks.ext.passes.onnx_parts import begin, end, refused_keep, told
from modelworks.ext.passes.onnx_products import products, split_gemms, store_constants
from modelworks.ext.passes.onnx_session import quiet
from modelworks.ext.passes.onnx_shapes import already, makeup

_SMALL: Final = 2048  # bytes of weights below which nothing is won
_SETTINGS: Final = (
    Setting("block", 32, "weights that share a scale", (16, 32, 64, 128)),
    Setting("symmetric", default=False, help="zero is zero: no offset a block"),
    Setting("accuracy", 4, "0 = computed in float; 4 = activations in int8 too", (0, 4)),
    Setting("tables", default=False, help="also those that rows are gathered from"),
)


def _facts(bits: int) -> PassFacts:
    return PassFacts(
        name=f"weights_int{bits}",
        version=1,
        title=f"weights in int{bits}",
        consumes=("onnx",),
        produces="onnx",
        engine="onnxruntime",
        settings=_SETTINGS,
        keeps=True,
        libraries=("onnx", "onnxruntime"),
        extra="optimize",
        experimental=False,
    )


class _WeightsOnly:
    """ONNX Runtime's `MatMulNBits`."""

    bits: ClassVar[int]
    facts: ClassVar[PassFacts]

    def fits(self, job: PassJob) -> str:
        """There are no matrices."""
        model = read_graph(job.source)
        why = already(model)
        if why:
            return why
        found = makeup(model)
        tables = found.tables if job.settings["tables"] else 0
        if found.dense + tables < max(_SMALL, found.convolutions):
            return "most of the weights are not in matrices"
        return ""

    def apply(self, job: PassJob) -> Applied:
        """Quantize; see `core.seams.Pass.apply`."""
        model = begin(self.facts, job)
        name_nodes(model)
        store_constants(model)
        split_gemms(model)
        types = ("MatMul", "Gather") if job.settings["tables"] else ("MatMul",)
        operators = products(model, types)
        refused_keep(self.facts, job.keep, operators)
        if not operators:
            raise UnsupportedError("none of the graph's products has a constant matrix of floats")
        wanted = set(operators) - set(job.keep)
        others = [n.name for n in model.graph.node if n.name not in wanted]
        with told(self.facts), quiet():
            result = self._quantized(model, types, others, job)
        changed = [name for name in operators if name not in job.keep]
        notes = (f"{len(changed)} of {len(operators)} matrices are in {self.bits} bits",)
        figures = {"quantized": len(changed), "operators": len(operators)}
        return end(job, result, changed, notes, figures)

    def _quantized(
        self, model: onnx.ModelProto, types: tuple[str, ...], others: list[str], job: PassJob
    ) -> onnx.ModelProto:
        wanted = DefaultWeightOnlyQuantConfig(
            block_size=job.settings["block"],
            is_symmetric=job.settings["symmetric"],
            accuracy_level=job.settings["accuracy"],
            quant_format=QuantFormat.QOperator,
            op_types_to_quantize=types,
            bits=self.bits,
        )
        quantizer = MatMulNBitsQuantizer(
            model, bits=self.bits, nodes_to_exclude=others, algo_config=wanted
        )
        quantizer.process()
        found: onnx.ModelProto = quantizer.model.model
        return found


class WeightsInt4(_WeightsOnly):
    """In four bits."""

    bits: ClassVar[int] = 4
    facts: ClassVar[PassFacts] = _facts(4)


class WeightsInt8(_WeightsOnly):
    """In eight bits."""

    bits: ClassVar[int] = 8
    facts: ClassVar[PassFacts] = _facts(8)
