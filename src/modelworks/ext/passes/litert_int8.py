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

import numpy as np
from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.utils import qsv_utils

from modelworks.core.errors import CrashedError, InvalidError, UnsupportedError
from modelworks.core.optimizing.passes import Applied, Need, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import carry, own_signature, short
from modelworks.ext.passes.litert.proof import write
from modelworks.ext.passes.litert_file import DENSE, MODEL, WEIGHTY, LiteRtFile, repaired

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
    """The pass `litert_int8_dynamic`: dense layers; what they get is rounded as it comes."""

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
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """Whether there are weights to round; see `core.seams.Pass`."""
        return LiteRtFile(job.source).fits(DENSE)

    def apply(self, job: PassJob) -> Applied:
        """See `core.seams.Pass`."""
        model = _opened(job, self.facts, DENSE)
        rules = recipe_manager.RecipeManager()
        rules.add_dynamic_config(
            ".*",
            _OPERATIONS.FULLY_CONNECTED,
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
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """Whether there are weights to round; see `core.seams.Pass`."""
        return LiteRtFile(job.source).fits()

    def apply(self, job: PassJob) -> Applied:
        """See `core.seams.Pass`."""
        if job.calibration is None:
            raise InvalidError(
                f"{self.facts.name} needs rows to calibrate on: give --calibration",
                field="calibration",
            )
        model = _opened(job, self.facts, WEIGHTY)
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


def _opened(job: PassJob, facts: PassFacts, codes: frozenset[int]) -> LiteRtFile:
    """The source, with all that is asked for in it.

    Raises:
        InvalidError: another format, a damaged file, an operator that is not there.
        UnsupportedError: nothing in it can be rounded.
    """
    if job.format not in facts.consumes:
        raise InvalidError(f"{facts.name} reads tflite, not {job.format}", field="format")
    model = LiteRtFile(job.source)
    why = model.fits(codes)
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
    model: LiteRtFile,
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
    made, before = LiteRtFile(job.into), model.operators()
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
    model: LiteRtFile,
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
    return repaired(bytes(made.quantized_model), model.data)


def _ranges(
    job: PassJob, model: LiteRtFile, rules: recipe_manager.RecipeManager, rows: list[dict[str, Any]]
) -> Any:
    """Between which values every tensor was, over all rows."""
    seen = calibrator.Calibrator(
        model.data, num_threads=job.threads, qsv_update_func=qsv_utils.min_max_update
    )
    seen.calibrate({model.facts.signature: rows}, rules)
    return seen.get_model_qsvs()
