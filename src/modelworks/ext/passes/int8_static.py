"""Weights and activations in eight bits, by ranges seen on calibration rows (QDQ)."""

from typing import ClassVar

import onnx

from modelworks.core.errors import UnsupportedError
from modelworks.core.optimizing.passes import Applied, Need, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import read_graph
from modelworks.ext.passes import onnx_qdq as qdq
from modelworks.ext.passes.onnx_parts import begin, end, refused_keep, told
from modelworks.ext.passes.onnx_ranges import METHODS, MOST, clipped, watch
from modelworks.ext.passes.onnx_session import quiet
from modelworks.ext.passes.onnx_shapes import attention, fused, masks


class Int8Static:
    """ONNX Runtime's QDQ quantizer, with ranges of our own."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="int8_static",
        version=2,
        title="int8, static",
        consumes=("onnx",),
        produces="onnx",
        engine="onnxruntime",
        needs=frozenset({Need.ROWS}),
        settings=(
            qdq.FIRST,
            Setting("method", "minmax", "how ranges are found", METHODS),
            Setting("percentile", 99.99, "of the values that stay", (), 50.0, 100.0),
            Setting("per_channel", default=True, help="a scale for each output channel"),
            Setting("operators", "all", "or those with weights alone", ("all", "weighted")),
            Setting("skip", (), "types of operators that stay in float"),
            Setting("rows", MOST, "of calibration that are looked at, at most", (), 1, 1_000_000),
            Setting("symmetric", default=False, help="the form that TensorRT takes"),
            Setting("reduce", default=False, help="seven bits, for CPUs without VNNI"),
        ),
        keeps=True,
        libraries=("onnx", "onnxruntime"),
        extra="optimize",
        experimental=False,
    )

    def fits(self, job: PassJob) -> str:
        """No weights to speak of, or attention whose masks would take the whole range."""
        model = read_graph(job.source)
        why = qdq.little(model)
        if why:
            return why
        mask = masks(model) if attention(model) else 0.0
        if mask or fused(model):
            adds = f" adds up to {mask:.3g} where nothing is to be seen, and" if mask else ""
            return (
                f"attention{adds} is fed by a few values that are far out: eight bits from ranges "
                "are too coarse (cosines of 0.39 to 0.94 were measured); use nncf_int8 or "
                "int8_dynamic"
            )
        return ""

    def apply(self, job: PassJob) -> Applied:
        """Quantize; see `core.seams.Pass.apply`."""
        model = begin(self.facts, job)
        types = _types(job)
        with told(self.facts), quiet():
            model = qdq.prepared(model, job.threads)
            known = qdq.operators(model, types)
            refused_keep(self.facts, job.keep, list(known))
            kept = (*job.keep, *qdq.first(known, job.settings["first"]))
            manner = qdq.Manner(
                types,
                kept,
                per_channel=job.settings["per_channel"],
                reduce=job.settings["reduce"],
                symmetric=job.settings["symmetric"],
            )
            model = qdq.in_eight_bits(model, _ranges(model, types, job), manner)
        changed = [name for name in qdq.changed(model, known) if name not in kept]
        if not changed and not job.keep:
            raise UnsupportedError("none of the graph's operators in float32 can be quantized")
        count, every = len(changed), sum(kind not in qdq.MOVING for kind in known.values())
        notes = (f"{count} of {every} operators run in eight bits",)
        return end(job, model, changed, notes, {"quantized": count, "operators": every})


def _types(job: PassJob) -> tuple[str, ...]:
    some = () if job.settings["operators"] == "weighted" else qdq.OTHERS
    skipped = set(job.settings["skip"])
    every = (*qdq.WEIGHTED, *some, *qdq.MOVING)
    return tuple(one for one in every if one not in skipped)


def _ranges(model: onnx.ModelProto, types: tuple[str, ...], job: PassJob) -> qdq.Ranges:
    assert job.calibration is not None  # noqa: S101 - checked before
    names = qdq.tensors(model, types)
    seen = watch(model, job.calibration, names, job.threads, job.settings["rows"])
    return clipped(seen, job.settings["method"], job.settings["percentile"])
