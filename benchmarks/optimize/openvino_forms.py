"""OpenVINO's forms of a network beside ONNX Runtime's float32: speed, answers, bytes.

One thread, CPU time of `Session.infer`, all forms in turn in every round, medians with quartiles.

    taskset -c 1 python benchmarks/optimize/openvino_forms.py minilm ~/.cache/modelworks-benchmarks

Forms in bfloat16 and float16 say something only on processors with units for them.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from models import KEYS, TOKENS, make

from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.core.seams import EngineOptions
from modelworks.plugins.load import load

ROUNDS, ROUND_S, JUDGED = 21, 0.04, 512
SOURCE = "ONNX Runtime float32"
# Title -> pass, settings, compiled for the sizes that are measured, precision of what is computed
FORMS = {
    "float32": ("openvino", {}, False),
    "float32, sizes": ("openvino", {}, True),
    "bfloat16": ("openvino", {}, False, "bf16"),
    "bfloat16, sizes": ("openvino", {}, True, "bf16"),
    "float16": ("openvino", {}, False, "f16"),
    "float16, sizes": ("openvino", {}, True, "f16"),
    "int8": ("nncf_int8", {}, False),
    "int8, sizes": ("nncf_int8", {}, True),
    "int8, sizes, else bfloat16": ("nncf_int8", {}, True, "bf16"),
    "8-bit weights, groups of 64": ("nncf_weights", {}, False),
    "8-bit weights, groups of 128": ("nncf_weights", {"activations": 128}, False),
    "8-bit weights, float": ("nncf_weights", {"activations": 0}, False),
    "4-bit weights, groups of 64": ("nncf_weights", {"bits": 4}, False),
}


def apply(made, name, settings, into):
    """Apply a pass; why it does not fit, else seconds of CPU time."""
    into.mkdir()
    step = load("passes", name)()
    job = PassJob(
        made.form, "onnx", into, made.signature, settled(step.facts, settings), made.calibration
    )
    why = step.fits(job)
    if why:
        return why
    before = time.process_time()
    step.apply(job)
    return time.process_time() - before


def formed(made, key, folder, only):
    """Title -> session, bytes and seconds that the pass took."""
    options = EngineOptions(threads=1, signature=made.signature)
    found = {SOURCE: (load("engines", "onnxruntime")().load(made.form, options), made.form, 0.0)}
    sizes = f"1x{TOKENS},16x{TOKENS}" if key == "minilm" else "1,16"
    wanted = {title: form for title, form in FORMS.items() if not only or title in only}
    for place, (title, (name, settings, fixed, *coarse)) in enumerate(wanted.items()):
        into = folder / str(place)
        took = apply(made, name, settings, into)
        if isinstance(took, str):
            print(f"{title}: {took}")
            continue
        extra = (*((("reshape", sizes),) * fixed), *(("precision", one) for one in coarse))
        options = EngineOptions(threads=1, signature=made.signature, extra=extra)
        found[title] = (load("engines", "openvino")().load(into, options), into, took)
    return found


def timed(forms, inputs):
    """CPU microseconds of a call, by form: one number a round."""
    calls, found = {}, {title: [] for title in forms}
    for title, (session, *_) in forms.items():
        session.infer(inputs)
        before = time.process_time()
        session.infer(inputs)
        calls[title] = max(1, int(ROUND_S / max(time.process_time() - before, 1e-6)))
    for _ in range(ROUNDS):
        for title, (session, *_) in forms.items():
            before = time.process_time()
            for _ in range(calls[title]):
                session.infer(inputs)
            found[title].append((time.process_time() - before) / calls[title] * 1e6)
    return {title: np.array(values) for title, values in found.items()}


def told(session, rows):
    """The first output of all rows, sixteen a call."""
    count = len(next(iter(rows.values())))
    parts = range(0, count, 16)
    return np.concatenate(
        [session.infer({k: v[i : i + 16] for k, v in rows.items()})[0] for i in parts]
    )


def quality(said, wanted, truth):
    """Accuracy and agreement where there are labels, else the cosine: mean and least."""
    if truth is not None:
        best = said.argmax(1)
        return f"{(best == truth).mean():.4f} | {(best == wanted.argmax(1)).mean():.4f}"
    norms = np.linalg.norm(said, axis=1) * np.linalg.norm(wanted, axis=1)
    cosine = (said * wanted).sum(1) / norms
    return f"{cosine.mean():.4f} | {cosine.min():.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("key", choices=KEYS)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--only", nargs="*", default=(), metavar="FORM", help="By title.")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    made = make(given.key, given.cache)
    rows = {name: array[:JUDGED] for name, array in np.load(made.evaluation).items()}
    truth = None if made.labels is None else np.load(made.labels)[:JUDGED]
    with tempfile.TemporaryDirectory() as folder:
        forms = formed(made, given.key, Path(folder), given.only)
        sizes = {n: sum(f.stat().st_size for f in p.rglob("*")) for n, (_, p, _) in forms.items()}
        said = {title: told(session, rows) for title, (session, *_) in forms.items()}
        times = [timed(forms, {k: v[:n].copy() for k, v in rows.items()}) for n in (1, 16)]
    words = "accuracy | agreement" if truth is not None else "cosine, mean | least"
    print(f"| form | KB | made in s | {words} | 1 row | 16 rows |\n|---|---|---|---|---|---|---|")
    for title, (_, _, took) in forms.items():
        cells = []
        for of in times:
            ratios = of[SOURCE] / of[title]
            low, middle, high = np.percentile(ratios, [25, 50, 75])
            cells.append(f"{middle:.2f} ({low:.2f}-{high:.2f}; {np.median(of[title]):.0f} µs)")
        good = quality(said[title], said[SOURCE], truth)
        print(
            f"| {title} | {sizes[title] / 1000:.0f} | {took:.1f} | {good} | {' | '.join(cells)} |"
        )


main()
