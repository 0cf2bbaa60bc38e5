"""Weights in eight bits, activations too while the model runs: needs no rows to calibrate on."""

import tempfile
from pathlib import Path
from typing import Any, ClassVar, Final

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from modelworks.core.errors import UnsupportedError
from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import MODEL, name_nodes, read_graph, read_model
from modelworks.ext.passes.onnx_parts import begin, end, refused_keep, told
from modelworks.ext.passes.onnx_products import products, split_gemms, store_constants
from modelworks.ext.passes.onnx_session import quiet
from modelworks.ext.passes.onnx_shapes import already, makeup

_TYPES: Final = ("MatMul", "LSTM", "Attention", "EmbedLayerNormalization")
_TABLES: Final = ("Gather",)
_RESULTS: Final = {"MatMulInteger", "DynamicQuantizeLSTM", "QAttention", "QEmbedLayerNormalization"}
_SMALL: Final = 2048  # bytes of weights below which nothing is won
_SHARED: Final = (
    "rows of a call share the steps of their activations: an answer depends a little on the "
    "others, so the server gives each request a call of its own"
)
_SHARE: Final = 0.2  # of the weights, in convolutions: more, and they are what takes the time


class Int8Dynamic:
    """ONNX Runtime's dynamic quantization of products; never of convolutions."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="int8_dynamic",
        version=1,
        title="int8, dynamic",
        consumes=("onnx",),
        produces="onnx",
        engine="onnxruntime",
        settings=(
            Setting("per_channel", default=True, help="a scale for each column of a matrix"),
            Setting("tables", default=True, help="also those that rows are gathered from"),
            Setting(
                "unsigned", default=False, help="weights from 0 to 255 in place of -128 to 127"
            ),
            Setting("reduce", default=False, help="seven bits, for CPUs without VNNI"),
        ),
        keeps=True,
        libraries=("onnx", "onnxruntime"),
        extra="optimize",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """Convolutions take the time, or there are no matrices."""
        model = read_graph(job.source)
        why = already(model)
        if why:
            return why
        found = makeup(model)
        products = found.dense + found.recurrent
        if found.convolutions > _SHARE * max(1, found.all - found.tables):
            share = found.convolutions / max(1, found.all - found.tables)
            return (
                f"{share:.0%} of the weights belong to convolutions, which dynamic int8 makes "
                "twelve times slower: use int8_static"
            )
        if products < _SMALL:
            return "the graph has no matrices to speak of"
        return ""

    def apply(self, job: PassJob) -> Applied:
        """Quantize; see `core.seams.Pass.apply`."""
        model = begin(self.facts, job)
        name_nodes(model)
        types = (*_TYPES, *(_TABLES if job.settings["tables"] else ()))
        store_constants(model)
        split_gemms(model)
        operators = products(model, types)
        refused_keep(self.facts, job.keep, operators)
        with told(self.facts), quiet():
            result = _quantized(model, types, job)
        kinds = {node.op_type for node in result.graph.node}
        if not job.keep and not kinds & _RESULTS:
            raise UnsupportedError("none of the graph's products has a constant matrix of floats")
        changed = [name for name in operators if name not in job.keep]
        notes = (
            f"{len(changed)} of {len(operators)} operators run in eight bits",
            _SHARED,
        )
        figures = {"quantized": len(changed), "operators": len(operators)}
        return end(job, result, changed, notes, figures)


def _quantized(model: onnx.ModelProto, types: tuple[str, ...], job: PassJob) -> onnx.ModelProto:
    extra: dict[str, Any] = {"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT}
    with tempfile.TemporaryDirectory() as folder:
        quantize_dynamic(
            model,
            str(Path(folder, MODEL)),
            op_types_to_quantize=list(types),
            per_channel=job.settings["per_channel"],
            reduce_range=job.settings["reduce"],
            weight_type=QuantType.QUInt8 if job.settings["unsigned"] else QuantType.QInt8,
            nodes_to_exclude=list(job.keep),
            extra_options=extra,
        )
        return read_model(Path(folder))
