"""Values inside of an ONNX graph, by ONNX Runtime: they are made outputs, some at a time."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, numpy_helper

from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.insides import Inside, Operator
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Tensors
from modelworks.ext.formats.onnx_model import read_graph, short, sort_nodes

_TYPES: Final = {
    "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
}
_LEVELS: Final = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_FOUR: Final = {TensorProto.INT4, TensorProto.UINT4}
_EIGHT: Final = {
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "MatMulNBits",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
}
_HALF: Final = {TensorProto.FLOAT16, TensorProto.BFLOAT16}
_QUIET: Final = 4
_FOLDER: Final = "session.model_external_initializers_file_folder_path"


class OnnxView:
    """See `core.seams.View`.

    Args:
        model: the graph; weights in files of their own need not be loaded.
        folder: where these files lie.
        options: as it is served.
    """

    def __init__(self, model: onnx.ModelProto, folder: Path, options: EngineOptions) -> None:
        sort_nodes(model)
        self._model, self._folder, self._options = model, folder, options
        self._stored = {one.name: one for one in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self._stored[node.output[0]] = node.attribute[0].t
        self.inside = _inside(model, frozenset(self._stored))

    def watch(self, names: Sequence[str], *, served: bool) -> Callable[[Tensors], dict[str, Any]]:
        """See `core.seams.View.watch`."""
        kept = {name: self._constant(name) for name in names if name in self._stored}
        given = set(self.inside.inputs)
        wanted = [name for name in dict.fromkeys(names) if name not in kept and name not in given]
        if not wanted:
            return lambda inputs: kept | {name: inputs[name] for name in names if name in inputs}
        session = self._session(wanted, served=served)
        types = {one.name: one.type for one in session.get_outputs()}
        found = [name for name in wanted if types[name] in _TYPES]
        takes = {one.name: one.type for one in session.get_inputs()}

        def look(inputs: Tensors) -> dict[str, Any]:
            try:
                made = session.run(found, {n: _as(inputs[n], kind) for n, kind in takes.items()})
            except Exception as error:  # onnxruntime has no base of its own
                raise InvalidError(
                    f"the model refuses the rows: {short(error)}", field="rows"
                ) from error
            known = kept | {name: inputs[name] for name in names if name in inputs}
            return known | dict(zip(found, made, strict=True))

        return look

    def _session(self, names: Sequence[str], *, served: bool) -> ort.InferenceSession:
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        types = {one.name: one for one in (*model.graph.output, *model.graph.value_info)}
        outputs = [types.get(name) or onnx.ValueInfoProto(name=name) for name in names]
        outputs = [onnx.ValueInfoProto.FromString(one.SerializeToString()) for one in outputs]
        del model.graph.output[:]
        model.graph.output.extend(outputs)
        _without_rest(model, names)
        extra = dict(self._options.extra)
        settings = ort.SessionOptions()
        settings.log_severity_level = _QUIET
        settings.intra_op_num_threads = self._options.threads
        settings.inter_op_num_threads = 1
        level = extra.get("optimization", "all") if served else "disabled"
        settings.graph_optimization_level = _LEVELS.get(level, _LEVELS["all"])
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings.add_session_config_entry(_FOLDER, str(self._folder))
        try:
            return ort.InferenceSession(
                model.SerializeToString(), settings, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has no base of its own
            raise InvalidError(
                f"onnxruntime cannot run the graph: {short(error)}", field="form"
            ) from error

    def _constant(self, name: str) -> Any:
        try:
            return numpy_helper.to_array(self._stored[name], base_dir=str(self._folder))
        except (ValueError, TypeError, OSError, onnx.checker.ValidationError) as error:
            raise InvalidError(
                f"the weights '{name[:80]}' cannot be read: {short(error)}", field="form"
            ) from error


class OnnxViewer:
    """The viewer of ONNX graphs."""

    formats: ClassVar[tuple[str, ...]] = ("onnx",)
    experimental: ClassVar[bool] = False

    def open(self, folder: Path, options: EngineOptions) -> OnnxView:
        """See `core.seams.Viewer.open`."""
        return OnnxView(read_graph(folder), folder, options)


def _without_rest(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Take out the operators after all of these values, in place: they would be run for nothing."""
    made = set(names)
    last = max(
        (i for i, n in enumerate(model.graph.node) if made.intersection(n.output)), default=-1
    )
    del model.graph.node[last + 1 :]


def _inside(model: onnx.ModelProto, stored: frozenset[str]) -> Inside:
    graph = model.graph
    operators = tuple(
        Operator(node.name, node.op_type, tuple(node.input), tuple(node.output))
        for node in graph.node
        if node.op_type != "Constant" or node.output[0] not in stored
    )
    inputs = tuple(value.name for value in graph.input if value.name not in stored)
    outputs = tuple(value.name for value in graph.output)
    return Inside(operators, inputs, outputs, stored, _bits(model))


def _bits(model: onnx.ModelProto) -> int:
    """The fewest bits of its values or weights."""
    kinds = {node.op_type for node in model.graph.node}
    types = {one.data_type for one in model.graph.initializer}
    nbits = [
        one.i
        for node in model.graph.node
        if node.op_type == "MatMulNBits"
        for one in node.attribute
        if one.name == "bits"
    ]
    if types & _FOUR or min(nbits, default=8) < 8:
        return 4
    if kinds & _EIGHT:
        return 8
    casts = {
        one.i
        for node in model.graph.node
        if node.op_type == "Cast"
        for one in node.attribute
        if one.name == "to"
    }
    return 16 if (types | casts) & _HALF else 32


def _as(array: Any, kind: str) -> Any:
    """In the datatype that the graph takes; texts as they are."""
    wanted = _TYPES.get(kind)
    if wanted is not None:
        return np.ascontiguousarray(array, wanted)
    if array.dtype.kind in "SO":
        flat = [one.decode() if isinstance(one, bytes) else str(one) for one in array.ravel()]
        return np.array(flat, object).reshape(array.shape)
    return array
