"""Post-training int8 by NNCF: calibrated on rows, for OpenVINO; with care for transformers."""

from typing import ClassVar, Final

from modelworks.core.errors import UnsupportedError
from modelworks.core.optimizing.passes import Applied, Need, PassFacts, PassJob
from modelworks.core.tensor import Datatype
from modelworks.ext.formats.onnx_model import own_signature
from modelworks.ext.passes.nncf_parts import (
    CALIBRATING,
    calibrating,
    changed,
    check_keep,
    nncf,
    quietly,
    smoothing,
)
from modelworks.ext.passes.nncf_rows import read_calls
from modelworks.ext.passes.openvino_parts import (
    IR,
    ONNX,
    foreign,
    operators_of,
    read_source,
    remarks,
    write_ir,
)

_WEIGHTED: Final = {"Conv", "Gemm", "MatMul", "ConvTranspose", "FusedMatMul"} | {
    "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData"
}  # fmt: skip
QUANTIZED: Final = {"QuantizeLinear", "QLinearConv", "QLinearMatMul", "MatMulInteger"} | {
    "ConvInteger", "DynamicQuantizeLinear", "MatMulNBits", "FakeQuantize"
}  # fmt: skip


class NncfInt8:
    """The pass `nncf_int8`; see the module."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="nncf_int8",
        version=1,
        title="int8 by NNCF, static",
        consumes=(ONNX, IR),
        produces=IR,
        engine="openvino",
        needs=frozenset({Need.ROWS}),
        settings=CALIBRATING,
        keeps=True,
        libraries=("nncf", "numpy", "onnx", "openvino"),
        extra="optimize-openvino",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """Names what leaves nothing to round; see `core.seams.Pass`."""
        return unfit(job)

    def apply(self, job: PassJob) -> Applied:
        """Calibrate and round; see `core.seams.Pass`."""
        model = read_source(self.facts, job)
        check_keep(self.facts, model, job.keep)
        calls = read_calls(job, job.settings["subset_size"])
        given = calibrating(model, job.settings, job.keep)
        with quietly(self.facts, job.threads):
            result = nncf.quantize(
                model,
                nncf.Dataset(calls),
                advanced_parameters=smoothing(job.settings),
                **given | {"subset_size": len(calls)},
            )
        operators = changed(result)
        if not operators and not job.keep:
            raise UnsupportedError(f"{self.facts.name}: NNCF found no operator that it can round")
        write_ir(self.facts, job, result)
        return Applied(IR, operators, notes(job, given, len(calls)), {"quantized": len(operators)})


def unfit(job: PassJob) -> str:
    """Why calibrating passes do no good to a model; empty = they may."""
    found = operators_of(job)
    done = sorted(found.keys() & QUANTIZED)
    if done:
        return f"the model is rounded already: it has {done[0]}"
    texts = [s.name for s in own_signature(job.source, job.signature).inputs if _text(s.datatype)]
    if texts:
        return f"'{texts[0][:60]}' is text: NNCF calibrates on numbers"
    if not found.keys() & _WEIGHTED:
        return "no convolution and no matrix product: there is nothing to round"
    return foreign(job)


def _text(datatype: Datatype) -> bool:
    return datatype in {Datatype.BYTES, Datatype.BF16}


def notes(job: PassJob, given: dict[str, object], rows: int) -> tuple[str, ...]:
    """What a calibrating pass did."""
    kind = "a transformer" if given["model_type"] else "a network without attention"
    return (f"calibrated as {kind} on {rows} rows", *remarks(job))
