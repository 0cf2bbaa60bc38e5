"""Passes on one network, in-process: ratios of CPU time beside the form as exported, and answers.

    python benchmarks/optimize/passes.py mlp int8_dynamic int8_static:method=entropy
    python benchmarks/optimize/passes.py minilm 'transformer_fusions>int8_dynamic' --cache /tmp/nets

A chain of passes is written `a>b`, settings `pass:name=value,name=value`. ONNX forms only, one
thread, all forms in turn within each round; the median and the quartiles over the rounds.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from models import KEYS, make

from modelworks.core.errors import ModelworksError
from modelworks.core.optimizing.passes import PassJob, settled
from modelworks.plugins.load import load

JUDGED = 200
CALLS = {"cnn": 20, "mlp": 200, "minilm": 4}


def opened(folder):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(folder / "model.onnx"), options)


def value(text):
    try:
        return json.loads(text.lower())
    except ValueError:
        return text


def form(made, chain, place):
    """The folder of a chain's result."""
    source = made.form
    for number, part in enumerate(chain.split(">")):
        name, _, rest = part.partition(":")
        given = {k: value(v) for k, _, v in (one.partition("=") for one in rest.split(",") if one)}
        step = load("passes", name)()
        into = place / str(number)
        into.mkdir(parents=True)
        settings = settled(step.facts, given)
        job = PassJob(source, "onnx", into, made.signature, settings, made.calibration)
        why = step.fits(job)
        print(f"{chain}: {'fits says: ' + why if why else '; '.join(step.apply(job).notes)}")
        if why:
            step.apply(job)
        source = into
    return source


def answers(session, rows):
    size = len(next(iter(rows.values())))
    parts = [{n: v[i : i + 16] for n, v in rows.items()} for i in range(0, size, 16)]
    return np.concatenate([session.run(None, part)[0] for part in parts])


def judged(sessions, rows, labels):
    few = {name: values[:JUDGED] for name, values in rows.items()}
    wanted = answers(sessions["source"], few)
    for name, session in sessions.items():
        got = answers(session, few)
        cosine = (got * wanted).sum(1) / np.linalg.norm(got, axis=1)
        cosine /= np.linalg.norm(wanted, axis=1)
        same = (got.argmax(1) == wanted.argmax(1)).mean()
        line = f"{name:50} cosine {cosine.mean():.4f}, worst {cosine.min():.4f}"
        if labels is not None:
            right = (got.argmax(1) == labels[:JUDGED]).mean()
            line += f"; agreement {same:.4f}; accuracy {right:.4f}"
        print(line)


def timed(sessions, rows, batch, calls, rounds):
    inputs = {name: values[:batch] for name, values in rows.items()}
    took = {name: [] for name in sessions}
    for session in sessions.values():
        session.run(None, inputs)
    for _ in range(rounds):
        for name, session in sessions.items():
            began = time.process_time()
            for _ in range(calls):
                session.run(None, inputs)
            took[name].append((time.process_time() - began) / calls)
    for name, found in took.items():
        low, middle, high = np.quantile(np.array(took["source"]) / found, [0.25, 0.5, 0.75])
        cost = np.median(found) * 1e6
        print(f"batch {batch:3} {name:50} {middle:5.2f} x ({low:.2f} to {high:.2f}) {cost:8.0f} us")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("network", choices=KEYS)
    options.add_argument("chains", nargs="+")
    options.add_argument("--cache", default=Path.home() / ".cache/modelworks-benchmarks")
    options.add_argument("--rounds", type=int, default=15)
    asked = options.parse_args()
    made = make(asked.network, asked.cache)
    with np.load(made.evaluation) as held:
        rows = {name: held[name][:JUDGED] for name in held.files}
    labels = None if made.labels is None else np.load(made.labels)
    sessions = {"source": opened(made.form)}
    with tempfile.TemporaryDirectory() as place:
        for number, chain in enumerate(asked.chains):
            try:
                sessions[chain] = opened(form(made, chain, Path(place, f"chain{number}")))
            except ModelworksError as error:
                print(f"{chain}: {error.message}")
        judged(sessions, rows, labels)
        for batch in (1, 16):
            calls = max(1, CALLS[asked.network] // batch)
            timed(sessions, rows, batch, calls, asked.rounds)


if __name__ == "__main__":
    main()
