"""Small ONNX graphs as text, and what ONNX Runtime and LiteRT say of them."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, parser

from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.core.seams import EngineOptions
from modelworks.plugins.load import load

RANDOM = np.random.default_rng(7)


def weights(*shape, scale=1.0):
    return (RANDOM.standard_normal(shape) * scale).astype("f4")


def graph(text, constants=None, opset=20):
    """A model from ONNX's text form of a graph: `(float[N,4] x) => (float[N,2] y) { ... }`."""
    ends, lines = text.split("{", 1)
    head = f'<ir_version: 9, opset_import: ["" : {opset}, "ai.onnx.ml" : 3]>'
    model = parser.parse_model(f"{head}\ng {ends} {{{lines}")
    for name, value in (constants or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    onnx.checker.check_model(model)
    return model


def saved(folder: Path, model) -> PassJob:
    """A job for a graph: its artifact lies in `folder/source`."""
    source, into = folder / "source", folder / "into"
    for one in (source, into):
        one.mkdir(parents=True, exist_ok=True)
    onnx.save(model, source / "model.onnx")
    signature = session("onnxruntime", source).signature
    return PassJob(source, "onnx", into, signature)


def session(engine, folder, signature=None):
    return load("engines", engine)().load(folder, EngineOptions(signature=signature))


def converted(folder: Path, model) -> PassJob:
    """The job of the pass `litert`, done."""
    job = saved(folder, model)
    load("passes", "litert")().apply(job)
    return job


def rows(signature, count, seed=0):
    """Inputs of so many rows."""
    chance = np.random.default_rng(seed)
    return {
        spec.name: chance.standard_normal(
            [count if size is None else size for size in spec.shape]
        ).astype("f4")
        for spec in signature.inputs
    }


def same(job, counts=(1, 2, 7), atol=1e-5):
    """Both forms say the same of different numbers of rows."""
    first, second = (
        session("onnxruntime", job.source),
        session("litert", job.into, job.signature),
    )
    for count in counts:
        inputs = rows(job.signature, count, count)
        for one, other in zip(first.infer(inputs), second.infer(inputs), strict=True):
            assert one.shape == other.shape
            if one.dtype.kind == "f":
                np.testing.assert_allclose(other, one, atol=atol, rtol=1e-4)
            else:
                assert [x.encode() if isinstance(x, str) else x for x in one.ravel().tolist()] == (
                    other.ravel().tolist()
                )


def chained(job, into: Path, name: str, calibration=None, keep=(), **settings) -> PassJob:
    """A pass on what another one left in `job.into`."""
    into.mkdir(parents=True, exist_ok=True)
    step = load("passes", name)()
    whole = settled(step.facts, settings)
    return PassJob(
        job.into, "tflite", into, job.signature, whole, calibration=calibration, keep=keep
    )
