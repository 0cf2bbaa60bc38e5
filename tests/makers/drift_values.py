"""Writes tests/data/drift/oracles.json: samples, and what frouros and nannyml say of them.

Run by hand in two environments, `pip install frouros==0.9.0` and `pip install nannyml==0.13.1
statsmodels` (nannyml needs that, and does not say so):
`python tests/makers/drift_values.py tests/data/drift/oracles.json`. Each run writes the part of the
library that it finds.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np


def samples():
    """Numbers that moved, spread, or stayed; with ties; categories with and without new ones."""
    rng = np.random.default_rng(20261123)
    numbers = {
        "same": (rng.normal(size=300), rng.normal(size=200)),
        "moved": (rng.normal(size=300), rng.normal(0.4, 1, 250)),
        "spread": (rng.gamma(2, 3, 400), rng.gamma(2, 5, 300)),
        "ties": (rng.poisson(4, 300).astype(float), rng.poisson(5, 300).astype(float)),
    }
    names = np.array(["a", "b", "c", "d", "e"])
    categories = {
        "same": tuple(rng.choice(names, rows, p=[0.3, 0.3, 0.2, 0.1, 0.1]) for rows in (300, 200)),
        "moved": (
            rng.choice(names, 300, p=[0.3, 0.3, 0.2, 0.1, 0.1]),
            rng.choice(names, 200, p=[0.1, 0.2, 0.2, 0.2, 0.3]),
        ),
        "new": (
            rng.choice(names[:4], 300, p=[0.4, 0.3, 0.2, 0.1]),
            rng.choice(names, 200, p=[0.3, 0.2, 0.2, 0.1, 0.2]),
        ),
    }
    return {
        "numbers": {n: [np.round(one, 6).tolist() for one in two] for n, two in numbers.items()},
        "categories": {n: [one.tolist() for one in two] for n, two in categories.items()},
    }


def of_frouros(data):
    from frouros.detectors.data_drift.batch import EMD, PSI, ChiSquareTest, KSTest

    def said(detector, reference, current):
        detector.fit(X=np.array(reference))
        return detector.compare(X=np.array(current))[0]

    found = {"numbers": {}, "categories": {}}
    for name, two in data["numbers"].items():
        ks = said(KSTest(), *two)
        found["numbers"][name] = {
            "ks": float(ks.statistic),
            "ks_p": float(ks.p_value),
            "wasserstein": float(said(EMD(), *two).distance),
            "psi_4_bins": float(said(PSI(num_bins=4), *two).distance),
        }
    for name, two in data["categories"].items():
        chi = said(ChiSquareTest(), *two)
        found["categories"][name] = {"chi_square": float(chi.statistic), "p": float(chi.p_value)}
    return found | {"version": version("frouros")}


def of_nannyml(data):
    import pandas as pd
    from nannyml.chunk import DefaultChunker
    from nannyml.drift.univariate.methods import FeatureType, MethodFactory
    from nannyml.thresholds import ConstantThreshold

    def said(key, kind, reference, current):
        made = MethodFactory.create(
            key, kind, chunker=DefaultChunker(), threshold=ConstantThreshold(lower=None, upper=0.1)
        )
        made._fit(pd.Series(reference))
        return float(made._calculate(pd.Series(current)))

    numbers, categories = FeatureType.CONTINUOUS, FeatureType.CATEGORICAL
    return {
        "numbers": {
            name: {
                "ks": said("kolmogorov_smirnov", numbers, *two),
                "wasserstein": said("wasserstein", numbers, *two),
                "js_doane": said("jensen_shannon", numbers, *two),
                "edges": np.histogram_bin_edges(np.array(two[0]), bins="doane").tolist(),
            }
            for name, two in data["numbers"].items()
        },
        "categories": {
            name: {
                "js": said("jensen_shannon", categories, *two),
                "chi_square": said("chi2", categories, *two),
            }
            for name, two in data["categories"].items()
        },
        "version": version("nannyml"),
    }


def main(path):
    found = json.loads(path.read_text()) if path.exists() else {}
    found["samples"] = samples()
    for name, say in (("frouros", of_frouros), ("nannyml", of_nannyml)):
        try:
            found[name] = say(found["samples"])
        except ModuleNotFoundError as error:
            sys.stderr.write(f"{name}: {error}\n")
    path.write_text(json.dumps(found, indent=None, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
