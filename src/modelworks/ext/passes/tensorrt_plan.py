"""How to run a graph by TensorRT: shapes, commands, options. What it says is not run here.

Beside the graph, which stays as it is, lies `plan.json`: command lines of TensorRT's `trtexec` and
of Polygraphy, and the options of ONNX Runtime's TensorRT provider, for somebody who has a GPU.
"""

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from modelworks.core.errors import UnsupportedError
from modelworks.core.optimizing.passes import Applied, PassFacts, PassJob, Setting
from modelworks.ext.formats.onnx_model import MODEL, own_signature, read_graph
from modelworks.ext.passes.onnx_parts import begin, end
from modelworks.ext.passes.tensorrt_network import Profile, built, profiles, refused

PLAN: Final = "plan.json"
_ENGINE: Final = "model.plan"


class TensorRtPlan:
    """The pass `tensorrt_plan`; see the module."""

    facts: ClassVar[PassFacts] = PassFacts(
        name="tensorrt_plan",
        version=1,
        title="TensorRT, a plan that was not run",
        consumes=("onnx",),
        produces="onnx",
        engine="onnxruntime",
        settings=(
            Setting(
                "precision",
                default="graph",
                help="graph: as its tensors say; fp16: TensorRT 10 may choose float16",
                choices=("graph", "fp16"),
            ),
            Setting("rows", default=32, help="most of a call", least=1, most=65_536),
            Setting(
                "shortest",
                default=1,
                help="length of other free axes, at least",
                least=1,
                most=65_536,
            ),
            Setting("longest", default=128, help="the same, at most", least=1, most=65_536),
            Setting(
                "workspace_mib",
                default=1024,
                help="memory that TensorRT may try kernels with",
                least=1,
                most=1_048_576,
            ),
        ),
        libraries=("onnx",),
        extra="optimize",
        verified=False,
    )

    def fits(self, job: PassJob) -> str:
        """Names what TensorRT is known to refuse; see `core.seams.Pass`."""
        signature = own_signature(job.source, job.signature)
        return refused(read_graph(job.source).graph, (*signature.inputs, *signature.outputs))

    def apply(self, job: PassJob) -> Applied:
        """Write the plan, and prove of it what can be; see `core.seams.Pass`."""
        model = begin(self.facts, job)
        why = self.fits(job)
        if why:
            raise UnsupportedError(f"{self.facts.name}: {why}")
        given = job.settings
        inputs = own_signature(job.source, job.signature).inputs
        shapes = profiles(inputs, given["rows"], given["shortest"], given["longest"])
        proved = built(job.source, shapes, self.facts.name)
        applied = end(job, model, notes=[_said(proved)])
        plan = _plan(job, shapes, proved)
        (job.into / PLAN).write_text(json.dumps(plan, indent=2, sort_keys=True) + "\n")
        return applied


def _said(proved: dict[str, Any] | None) -> str:
    if proved is None:
        return "written and not run; tensorrt-rtx, which would parse the graph, is not installed"
    return f"{proved['by']} parsed and serialised the graph; it was not run"


def _plan(job: PassJob, shapes: Sequence[Profile], proved: dict[str, Any] | None) -> dict[str, Any]:
    half = job.settings["precision"] == "fp16"
    return {
        "model": MODEL,
        "proved": proved,
        "not_proved": ["execution", "answers", "speed"],
        "profiles": {
            one.name: {"min": one.least, "opt": one.often, "max": one.most} for one in shapes
        },
        "trtexec": _trtexec(shapes, job.settings["workspace_mib"], half=half),
        "polygraphy_convert": _polygraphy(shapes, job.settings["workspace_mib"], half=half),
        "polygraphy_compare": _compared(shapes, half=half),
        "onnxruntime_providers": _providers(shapes, job.settings["workspace_mib"], half=half),
    }


def _sides(shapes: Sequence[Profile]) -> tuple[tuple[str, list[tuple[str, tuple[int, ...]]]], ...]:
    return (
        ("min", [(one.name, one.least) for one in shapes]),
        ("opt", [(one.name, one.often) for one in shapes]),
        ("max", [(one.name, one.most) for one in shapes]),
    )


def _joined(named: list[tuple[str, tuple[int, ...]]]) -> str:
    """`ids:1x8,mask:1x8`."""
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in named)


def _bracketed(named: list[tuple[str, tuple[int, ...]]]) -> list[str]:
    return [f"{name}:[{','.join(map(str, shape))}]" for name, shape in named]


def _trtexec(shapes: Sequence[Profile], workspace: int, *, half: bool) -> list[str]:
    sides = [f"--{side}Shapes={_joined(named)}" for side, named in _sides(shapes)]
    kind = "--fp16" if half else "--stronglyTyped"
    pool = f"--memPoolSize=workspace:{workspace}"
    return ["trtexec", f"--onnx={MODEL}", f"--saveEngine={_ENGINE}", *sides, pool, kind]


def _polygraphy(shapes: Sequence[Profile], workspace: int, *, half: bool) -> list[str]:
    kind = "--fp16" if half else "--strongly-typed"
    pool = ["--pool-limit", f"workspace:{workspace}M"]
    command = ["polygraphy", "convert", MODEL, "--convert-to", "trt", "-o", _ENGINE]
    return [*command, *_ranges(shapes), *pool, kind]


def _compared(shapes: Sequence[Profile], *, half: bool) -> list[str]:
    """Runs TensorRT beside ONNX Runtime and compares: what is not proved here."""
    near = ["--atol", "1e-2", "--rtol", "1e-2"] if half else ["--atol", "1e-4", "--rtol", "1e-3"]
    kind = "--fp16" if half else "--strongly-typed"
    often = ["--input-shapes", *_bracketed(_sides(shapes)[1][1])]
    return ["polygraphy", "run", MODEL, "--trt", "--onnxrt", *often, *_ranges(shapes), *near, kind]


def _ranges(shapes: Sequence[Profile]) -> list[str]:
    return [
        word
        for side, named in _sides(shapes)
        for word in (f"--trt-{side}-shapes", *_bracketed(named))
    ]


def _providers(shapes: Sequence[Profile], workspace: int, *, half: bool) -> list[list[Any]]:
    """For onnxruntime-gpu, which never shares an environment with onnxruntime."""
    options: dict[str, Any] = {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": ".",
        "trt_fp16_enable": half,
        "trt_max_workspace_size": workspace << 20,
    }
    options |= {f"trt_profile_{side}_shapes": _joined(named) for side, named in _sides(shapes)}
    return [
        ["TensorrtExecutionProvider", options],
        ["CUDAExecutionProvider", {}],
        ["CPUExecutionProvider", {}],
    ]
