"""LiteRT models in integers, by Google's ai-edge-quantizer: weights alone, or all that is computed.

What callers send and get stays float: only the inside changes.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, ClassVar, Final

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.utils import qsv_utils

from modelworks.core.errors import CrashedError, InvalidError, UnsupportedError
from modelworks.core.optimizing.passes import Applied, Need, PassFacts, PassJob, Setting
from modelworks.ext.formats import tflite
from modelworks.ext.formats.onnx_model import carry, own_signature, short
from modelworks.ext.passes.litert.proof import write

MODEL: Final = "model.tflite"
_WEIGHTY: Final = {
    schema.BuiltinOperator.FULLY_CONNECTED,
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
}
_FLOAT: Final = schema.TensorType.FLOAT32
_LEAST: Final = 1024  # weights in all; below, a call costs more than what it computes
_BATCH: Final = 32  # rows of one call of the calibration
_OPERATIONS: Final = qtyping.TFLOperationName
_LIBRARIES: Final = ("ai-edge-litert", "ai-edge-quantizer")
_EXTRA: Final = "optimize-litert"
_GRANULARITY: Final = Setting(
    "granularity",
    "channel",
    "one scale for each output channel of the weights, or one for a tensor",
    choices=("channel", "tensor"),
)
_GRAINS: Final = {
    "channel": qtyping.QuantGranularity.CHANNELWISE,
    "tensor": qtyping.QuantGranularity.TENSORWISE,
}


class DynamicInt8:
    """The pass `litert_int8_dynamic`: integer weights; what a layer gets is rounded as it comes."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="litert_int8_dynamic",
        version=1,
        title="LiteRT, int8, dynamic",
        consumes=("tflite",),
        produces="tflite",
        engine="litert",
        settings=(Setting("bits", 8, "of a weight", choices=(8, 4)), _GRANULARITY),
        keeps=True,
        libraries=_LIBRARIES,
        extra=_EXTRA,
    )

    def fits(self, job: PassJob) -> str:
        """Whether there are weights to round; see `core.seams.Pass`."""
        return _Model(job.source).fits()

    def apply(self, job: PassJob) -> Applied:
        """See `core.seams.Pass`."""
        model = _opened(job, self.facts)
        rules = recipe_manager.RecipeManager()
        rules.add_dynamic_config(
            ".*",
            _OPERATIONS.ALL_SUPPORTED,
            num_bits=job.settings["bits"],
            granularity=_GRAINS[job.settings["granularity"]],
        )
        return _written(job, model, rules)


class StaticInt8:
    """The pass `litert_int8_static`: weights and everything between layers, scales from rows."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="litert_int8_static",
        version=1,
        title="LiteRT, int8, calibrated",
        consumes=("tflite",),
        produces="tflite",
        engine="litert",
        needs=frozenset({Need.ROWS}),
        settings=(
            _GRANULARITY,
            Setting("rows", 256, "of the calibration that are looked at", least=1, most=100_000),
        ),
        keeps=True,
        libraries=_LIBRARIES,
        extra=_EXTRA,
    )

    def fits(self, job: PassJob) -> str:
        """Whether there are weights to round; see `core.seams.Pass`."""
        return _Model(job.source).fits()

    def apply(self, job: PassJob) -> Applied:
        """See `core.seams.Pass`."""
        if job.calibration is None:
            raise InvalidError(
                f"{self.facts.name} needs rows to calibrate on: give --calibration",
                field="calibration",
            )
        model = _opened(job, self.facts)
        rules = recipe_manager.RecipeManager()
        rules.add_static_config(
            ".*",
            _OPERATIONS.ALL_SUPPORTED,
            activation_num_bits=8,  # kernels for 16 are a hundred times slower
            weight_num_bits=8,
            weight_granularity=_GRAINS[job.settings["granularity"]],
        )
        for end in (_OPERATIONS.INPUT, _OPERATIONS.OUTPUT):
            rules.add_quantization_config(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
        rows = list(_batches(job, job.calibration))
        return _written(job, model, rules, rows)


class _Model:
    """A LiteRT file: its first graph's operators by the names of what they make."""

    def __init__(self, folder: Path) -> None:
        file = folder / MODEL
        if not file.is_file():
            raise InvalidError(f"the artifact has no {MODEL}", field="source")
        self.facts = tflite.read(file)
        self.data = file.read_bytes()
        self._model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(self.data))

    def fits(self) -> str:
        """Why there is nothing to gain; empty = there may be."""
        if len(self._model.subgraphs) > 1 or len(self.facts.signatures) != 1:
            return "it has several graphs, or no signature: files of one graph are rounded"
        sizes = [len(self._model.buffers[tensor.buffer].data) // 4 for tensor in self._weights()]
        if not sizes:
            return "it has no layers with float32 weights: nothing is left to round"
        if sum(sizes) < _LEAST:
            return f"its layers have {sum(sizes)} weights: a call costs more than they do"
        return ""

    def operators(self) -> dict[str, Any]:
        """Name of the first output -> operator."""
        graph = self._model.subgraphs[0]
        return {
            graph.tensors[one.outputs[0]].name.decode(): one
            for one in graph.operators
            if one.outputs is not None and len(one.outputs)
        }

    def tail(self) -> list[str]:
        """Operators after the last layer with weights, by name."""
        feeding: set[int] = set()
        found = []
        for name, one in reversed(self.operators().items()):
            if self.code(one) in _WEIGHTY or feeding.intersection(map(int, one.outputs)):
                feeding.update(map(int, one.inputs))
            else:
                found.append(name)
        return found

    def kinds(self, one: Any) -> tuple[int, ...]:
        """Types of what an operator makes and of its constants with weights."""
        tensors = self._model.subgraphs[0].tensors
        numbers = [one.outputs[0]]
        if self.code(one) in _WEIGHTY:
            numbers.append(one.inputs[1])
        return tuple(int(tensors[number].type) for number in numbers)

    def code(self, one: Any) -> int:
        """What an operator is."""
        found = self._model.operatorCodes[one.opcodeIndex]
        return max(int(found.builtinCode), int(found.deprecatedBuiltinCode))

    def _weights(self) -> Iterator[Any]:
        tensors = self._model.subgraphs[0].tensors
        for one in self.operators().values():
            if self.code(one) in _WEIGHTY:
                tensor = tensors[one.inputs[1]]
                if tensor.type == _FLOAT and self._model.buffers[tensor.buffer].data is not None:
                    yield tensor


def _opened(job: PassJob, facts: PassFacts) -> _Model:
    """The source, with all that is asked for in it.

    Raises:
        InvalidError: another format, a damaged file, an operator that is not there.
        UnsupportedError: nothing in it can be rounded.
    """
    if job.format not in facts.consumes:
        raise InvalidError(f"{facts.name} reads tflite, not {job.format}", field="format")
    model = _Model(job.source)
    why = model.fits()
    if why:
        raise UnsupportedError(why)
    for name in job.keep:
        if name not in model.operators():
            raise InvalidError(f"the model has no operator '{name[:80]}' to keep", field="keep")
    return model


def _batches(job: PassJob, file: Path) -> Iterator[dict[str, Any]]:
    """Rows to calibrate on, so many at a time as the model takes."""
    signature = own_signature(job.source, job.signature)
    free = all(spec.shape[:1] == (None,) for spec in signature.inputs)
    with np.load(file) as kept:
        arrays = {spec.name: kept[spec.name] for spec in signature.inputs if spec.name in kept}
    missing = [spec.name for spec in signature.inputs if spec.name not in arrays]
    if missing:
        raise InvalidError(f"the calibration has no input '{missing[0]}'", field="calibration")
    count = min(job.settings["rows"], *map(len, arrays.values()))
    step = _BATCH if free else int(signature.inputs[0].shape[0] or 1)
    for start in range(0, count - (0 if free else step - 1), step):
        end = min(start + step, count)
        yield {name: np.ascontiguousarray(array[start:end]) for name, array in arrays.items()}


def _written(
    job: PassJob,
    model: _Model,
    rules: recipe_manager.RecipeManager,
    rows: list[dict[str, Any]] | None = None,
) -> Applied:
    kept, notes = set(job.keep), []
    if rows is not None:
        kept.update(model.tail())  # what is small and ends in probabilities stays exact
        count = sum(len(next(iter(one.values()))) for one in rows)
        notes.append(f"calibrated on {count} rows")
    for name in sorted(kept):
        rules.add_quantization_config(
            f"(^|;){re.escape(name)}(;|$)",
            _OPERATIONS.ALL_SUPPORTED,
            algorithm_key=AlgorithmName.NO_QUANTIZE,
        )
    whole = kept.issuperset(model.operators())
    data = model.data if whole else _quantized(job, model, rules, rows)
    carry(job.source, job.into, {MODEL})
    write(job.into / MODEL, data)
    made, before = _Model(job.into), model.operators()
    after = made.operators()
    changed = tuple(
        name
        for name, one in before.items()
        if name in after and made.kinds(after[name]) != model.kinds(one)
    )
    figures = {
        "bytes": float(len(data)),
        "operators": float(len(before)),
        "quantized": float(len(changed)),
    }
    return Applied("tflite", changed, tuple(notes), figures)


def _quantized(
    job: PassJob,
    model: _Model,
    rules: recipe_manager.RecipeManager,
    rows: list[dict[str, Any]] | None,
) -> bytes:
    """The file that the library makes.

    Raises:
        CrashedError: it failed.
    """
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")  # that all tensors are kept; progress bars
            found = None if rows is None else _ranges(job, model, rules, rows)
            shop = quantizer.Quantizer(model.data, rules.get_quantization_recipe())
            made = shop.quantize(found, enable_progress_bar=False, enable_progress_report=False)
    except MemoryError:
        raise
    except Exception as error:  # the library raises whatever Python does
        raise CrashedError(f"ai-edge-quantizer failed: {short(error)}") from error
    return _repaired(bytes(made.quantized_model), model.data)


def _repaired(data: bytes, source: bytes) -> bytes:
    """The library's file with a signature that names its graph's own ends.

    It forgets the signature where a tensor that callers see is read inside of the graph as well.
    """
    one, other = (schema.ModelT.InitFromObj(schema.Model.GetRootAs(x)) for x in (data, source))
    graph, before = one.subgraphs[0], other.subgraphs[0]
    changed = False
    for side in ("inputs", "outputs"):
        places = [int(number) for number in getattr(before, side)]
        new = getattr(graph, side)
        for told, was in zip(
            getattr(one.signatureDefs[0], side),
            getattr(other.signatureDefs[0], side),
            strict=True,
        ):
            number = int(new[places.index(int(was.tensorIndex))])
            changed = changed or number != int(told.tensorIndex)
            told.tensorIndex = number
    if not changed:
        return data
    builder = flatbuffers.Builder(len(data))
    builder.Finish(one.Pack(builder), tflite.IDENTIFIER)
    return bytes(builder.Output())


def _ranges(
    job: PassJob, model: _Model, rules: recipe_manager.RecipeManager, rows: list[dict[str, Any]]
) -> Any:
    """Between which values every tensor was, over all rows."""
    seen = calibrator.Calibrator(
        model.data, num_threads=job.threads, qsv_update_func=qsv_utils.min_max_update
    )
    seen.calibrate({model.facts.signature: rows}, rules)
    return seen.get_model_qsvs()
