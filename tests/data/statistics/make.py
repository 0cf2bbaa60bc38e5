"""Writes oracles.json: what spotify-confidence, statsmodels and scipy say.

python -m venv /tmp/oracles && /tmp/oracles/bin/pip install spotify-confidence statsmodels
/tmp/oracles/bin/python tests/data/statistics/make.py
"""

import json
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy import integrate, stats
from spotify_confidence.analysis.frequentist.sequential_bound_solver import bounds
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower

warnings.simplefilter("ignore")
LOOKS = ([0.2, 0.4, 0.6, 0.8, 1.0], [0.1, 0.5, 0.55, 0.9, 1.0], [k / 20 for k in range(1, 21)])


def sequential():
    return [
        {
            "times": times,
            "alpha": alpha,
            "power": power,
            "upper": bounds(np.array(times), alpha, power, 8, 1).bounds.tolist(),
        }
        for times in LOOKS
        for alpha in (0.025, 0.005)
        for power in (1, 2, 3)
    ]


def sizes():
    plan = NormalIndPower()
    found = []
    for effect, alpha, power, ratio in (
        (0.1, 0.05, 0.8, 1),
        (0.05, 0.01, 0.9, 4),
        (0.2, 0.1, 0.95, 0.25),
    ):
        rows = plan.solve_power(effect, None, alpha, power, ratio, "larger")
        found.append(
            {"effect": effect, "alpha": alpha, "power": power, "ratio": ratio, "first": rows}
        )
    return found


def cuped():
    rng = np.random.default_rng(5)
    before = rng.gamma(2, 3, 600)
    arm = np.repeat([0.0, 1.0], 300)
    after = 1 + 0.7 * before + 0.4 * arm + rng.normal(0, 1.5, 600)
    fitted = OLS(after, np.column_stack([np.ones(600), arm, before])).fit(cov_type="HC0")
    return {
        "before": before.round(6).tolist(),
        "after": after.round(6).tolist(),
        "difference": fitted.params[1],
        "error": fitted.bse[1],
    }


def integral(curve, points):
    return integrate.quad(curve, 0.0, 1.0, points=points, limit=500, epsabs=1e-13)[0]


def chances(one, other):
    first, second = stats.beta(*one), stats.beta(*other)
    points = [first.mean(), second.mean()]
    return {
        "one": one,
        "other": other,
        "better": integral(lambda x: second.pdf(x) * first.cdf(x), points),
        "loss": integral(lambda x: first.sf(x) * second.cdf(x), points),
    }


def posterior():
    pairs = (((1, 1), (1, 1)), ((12, 190), (25, 180)), ((300, 9702), (340, 9662)), ((2, 5), (1, 3)))
    return [chances(*pair) for pair in pairs]


def many():
    p = [0.01, 0.04, 0.0004, 0.2, 0.03, 0.9, 0.011]
    return {
        "p": p,
        "holm": multipletests(p, method="holm")[1].tolist(),
        "bh": multipletests(p, method="fdr_bh")[1].tolist(),
        "alpha": 0.05,
        "found": multipletests(p, 0.05, method="holm")[0].tolist(),
    }


def main():
    found = {
        "versions": {
            name: version(name) for name in ("spotify-confidence", "statsmodels", "scipy")
        },
        "sequential": sequential(),
        "sizes": sizes(),
        "cuped": cuped(),
        "posterior": posterior(),
        "many": many(),
    }
    path = Path(__file__).with_name("oracles.json")
    path.write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
