"""Values inside of an OpenVINO model: a model of the same operators with other results."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.insides import Inside, Operator
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Tensors
from modelworks.ext.engines.openvino_model import grouped, ov, reason, settings, signature_of
from modelworks.ext.formats import ir
from modelworks.protocol.tensors import DTYPES

_KINDS: Final = {"Convolution": "Conv", "GroupConvolution": "Conv"}  # as ONNX calls them
_BITS: Final = {"u4": 4, "i4": 4, "nf4": 4, "u8": 8, "i8": 8, "f16": 16, "bf16": 16}
_APART: Final = {"Parameter", "Constant", "Result"}
_WEIGHTS: Final = 16  # numbers: constants of fewer are shapes and scales
Port = tuple[str, int]
"""Name of an operator, number of its output."""


class OpenVinoView:
    """See `core.seams.View`.

    Args:
        model: as it was read.
        options: as it is served.
    """

    def __init__(self, model: ov.Model, options: EngineOptions) -> None:
        self._model, self._options = model, options
        own = signature_of(model)
        self._specs = own.inputs
        self._outputs = {
            _port(result.input_value(0)): spec.name
            for result, spec in zip(model.get_results(), own.outputs, strict=True)
        }
        self._inputs = {
            _port(node.output(0)): spec.name
            for node, spec in zip(model.get_parameters(), own.inputs, strict=True)
        }
        self._ports: dict[str, Port] = {}
        self._stored: dict[str, Any] = {}
        self.inside = self._looked(tuple(spec.name for spec in own.outputs))

    def watch(self, names: Sequence[str], *, served: bool) -> Callable[[Tensors], dict[str, Any]]:
        """See `core.seams.View.watch`; the engine always runs it as it is served."""
        del served
        kept = {name: self._constant(name) for name in names if name in self._stored}
        given = {spec.name for spec in self._specs}
        wanted = [name for name in dict.fromkeys(names) if name not in kept and name not in given]
        if not wanted:
            return lambda inputs: kept | {name: inputs[name] for name in names if name in inputs}
        try:
            request = self._request(wanted)
        except (RuntimeError, ValueError, TypeError) as error:
            raise InvalidError(
                f"OpenVINO cannot run the model: {reason(error)}", field="form"
            ) from error

        def look(inputs: Tensors) -> dict[str, Any]:
            try:
                for place, spec in enumerate(self._specs):
                    array = np.ascontiguousarray(inputs[spec.name], DTYPES[spec.datatype])
                    request.set_input_tensor(place, ov.Tensor(array))
                request.infer()
                made = [
                    request.get_output_tensor(place).data.copy() for place in range(len(wanted))
                ]
            except (RuntimeError, ValueError, TypeError) as error:
                raise InvalidError(
                    f"the model refuses the rows: {reason(error)}", field="rows"
                ) from error
            known = kept | {name: inputs[name] for name in names if name in inputs}
            return known | dict(zip(wanted, made, strict=True))

        return look

    def _request(self, names: Sequence[str]) -> Any:
        copy = self._model.clone()
        nodes = {str(one.get_friendly_name()): one for one in copy.get_ordered_ops()}
        ends = [nodes[self._ports[name][0]].output(self._ports[name][1]) for name in names]
        looked = ov.Model(ends, copy.get_parameters(), "looked")
        extra = dict(self._options.extra)
        group = extra.get("dynamic_quantization", "") or grouped(self._model)
        wanted = settings(self._options.threads, extra.get("precision", "f32"), int(group))
        return ov.Core().compile_model(looked, "CPU", wanted).create_infer_request()

    def _constant(self, name: str) -> Any:
        return np.array(self._stored[name].data)

    def _looked(self, outputs: tuple[str, ...]) -> Inside:
        operators = []
        bits = 32
        for node in self._model.get_ordered_ops():
            kind = str(node.get_type_name())
            if kind == "FakeQuantize":
                bits = min(bits, 8)
            made = tuple(self._name(port) for port in node.outputs()) if kind != "Result" else ()
            if kind == "Constant":
                self._stored[made[0]] = node
                if int(np.prod(list(node.get_output_shape(0)))) >= _WEIGHTS:
                    type_ = str(node.get_output_element_type(0).get_type_name())
                    bits = min(bits, _BITS.get(type_, 32))
            if kind in _APART:
                continue
            read = tuple(self._name(node.input_value(i)) for i in range(node.get_input_size()))
            name = str(node.get_friendly_name())
            operators.append(Operator(name, _KINDS.get(kind, kind), read, made))
        inputs = tuple(spec.name for spec in self._specs)
        return Inside(tuple(operators), inputs, outputs, frozenset(self._stored), bits)

    def _name(self, port: Any) -> str:
        """ONNX's name of a value where it has one: it may have several, and comes as a set."""
        key = _port(port)
        name = self._outputs.get(key) or self._inputs.get(key, "")
        if not name:
            names = sorted(port.get_names(), key=lambda one: (len(one), one))
            name = str(names[0]) if names else f"{key[0]}:{key[1]}"
        self._ports[name] = key
        return name


class OpenVinoViewer:
    """The viewer of OpenVINO's models."""

    formats: ClassVar[tuple[str, ...]] = ("openvino-ir",)
    experimental: ClassVar[bool] = False

    def open(self, folder: Path, options: EngineOptions) -> OpenVinoView:
        """See `core.seams.Viewer.open`."""
        file = folder / ir.MODEL
        ir.read(file)
        try:
            return OpenVinoView(ov.Core().read_model(str(file)), options)
        except (RuntimeError, ValueError, TypeError) as error:
            raise InvalidError(
                f"{file.name} is no model that OpenVINO can load: {reason(error)}", field="form"
            ) from error


def _port(port: Any) -> Port:
    return str(port.get_node().get_friendly_name()), int(port.get_index())
