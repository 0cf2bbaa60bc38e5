"""LiteRT's forms of a network beside ONNX Runtime's float32: speed, answers, bytes.

One thread, CPU time of `Session.infer`, all forms in turn in every round, medians.

    python benchmarks/optimize/litert.py mlp ~/.cache/modelworks-benchmarks [--rows 1500]
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from models import make

from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.core.seams import EngineOptions
from modelworks.plugins.load import load

ROUNDS, ROUND_S = 31, 0.004
SOURCE = "onnxruntime float32"
FORMS = {
    "int8, dynamic": ("litert_int8_dynamic", {}),
    "int4, dynamic": ("litert_int8_dynamic", {"bits": 4}),
    "int8, calibrated": ("litert_int8_static", {}),
}


def apply(name, made, source, form, into, settings):
    """Apply a pass; its folder, or why it does not fit."""
    into.mkdir()
    step = load("passes", name)()
    whole = settled(step.facts, settings)
    job = PassJob(source, form, into, made.signature, whole, calibration=made.calibration)
    why = step.fits(job)
    if not why:
        step.apply(job)
    return why


def formed(made, folder):
    """Name of each form -> engine and folder."""
    forms = {SOURCE: ("onnxruntime", made.form)}
    why = apply("litert", made, made.form, "onnx", folder / "float", {})
    if why:
        raise SystemExit(why)
    forms["float32"] = ("litert", folder / "float")
    for place, (title, (name, settings)) in enumerate(FORMS.items()):
        why = apply(name, made, folder / "float", "tflite", folder / str(place), settings)
        if why:
            print(f"{title}: {why}")
        else:
            forms[title] = ("litert", folder / str(place))
    return forms


def timed(sessions, inputs):
    """CPU microseconds of a call, by form: one number a round."""
    first = sessions[SOURCE]
    first.infer(inputs)
    before = time.process_time()
    first.infer(inputs)
    calls = max(1, int(ROUND_S / max(time.process_time() - before, 1e-6)))
    found = {name: [] for name in sessions}
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            session.infer(inputs)
            before = time.process_time()
            for _ in range(calls):
                session.infer(inputs)
            found[name].append((time.process_time() - before) / calls * 1e6)
    return {name: np.array(values) for name, values in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("key", choices=("mlp", "cnn"))
    parser.add_argument("cache", type=Path)
    parser.add_argument("--rows", type=int, default=1500)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    made = make(given.key, given.cache)
    rows = dict(np.load(made.evaluation))
    truth = np.load(made.labels)[: given.rows]
    with tempfile.TemporaryDirectory() as folder:
        forms = formed(made, Path(folder))
        options = EngineOptions(threads=1, signature=made.signature)
        sessions = {n: load("engines", e)().load(p, options) for n, (e, p) in forms.items()}
        sizes = {n: sum(f.stat().st_size for f in p.rglob("*")) for n, (_, p) in forms.items()}
        said = {
            name: np.concatenate(
                [
                    session.infer({k: v[i : i + 16] for k, v in rows.items()})[0].argmax(1)
                    for i in range(0, len(truth), 16)
                ]
            )[: len(truth)]
            for name, session in sessions.items()
        }
        one, many = (timed(sessions, {k: v[:n] for k, v in rows.items()}) for n in (1, 16))
    print("| form | KB | accuracy | agreement | 1 row | 16 rows |\n|---|---|---|---|---|---|")
    for name, labels in said.items():
        right, same = (labels == truth).mean(), (labels == said[SOURCE]).mean()
        times = " | ".join(
            f"{np.median(of[SOURCE] / of[name]):.2f} ({np.median(of[name]):.0f} µs)"
            for of in (one, many)
        )
        print(f"| {name} | {sizes[name] / 1000:.0f} | {right:.4f} | {same:.4f} | {times} |")


main()
