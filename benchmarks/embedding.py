"""An embedded model beside a bare onnxruntime session and scikit-learn, in as many threads.

    python benchmarks/embedding.py [--threads 16] [--rounds 7] [--seconds 1]

Two models on 30 floats, one row a call: `trees` (StandardScaler and 100 boosted trees) and
`network` (three layers of 512). Rounds are short and interleaved; a ratio is the median of the
rounds' own ratios, beside it their quartiles. Every side's answers are compared before anything is
timed.
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnxruntime as ort
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modelworks
from modelworks.control.service import Factory
from modelworks.core.home import Home
from modelworks.core.imports import ImportOptions, ImportRequest
from modelworks.core.tensor import Role

WIDTH = 30
Side = Callable[[np.ndarray], Any]


def trained(folder: Path) -> dict[str, Any]:
    """Both models, imported into a registry in `folder`."""
    numbers = np.random.default_rng(0)
    table = numbers.normal(size=(600, WIDTH)).astype(np.float32)
    labels = (table[:, :5].sum(axis=1) > 0).astype(int)
    np.save(folder / "sample.npy", table[:100])
    models = {
        "trees": make_pipeline(StandardScaler(), GradientBoostingClassifier(random_state=0)),
        "network": MLPClassifier((512, 512, 512), max_iter=20, random_state=0),
    }
    with Factory(Home(folder / "home")) as factory:
        for name, model in models.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                joblib.dump(model.fit(table, labels), folder / f"{name}.joblib")
            options = ImportOptions(sample=folder / "sample.npy", accept_difference=True)
            factory.import_model(
                ImportRequest(file=folder / f"{name}.joblib", name=name, options=options)
            )
    return models


def sides_of(name: str, model: Any, folder: Path) -> tuple[modelworks.Embedded, dict[str, Side]]:
    """What is compared; each takes a row [1, WIDTH] and gives its probabilities."""
    session = modelworks.load(name, home=folder / "home", poll=0)
    [spec] = session.signature.inputs
    wanted = session.signature.output(Role.PROBABILITIES)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with Factory(Home(folder / "home")) as factory:
        path = factory.materialise(name) / "model.onnx"
    bare = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [wanted.name]
    return session, {
        "onnxruntime": lambda row: bare.run(names, {spec.name: row})[0],
        "embedded, infer": lambda row: session.infer({spec.name: row})[wanted.name],
        "embedded, predict": lambda row: np.array(
            [list(found["probabilities"].values()) for found in session.predict(row)]
        ),
        "scikit-learn": model.predict_proba,
    }


def throughput(side: Side, rows: np.ndarray, threads: int, seconds: float) -> float:
    """Calls a second of so many threads, one row a call."""
    counts = [0] * threads
    stop = threading.Event()

    def call(place: int) -> None:
        while not stop.is_set():
            side(rows[(place * 37 + counts[place]) % len(rows)])
            counts[place] += 1

    workers = [threading.Thread(target=call, args=(place,)) for place in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    time.sleep(seconds)
    stop.set()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    asked = parser.parse_args()
    rows = np.random.default_rng(1).normal(size=(256, 1, WIDTH)).astype(np.float32)
    print(f"{asked.threads} threads, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name, model in trained(folder).items():
            session, sides = sides_of(name, model, folder)
            for row in rows[:32]:
                found = [np.asarray(side(row)) for side in sides.values()]
                for other in found[1:]:
                    np.testing.assert_allclose(found[0], other, atol=1e-4)
            rounds = [
                {
                    s: throughput(side, rows, asked.threads, asked.seconds)
                    for s, side in sides.items()
                }
                for _ in range(asked.rounds)
            ]
            for side in sides:
                ratios = [one[side] / one["onnxruntime"] for one in rounds]
                low, middle, high = statistics.quantiles(ratios, n=4)
                calls = statistics.median(one[side] for one in rounds)
                print(f"{name:8} {side:18} {calls:8.0f}/s  {middle:5.2f} [{low:.2f}, {high:.2f}]")
            print(f"{name:8} mean batch {session.statistics().mean_batch:.1f} rows")
            session.close()


if __name__ == "__main__":
    main()
