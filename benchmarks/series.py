"""A year of series: how many bytes it takes, and how long the longest answers take.

`python benchmarks/series.py [--models 50] [--output FILE]`: so many models are filled for real,
with every series that the watch keeps; the bytes of 500 are ten times theirs. For questions over
all models, 500 have their traffic.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from modelworks.api.watching import SeriesFound
from modelworks.api.wire import encoded
from modelworks.core.errors import InvalidError
from modelworks.db.engine import open_database
from modelworks.monitor.series import store
from modelworks.monitor.series.chunk import WINDOWS, Chunk, pack, pack_bytes
from modelworks.monitor.series.names import DAY, HOUR, MINUTE
from modelworks.monitor.series.service import SeriesStore
from modelworks.stats import sketches

FEATURES = [f"feature_{number:02d}" for number in range(30)]
CELLS = 14
END = 1_800_000_000 // DAY * DAY
ALL = 500
YEAR = 365 * DAY


def rows_of(random, part, windows):
    """The rows of a chunk of one model, as they may be after a year of live traffic."""
    return MADE[part](random, windows)


def load_of(random, windows):
    """Requests with a daily course."""
    level = 400 * (1.2 + np.sin(np.arange(windows) / 24 * 2 * np.pi))
    return random.poisson(level).astype(float)


def traffic(random, windows):
    """Counts, and figures of three stages."""
    rows = {("requests", (VERSION,)): load_of(random, windows)}
    for name in ("errors", "rejected", "invalid"):
        rows[name, (VERSION,)] = random.poisson(0.2, windows).astype(float)
    for stage in ("latency", "queue", "compute"):
        for name in ("p50_ms", "p99_ms", "mean_ms"):
            rows[f"{stage}_{name}", (VERSION,)] = random.lognormal(1, 0.2, windows)
    return rows


def buckets(random, windows):
    """Histograms of three stages, ten buckets each."""
    requests, rows = load_of(random, windows), {}
    for stage in ("latency", "queue", "compute"):
        shares = random.dirichlet(np.ones(10) / 2)
        for bits, share in zip(range(16, 26), shares, strict=True):
            key = (("le", repr(2**bits / 1e9)), VERSION)
            rows[f"{stage}_bucket", key] = random.poisson(requests * share).astype(float)
        rows[f"{stage}_sum", (VERSION,)] = requests * 0.003 * random.lognormal(0, 0.05, windows)
    return rows


def drift(random, windows):
    """Four distances, the evidence and the loss of each feature."""
    rows = {}
    for feature in FEATURES:
        of = ("feature", feature)
        for method in ("psi", "js", "ks", "wasserstein_scaled", "evidence"):
            rows["drift", (of, ("method", method), VERSION)] = random.gamma(4, 0.01, windows)
        rows["drift_loss", (of, VERSION)] = random.normal(0, 0.001, windows)
    return rows


def data(random, windows):
    """Shares of each feature's values."""
    rows = {}
    for feature in FEATURES:
        of = ("feature", feature)
        rows["missing", (of, VERSION)] = random.binomial(1000, 0.01, windows) / 1000
        rows["out_of_range", (of, VERSION)] = random.binomial(1000, 0.001, windows) / 1000
        for name in ("new_category", "wrong_type"):
            rows[name, (of, VERSION)] = np.zeros(windows)
    return rows


def quality(random, windows):
    """Four metrics with their intervals."""
    rows = {}
    for metric in ("auc", "accuracy", "log_loss", "f1"):
        for name in ("quality", "quality_low", "quality_high"):
            key = (("kind", "estimated"), ("metric", metric), ("slice", "*"), VERSION)
            rows[name, key] = random.normal(0.9, 0.01, windows)
    return rows


VERSION = ("version", "1.4.0")
MADE = {"traffic": traffic, "buckets": buckets, "drift": drift, "data": data, "quality": quality}


def fill(session, random, model, parts, resolution, since):
    """The chunks of a model from then on."""
    width = WINDOWS * resolution
    for start in range(since // width * width, END, width):
        for part in parts:
            body = pack(Chunk(rows_of(random, part, WINDOWS)))
            store.add(session, part, resolution, model, start, body)


def fill_sketches(session, random, model):
    """A sketch an hour and feature, of some thousand rows; forty days, again and again."""
    shares = random.dirichlet(np.ones(CELLS) * 3, len(FEATURES))
    days = []
    for _ in range(40):
        told = {}
        for feature, share in zip(FEATURES, shares, strict=True):
            key = ("sketch", (("feature", feature), ("version", "1.4.0")))
            hours = random.multinomial(random.poisson(1000), share, 24).tolist()
            told[key] = {hour: sketch_of(random, counts) for hour, counts in enumerate(hours)}
        days.append(pack_bytes(told))
    for number, start in enumerate(range(END - YEAR, END, DAY)):
        store.add(session, store.SKETCHES, HOUR, model, start, days[number % len(days)])


def sketch_of(random, counts):
    """The bytes of one."""
    step = sketches.STEP
    first = int(random.normal(0, 30) * step)
    return sketches.encode(sketches.Sketch(tuple(counts), first, int(1000 * step**2 * 1.02)))


def copy(scope, made):
    """The traffic of the other models: that of the first, under other names."""
    with scope.read() as session:
        kept = [
            (step, start, body)
            for step in (HOUR, DAY)
            for _, start, body in store.bodies(session, "traffic", step, "model_000", 0, END)
        ]
    for number in range(made, ALL):
        with scope.write() as session:
            for step, start, body in kept:
                store.add(session, "traffic", step, f"model_{number:03d}", start, body)


def asked(series):
    """(question, seconds, points, bytes of the answer) of the longest that are allowed."""
    questions = {
        "requests, all 500 models, a year": ("requests", {}, YEAR, 0),
        "latency_p99_ms, all 500 models, 400 days": ("latency_p99_ms", {}, 400 * DAY, 0),
        "requests, all 500 models, a day": ("requests", {}, DAY, 0),
        "requests, 50 models by pattern, two days of minutes": (
            "requests",
            {"model": "model_00?"},
            2 * DAY,
            MINUTE,
        ),
        "drift of all features and methods, one model, a year": (
            "drift",
            {"model": "model_001"},
            YEAR,
            0,
        ),
        "drift (js) of all features, one model, sixty days of hours": (
            "drift",
            {"model": "model_001", "method": "js"},
            60 * DAY,
            HOUR,
        ),
        "drift of one feature, one model, a year of hours": (
            "drift",
            {"model": "model_001", "feature": "feature_07"},
            YEAR,
            HOUR,
        ),
        "latency_p99_ms, one model, a week of minutes": (
            "latency_p99_ms",
            {"model": "model_001"},
            7 * DAY,
            MINUTE,
        ),
    }
    for name, (of, labels, length, step) in questions.items():
        took = []
        for _ in range(5):
            began = time.perf_counter()
            try:
                found = series.read(of, labels, END - length, END, step)
            except InvalidError:
                found = (step, [])
            body = encoded(SeriesFound(*found))
            took.append(time.perf_counter() - began)
        points = sum(len(one.times) for one in found[1])
        yield {
            "question": name,
            "first_ms": round(took[0] * 1e3, 1),
            "median_ms": round(sorted(took)[2] * 1e3, 1),
            "points": points,
            "refused": not found[1],
            "bytes": len(body),
        }


def main():
    """Fill, weigh, ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "series.db")
        database = open_database(path)
        scope = database.tenant("default")
        empty = path.stat().st_size
        hourly = ("traffic", "buckets", "drift", "data", "quality")
        began = time.perf_counter()
        for number in range(given.models):
            model = f"model_{number:03d}"
            with scope.write() as session:
                fill(session, random, model, hourly, HOUR, END - YEAR)
                fill(session, random, model, hourly, DAY, END - YEAR)
                fill(session, random, model, ("traffic", "buckets"), MINUTE, END - 7 * DAY)
                fill_sketches(session, random, model)
        filled_s = time.perf_counter() - began
        with database.writer.begin() as connection:
            by_part = {
                f"{part} {resolution} s": int(size)
                for part, resolution, size in connection.exec_driver_sql(
                    "SELECT part, resolution, SUM(LENGTH(body)) FROM series_chunks "
                    "GROUP BY part, resolution ORDER BY part, resolution"
                )
            }
        database.close()
        size = path.stat().st_size - empty
        database = open_database(path)
        scope = database.tenant("default")
        print(f"filled in {filled_s:.0f} s: {size} bytes", flush=True)
        copy(scope, given.models)
        series = SeriesStore(scope, lambda: END * 10**9)
        answers = list(asked(series))
        database.close()
    document = {
        "models": given.models,
        "days": 365,
        "features": len(FEATURES),
        "file_bytes": size,
        "bytes_of_500_models": round(size / given.models * ALL),
        "bytes_by_part": by_part,
        "fill_s": round(filled_s, 1),
        "answers": answers,
        "longest_median_ms": max(one["median_ms"] for one in answers),
    }
    text = json.dumps(document, indent=1)
    if given.output:
        given.output.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
