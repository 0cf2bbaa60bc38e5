"""ONNX to JAX: the graph as StableHLO for CPUs, GPUs and TPUs; only a CPU ever ran it here.

Beside the graph, which stays as it is, lie `model.jaxexport`, what `jax.export` serialises, and
`jax.json`: how it is called, and what of it was proved.
"""

import json
from functools import partial
from typing import Any, ClassVar, Final

import jax
import onnx

from modelworks.core import digest
from modelworks.core.errors import UnsupportedError
from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob, Setting
from modelworks.core.tensor import Signature
from modelworks.ext.formats.onnx_model import LARGE, float_bytes, own_signature, read_graph
from modelworks.ext.passes.jax import follow, proof, writing
from modelworks.ext.passes.onnx_parts import begin, end

jax.config.update("jax_platforms", "cpu")

FILE: Final = "model.jaxexport"
ABOUT: Final = "jax.json"
_ALL: Final = "cpu,cuda,tpu"


class JaxExport:
    """The pass `jax_export`; see the module."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="jax_export",
        version=1,
        title="JAX, exported and run on a CPU alone",
        consumes=("onnx",),
        produces="onnx",
        engine="onnxruntime",
        exact=True,
        settings=(
            Setting(
                "platforms",
                default=_ALL,
                help="that it is lowered for",
                choices=(_ALL, "cpu", "cuda", "tpu"),
            ),
            Setting(
                "precision",
                default="highest",
                help="of products: highest = float32; default = TPUs take bfloat16",
                choices=("highest", "default"),
            ),
        ),
        libraries=("jax", "onnx", "onnxruntime"),
        extra="optimize-jax",
        verified=False,
    )

    def fits(self, job: PassJob) -> str:
        """Names operators without a JAX form, and types that a platform lacks."""
        return _against(read_graph(job.source), own_signature(job.source, job.signature), job)

    def apply(self, job: PassJob) -> Applied:
        """Translate, serialise, and compare on this CPU; see `core.seams.Pass`."""
        model = begin(self.facts, job)
        signature = own_signature(job.source, job.signature)
        why = _against(model, signature, job)
        if why:
            raise UnsupportedError(f"{self.facts.name}: {why}")
        platforms, precision = job.settings["platforms"].split(","), job.settings["precision"]
        names = [[spec.name for spec in side] for side in (signature.inputs, signature.outputs)]
        function = follow.function_of(model, *names)
        shapes = writing.symbols(model.graph, signature.inputs)
        data = writing.written(function, signature.inputs, shapes, platforms, precision)
        here = partial(writing.called, data)
        if "cpu" not in platforms:
            here = partial(writing.traced_here, function, precision=precision)
        apart = proof.compared(job, signature, here)
        note = f"compared with ONNX Runtime on a CPU: at most {apart:.1g} apart; nowhere else run"
        applied = end(job, model, notes=[note], figures={"bytes": len(data), "apart": apart})
        (job.into / FILE).write_bytes(data)
        about = _about(signature, shapes, data, platforms, apart)
        (job.into / ABOUT).write_text(json.dumps(about, indent=2, sort_keys=True) + "\n")
        return applied


def _against(model: onnx.ModelProto, signature: Signature, job: PassJob) -> str:
    if float_bytes(model) > LARGE:
        return "its weights take more than 1.6 GB, and they lie within the exported function"
    specs = (*signature.inputs, *signature.outputs)
    return follow.refused(model) or writing.lacking(specs, job.settings["platforms"])


def _about(
    signature: Signature,
    shapes: dict[str, tuple[Any, ...]],
    data: bytes,
    platforms: list[str],
    apart: float,
) -> dict[str, Any]:
    """What a caller elsewhere has to know."""
    inputs = [
        {"name": one.name, "datatype": one.datatype, "shape": [str(n) for n in shapes[one.name]]}
        for one in signature.inputs
    ]
    file = "the exported file" if "cpu" in platforms else "the function, compiled for the CPU alone"
    return {
        "file": FILE,
        "digest": digest.of_bytes(data),
        "platforms": platforms,
        "inputs": inputs,
        "outputs": [one.name for one in signature.outputs],
        "by": f"jax {jax.__version__}",
        "call": (
            "import jax; jax.config.update('jax_enable_x64', True); "
            f"jax.export.deserialize(bytearray(open('{FILE}', 'rb').read())).call(*inputs)"
        ),
        "proved": {"on": "cpu", "what": file, "apart": f"{apart:.1e}"},
        "not_proved": [*(f"answers on {one}" for one in platforms if one != "cpu"), "speed"],
    }
