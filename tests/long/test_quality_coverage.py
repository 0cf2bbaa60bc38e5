"""How often the intervals of metrics hold the truth; `pytest -s` prints the table."""

import numpy as np
import pytest

from modelworks.evaluation import predictions as rows
from modelworks.evaluation.measured import difference
from modelworks.evaluation.metrics import Options, measure

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

RUNS = 400
LARGE = 300_000


def binary(generator, count):
    x = generator.normal(-0.5, 1.2, count)
    scores = 1 / (1 + np.exp(-x))
    return rows.binary(generator.random(count) < scores, scores=scores)


def multiclass(generator, count):
    logits = generator.normal(0, 1.2, (count, 3))
    truth = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return rows.multiclass(truth, [0, 1, 2], scores=scores)


def regression(generator, count):
    truth = generator.gamma(2, 3, count) + 2  # MAPE has no variance where truths come near 0
    return rows.regression(truth, truth + generator.standard_t(6, count) * 0.5 + 0.1)


@pytest.mark.parametrize("make", [binary, multiclass, regression])
@pytest.mark.parametrize("count", [80, 400])
def test_intervals_hold_the_truth_about_as_often_as_they_say(make, count):
    generator = np.random.default_rng(0)
    truths = {name: one.value for name, one in measure(make(generator, LARGE)).items()}
    held = dict.fromkeys(truths, 0)
    defined = dict.fromkeys(truths, 0)
    for _ in range(RUNS):
        for name, one in measure(make(generator, count)).items():
            if np.isfinite(one.estimate.low):
                defined[name] += 1
                held[name] += one.estimate.low <= truths[name] <= one.estimate.high
    shares = {name: held[name] / max(1, defined[name]) for name in truths}
    for name, share in shares.items():
        print(f"{make.__name__} {count} rows: {name} {share:.3f}")  # noqa: T201 - the table
    for name, share in shares.items():
        assert share >= 0.88, (name, share)


def test_differences_of_versions_on_the_same_rows():
    generator = np.random.default_rng(1)

    def pair(count):
        x = generator.normal(0, 1.2, count)
        truth = generator.random(count) < 1 / (1 + np.exp(-x))
        other = 1 / (1 + np.exp(-(x + generator.normal(0, 0.7, count))))
        left = rows.binary(truth, scores=1 / (1 + np.exp(-x)))
        return left, rows.binary(truth, scores=other)

    options = Options(only=("accuracy", "f1", "roc_auc", "average_precision", "log_loss", "mcc"))
    large = [measure(one, options) for one in pair(LARGE)]
    held = dict.fromkeys(large[0], 0)
    for _ in range(RUNS):
        left, right = (measure(one, options) for one in pair(300))
        for name in held:
            found = difference(left[name], right[name], paired=True)
            truth = large[0][name].value - large[1][name].value
            held[name] += found.low <= truth <= found.high
    for name, count in held.items():
        print(f"difference, 300 rows: {name} {count / RUNS:.3f}")  # noqa: T201 - the table
        assert count / RUNS >= 0.9, name
