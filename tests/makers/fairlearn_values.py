"""Writes tests/data/explainers/fairlearn.json: predictions, and what fairlearn says of them.

Run by hand, in an environment of its own: `pip install fairlearn==0.15.0`, then
`python tests/makers/fairlearn_values.py tests/data/explainers/fairlearn.json`.
"""

import json
import sys
from pathlib import Path

import fairlearn
import numpy as np
from fairlearn import metrics


def main(path):
    rng = np.random.default_rng(3)
    groups = rng.choice(["a", "b", "c"], 900, p=[0.5, 0.3, 0.2])
    truth = rng.random(900) < np.where(groups == "a", 0.5, 0.35)
    chosen = rng.random(900) < 0.2 + 0.5 * truth - 0.1 * (groups == "c")
    given = {"y_true": truth, "y_pred": chosen, "sensitive_features": groups}
    frame = metrics.MetricFrame(
        metrics={
            "selection_rate": metrics.selection_rate,
            "true_positive_rate": metrics.true_positive_rate,
            "false_positive_rate": metrics.false_positive_rate,
        },
        **given,
    )
    found = {
        "fairlearn": fairlearn.__version__,
        "groups": groups.tolist(),
        "truth": truth.astype(int).tolist(),
        "chosen": chosen.astype(int).tolist(),
        "rates": json.loads(frame.by_group.T.to_json()),
        "demographic_parity": metrics.demographic_parity_difference(**given),
        "selection_ratio": metrics.demographic_parity_ratio(**given),
        "equalized_odds": metrics.equalized_odds_difference(**given),
        "equal_opportunity": metrics.equal_opportunity_difference(**given),
    }
    Path(path).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
