"""Half precision: the whole graph, or what of it stays within its range."""

from typing import ClassVar, Final

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, numpy_helper
from onnx.shape_inference import infer_shapes
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from modelworks.core.errors import UnsupportedError
from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import name_nodes, weights_of
from modelworks.ext.passes.onnx_parts import begin, end, refused_keep, told
from modelworks.ext.passes.onnx_products import store_constants
from modelworks.ext.passes.onnx_ranges import extremes, watch
from modelworks.ext.passes.onnx_session import quiet

LARGEST: Final = 65504.0
"""Of half precision, IEEE 754 binary16."""

MASKED: Final = 60000.0
"""What stands for infinity there."""

_ENDLESS: Final = 1e30  # masks add so much: as good as infinite
_COMPUTING: Final = {
    "CUDAExecutionProvider",
    "TensorrtExecutionProvider",
    "ROCMExecutionProvider",
    "MIGraphXExecutionProvider",
    "CoreMLExecutionProvider",
    "DmlExecutionProvider",
}
_EVERY: Final = 1 << 40  # rows: one that is too large may be the only one
_ROUND: Final = (TensorProto.FLOAT16, TensorProto.FLOAT)
_SIZE: Final = Setting(
    "size", default=False, help="for the size alone, where nothing computes in half precision"
)


def _facts(name: str, title: str, settings: tuple[Setting, ...]) -> PassFacts:
    return PassFacts(
        name=name,
        version=1,
        title=title,
        consumes=("onnx",),
        produces="onnx",
        engine="onnxruntime",
        settings=settings,
        looks=True,
        keeps=True,
        libraries=("onnx", "onnxruntime"),
        extra="optimize",
        experimental=False,
    )


class _Half:
    """What both have in common."""

    facts: ClassVar[PassFacts]
    avoids: ClassVar[bool]  # what is beyond the range stays in float32; else it is refused

    def fits(self, job: PassJob) -> str:
        """Nothing here computes in half precision."""
        if job.settings["size"] or _COMPUTING.intersection(ort.get_available_providers()):
            return ""
        return (
            "onnxruntime has no kernels for half precision on this processor: it computes in "
            "float32 with conversions around it (0.6 to 1.0 of the speed was measured); size=true "
            "does it for the size alone"
        )

    def apply(self, job: PassJob) -> Applied:
        """Convert; see `core.seams.Pass.apply`."""
        model = begin(self.facts, job)
        name_nodes(model)
        store_constants(model)
        with told(self.facts), quiet():
            model = infer_shapes(model)
            operators = _operators(model)
            refused_keep(self.facts, job.keep, operators)
            if not operators:
                raise UnsupportedError("no operator of the graph computes in float32")
            over = _beyond(model, job)
            if not self.avoids:
                _refuse(over)
            kept = list(dict.fromkeys((*job.keep, *_around(model, over))))
            cut = _cut_masks(model)
            result = _converted(model, kept)
        changed = [name for name in operators if name not in kept]
        notes = [f"{len(changed)} of {len(operators)} operators compute in half precision"]
        if cut:
            notes.append(f"{cut} constants that stand for infinity were cut to {MASKED:g}")
        if job.calibration is None:
            notes.append("no rows were given, so only constants were looked at for their range")
        if kept:
            notes.append(f"in float32 stay {', '.join(kept)[:200]}")
        figures = {"half": len(changed), "operators": len(operators), "beyond": len(over)}
        return end(job, result, changed, notes, figures)


class Fp16(_Half):
    """Everything in half precision, or a refusal that names what is beyond its range."""

    facts: ClassVar[PassFacts] = _facts("fp16", "half precision", (_SIZE,))
    avoids: ClassVar[bool] = False


class MixedPrecision(_Half):
    """Half precision but for operators that come near the end of its range."""

    facts: ClassVar[PassFacts] = _facts(
        "mixed_precision",
        "half precision where it is safe",
        (
            _SIZE,
            Setting("margin", 4.0, "stay so many times below the largest number", (), 1.0, 1000.0),
        ),
    )
    avoids: ClassVar[bool] = True


def _around(model: onnx.ModelProto, over: dict[str, float]) -> list[str]:
    """Names of the nodes that make or read a tensor beyond the range."""
    return [n.name for n in model.graph.node if any(t in over for t in (*n.input, *n.output))]


def _refuse(over: dict[str, float]) -> None:
    if over:
        worst = max(over, key=lambda name: over[name])
        raise UnsupportedError(
            f"half precision ends at {LARGEST:g}, and '{worst[:80]}' reaches {over[worst]:.3g} "
            f"({len(over)} tensors are beyond it): use mixed_precision"
        )


def _operators(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that make floats and may make halves."""
    ends = (*model.graph.value_info, *model.graph.output)
    floats = {v.name for v in ends if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    return [
        node.name
        for node in model.graph.node
        if node.op_type not in (*DEFAULT_OP_BLOCK_LIST, "Cast") and floats.intersection(node.output)
    ]


def _beyond(model: onnx.ModelProto, job: PassJob) -> dict[str, float]:
    """Tensors that are too large, and how large: constants, and others on the calibration rows."""
    found = {
        name: float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
        for name, values in weights_of(model).items()
        if values.dtype == np.float32
    }
    if job.calibration is not None:
        inputs = [value.name for value in model.graph.input]
        made = [name for node in model.graph.node for name in node.output if name]
        names = tuple(dict.fromkeys((*inputs, *made)))
        seen = watch(model, job.calibration, names, job.threads, _EVERY)
        found |= {name: max(abs(low), abs(high)) for name, (low, high) in extremes(seen).items()}
    limit = LARGEST / job.settings.get("margin", 1.0)
    return {name: value for name, value in found.items() if limit < value < _ENDLESS}


def _cut_masks(model: onnx.ModelProto) -> int:
    """Let finite constants that stand for infinity fit, in place; how many there are."""
    count = 0
    for one in model.graph.initializer:
        if one.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(one)
            endless = np.isfinite(values) & (np.abs(values) >= _ENDLESS)
            if endless.any():
                count += 1
                cut = np.where(endless, np.sign(values) * np.float32(MASKED), values)
                one.CopyFrom(numpy_helper.from_array(cut.astype(np.float32), one.name))
    return count


def _converted(model: onnx.ModelProto, kept: list[str]) -> onnx.ModelProto:
    """In half precision but for some nodes; inputs and outputs keep their types."""
    result: onnx.ModelProto = convert_float_to_float16(
        model, keep_io_types=True, disable_shape_infer=True, node_block_list=kept
    )
    del result.graph.value_info[:]
    _without_round_trips(result)
    return result


def _without_round_trips(model: onnx.ModelProto) -> None:
    """Let who reads floats that were halves for a moment read what was there before, in place."""
    casts = {node.output[0]: node for node in model.graph.node if node.op_type == "Cast"}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            wide = casts.get(name)
            narrow = casts.get(wide.input[0]) if wide is not None else None
            if narrow is not None and (_to(narrow), _to(wide)) == _ROUND:
                node.input[place] = narrow.input[0]
    given = {value.name for value in model.graph.output}
    for name in given.intersection(casts):
        wide = casts[name]
        narrow = casts.get(wide.input[0])
        if narrow is not None and (_to(narrow), _to(wide)) == _ROUND:
            wide.op_type, wide.input[0] = "Identity", narrow.input[0]
            del wide.attribute[:]
    for _ in range(2):
        read = given | {name for node in model.graph.node for name in node.input}
        for node in [n for n in model.graph.node if n.op_type == "Cast"]:
            if node.output[0] not in read:
                model.graph.node.remove(node)


def _to(node: onnx.NodeProto | None) -> int:
    return next((one.i for one in node.attribute if one.name == "to"), 0) if node else 0
