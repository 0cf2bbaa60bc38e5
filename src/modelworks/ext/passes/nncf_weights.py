"""Weights of eight or four bits by NNCF, without any rows; activations rounded as they come."""

from typing import Any, ClassVar, Final

from modelworks.core.errors import UnsupportedError
from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob, Setting
from modelworks.ext.engines.openvino_model import GROUP
from modelworks.ext.formats import ir
from modelworks.ext.passes.nncf_int8 import QUANTIZED
from modelworks.ext.passes.nncf_parts import changed, check_keep, ignored, nncf, quietly
from modelworks.ext.passes.openvino_parts import (
    IR,
    ONNX,
    foreign,
    operators_of,
    read_source,
    remarks,
    write_ir,
)

_PRODUCTS: Final = {"Gemm", "MatMul", "FusedMatMul"}
_CONVOLUTIONS: Final = {"Conv", "ConvTranspose", "Convolution", "GroupConvolution"}


class NncfWeights:
    """The pass `nncf_weights`; see the module."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="nncf_weights",
        version=1,
        title="weights of 8 or 4 bits by NNCF",
        consumes=(ONNX, IR),
        produces=IR,
        engine="openvino",
        settings=(
            Setting("bits", default=8, help="of a weight", choices=(8, 4)),
            Setting("symmetric", default=False, help="without a zero point: coarser, smaller"),
            Setting(
                "group",
                default=64,
                help="weights that share a scale; of four bits only",
                least=8,
                most=1024,
            ),
            Setting(
                "ratio",
                default=1.0,
                help="share of the weights that get four bits; the others get eight",
                least=0.0,
                most=1.0,
            ),
            Setting(
                "activations",
                default=64,
                help="they are rounded to eight bits in groups of so many; 0 = not at all",
                choices=(0, 32, 64, 128),
            ),
        ),
        keeps=True,
        libraries=("nncf", "onnx", "openvino"),
        extra="optimize-openvino",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """Dense layers and embeddings alone are packed; see `core.seams.Pass`."""
        found = operators_of(job)
        done = sorted(found.keys() & QUANTIZED)
        if done:
            return f"the model is rounded already: it has {done[0]}"
        products = sum(found[name] for name in _PRODUCTS)
        if products < max(1, sum(found[name] for name in _CONVOLUTIONS)):
            return "more convolutions than matrix products: those gain nothing by it"
        return foreign(job)

    def apply(self, job: PassJob) -> Applied:
        """Pack the weights; see `core.seams.Pass`."""
        model = read_source(self.facts, job)
        check_keep(self.facts, model, job.keep)
        given: dict[str, Any] = {"mode": _mode(job), "ignored_scope": ignored(job.keep)}
        if job.settings["bits"] == 4:
            given |= {"ratio": job.settings["ratio"], "group_size": job.settings["group"]}
        with quietly(self.facts, job.threads):
            result = nncf.compress_weights(model, **given)
        operators = changed(result)
        if not operators and not job.keep:
            raise UnsupportedError(f"{self.facts.name}: NNCF found no weights that it can pack")
        group = job.settings["activations"]
        if group:
            result.set_rt_info(str(group), list(GROUP))
        write_ir(self.facts, job, result)
        size = (job.into / ir.WEIGHTS).stat().st_size
        figures = {"quantized": len(operators), "bytes": float(size)}
        return Applied(IR, operators, tuple(remarks(job)), figures)


def _mode(job: PassJob) -> Any:
    modes = nncf.CompressWeightsMode
    if job.settings["bits"] == 4:
        return modes.INT4_SYM if job.settings["symmetric"] else modes.INT4_ASYM
    return modes.INT8_SYM if job.settings["symmetric"] else modes.INT8_ASYM
