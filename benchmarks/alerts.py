"""Rules evaluated on one core: `python benchmarks/alerts.py [--rules 10000]`.

A mixture of rules over 500 models with a sample a minute, eight days of it for those that look
back. The first evaluation learns the past; the second, a minute later, is what a tick costs.
"""

import argparse
import json
import random
import time

import numpy as np

from modelworks.core.series import Series
from modelworks.monitor.alerts.ruleset import Ruleset
from modelworks.protocol.manifest.alerts import AlertRules

NOW = 1_790_000_000 // 3600 * 3600 + 600
DAY = 86_400
MIX = {  # of a hundred rules
    "threshold": 55,
    "ratio": 12,
    "absent": 8,
    "burn_rate": 8,
    "trend": 5,
    "anomaly": 5,
    "change": 2,
    "composite": 5,
}


class Source:
    """Eight days of minutes of some series, for every model."""

    def __init__(self, models, names, seed=1):
        chance = np.random.default_rng(seed)
        self.times = np.arange(NOW - 8 * DAY, NOW + 600, 60, dtype=np.float64)
        self.found = {
            name: [
                ({"model": f"m{n}", "version": "1.0.0"}, chance.gamma(4.0, 25.0, len(self.times)))
                for n in range(models)
            ]
            for name in names
        }
        self.samples = 0

    def select(self, name, labels, since, until):
        """As `SeriesSource`."""
        first, last = np.searchsorted(self.times, [since, until], side="right")
        wanted = labels.get("model")
        for own, values in self.found.get(name, ()):
            if wanted is None or own["model"] == wanted:
                self.samples += int(last - first)
                yield Series(
                    name, own, self.times[first:last].tolist(), values[first:last].tolist()
                )


def rule(kind, number, model):
    where = {"model": model}
    conditions = {
        "threshold": {"series": "latency_p99_ms", "where": where, "above": 400.0, "by": "mean"},
        "ratio": {"series": "errors", "per": "requests", "where": where, "above": 8.0, "by": "sum"},
        "absent": {"series": "requests", "where": where},
        "burn_rate": {"bad": "errors", "total": "requests", "objective": 0.01, "where": where},
        "trend": {"series": "queue_p99_ms", "where": where, "above": 1e4, "within": "1d"},
        "anomaly": {"series": "requests", "where": where, "season": "hour-of-day", "history": "7d"},
        "change": {"series": "quality", "where": where, "over": "6h", "history": "7d"},
        "composite": {"any": [{"rule": f"R{n}"} for n in range(max(0, number - 5), number)]},
    }
    name = "threshold" if kind == "ratio" else kind
    return {"name": f"R{number}", name: conditions[kind], "for": "5m"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rules", type=int, default=10_000)
    parser.add_argument("--models", type=int, default=500)
    asked = parser.parse_args()
    chance = random.Random(1)
    kinds = chance.choices(list(MIX), weights=list(MIX.values()), k=asked.rules)
    kinds[0] = "threshold"
    rules = [rule(kind, n, f"m{n % asked.models}") for n, kind in enumerate(kinds)]
    document = {"kind": "AlertRules", "metadata": {"name": "bench"}, "spec": {"rules": rules}}
    begin = time.process_time()
    ruleset = Ruleset([AlertRules.model_validate(document)])
    made = time.process_time() - begin
    source = Source(
        asked.models, ("latency_p99_ms", "errors", "requests", "queue_p99_ms", "quality")
    )
    held, ticks = {}, []
    for tick in range(4):
        source.samples = 0
        begin = time.process_time()
        evaluated = ruleset.evaluate(source, held, (NOW + 60 * tick) * 10**9)
        ticks.append((time.process_time() - begin, source.samples))
        held = evaluated.held
    steady = sorted(seconds for seconds, _ in ticks[1:])
    print(
        json.dumps(
            {
                "rules": asked.rules,
                "made_s": round(made, 2),
                "first_s": round(ticks[0][0], 2),
                "tick_s": round(steady[len(steady) // 2], 2),
                "samples_a_tick": ticks[1][1],
                "active": sum(map(len, held.values())),
                "bar_s": 5,
                "met": max(seconds for seconds, _ in ticks) <= 5,
            }
        )
    )


if __name__ == "__main__":
    main()
