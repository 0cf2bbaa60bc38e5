"""What the console's pages of the watch cost with many models: `python benchmarks/watch_pages.py`.

Fills a registry's database of its own with an hour in minutes and a day in hours of so many models
with 30 features, and renders both pages for each span of time, without a socket.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from modelworks.console.pages import Console
from modelworks.control.endpoints import Watch
from modelworks.control.service import Factory
from modelworks.core.home import Home
from modelworks.core.series import Series

TRAFFIC = ("requests", "errors", "rejected", "invalid", "latency_p50_ms", "latency_p99_ms")
FEATURES = 30


def minutes(name: str, now: int) -> Iterator[Series]:
    """An hour of one model."""
    times = [float(now - 60 * n) for n in range(60, -1, -1)]
    for of in TRAFFIC:
        labels = {"model": name, "version": "1.0.0"}
        yield Series(of, labels, times, [float(n % 7) for n in range(len(times))])


def hours(name: str, now: int) -> Iterator[Series]:
    """A day of one model."""
    times = [float(now // 3600 * 3600 - 3600 * n) for n in range(24, -1, -1)]
    own = {"model": name, "version": "1.0.0"}
    for number in range(FEATURES):
        labels = {**own, "feature": f"f{number}"}
        values = [0.01 * number] * len(times)
        yield Series("drift", {**labels, "method": "js"}, times, values)
        yield Series("drift", {**labels, "method": "psi"}, times, values)
        yield Series("drift_loss", labels, times, values)
    quality = {**own, "metric": "accuracy", "kind": "measured", "slice": "*"}
    yield Series("quality", quality, times, [0.9] * len(times))


def main() -> None:
    """Fill, render, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=500)
    count = parser.parse_args().models
    now = int(time.time()) // 60 * 60
    with tempfile.TemporaryDirectory() as folder, Factory(Home(Path(folder) / "home")) as factory:
        series = factory.watching.series
        for first in range(0, count, 50):
            names = [f"m{n:04}" for n in range(first, min(first + 50, count))]
            series.append([one for name in names for one in minutes(name, now)])
            series.append([one for name in names for one in hours(name, now)], 3600)
        for since in ("1h", "1d", "7d", "30d"):
            console = Console(factory, Watch(factory.home), factory.watching)  # nothing is kept
            for page in ("all", "one"):
                began = time.process_time()
                made = console.watch(since) if page == "all" else console.series("m0001", since)
                cpu = time.process_time() - began
                size = len(made.body)
                line = (
                    f"{since:>4} {page}: status {made.status_code}, {size} bytes, {cpu:.2f} s CPU\n"
                )
                sys.stdout.write(line)


if __name__ == "__main__":
    main()
