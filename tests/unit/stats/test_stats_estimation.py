"""Quality without labels: the documented formulas, and simulations whose truth is known."""

import json
import math

import numpy as np
import pytest
from sklearn import metrics as sk

from modelworks.core.errors import InvalidError
from modelworks.stats import boosting, estimation
from modelworks.stats.estimation import (
    document,
    estimate,
    expected_auc,
    expected_confusion,
    fit_calibration,
    rates,
    restored,
)
from modelworks.stats.inference import powered_mean, powered_ratio

pytestmark = pytest.mark.unit


def scored(count, seed=0, shift=0.0):
    """Overconfident scores; the shift moves the inputs, not what they mean."""
    generator = np.random.default_rng(seed)
    x = generator.normal(shift, 1, count)
    truth = (generator.random(count) < 1 / (1 + np.exp(-x))).astype(int)
    scores = 1 / (1 + np.exp(-2.5 * x - 0.3))
    return scores, truth


def test_the_expected_matrix_is_the_documented_one():
    shares = np.array([0.9, 0.4, 0.7, 0.2])
    labels = np.array([1, 1, 0, 0])
    found = expected_confusion(np.stack([1 - shares, shares], axis=1), labels)
    # TP: sum of p where 1 was said, FP: of 1 - p; FN: of p where 0 was said, TN: of 1 - p
    np.testing.assert_allclose(found, [[1.1, 0.7], [0.9, 1.3]])
    told = rates(found)
    assert told["accuracy"] == pytest.approx((1.3 + 1.1) / 4)
    assert told["precision"] == pytest.approx(1.3 / 2)
    assert told["recall"] == pytest.approx(1.3 / 2.2)
    assert told["f1"] == pytest.approx(2 * 1.3 / (2 * 1.3 + 0.7 + 0.9))


def test_the_expected_area_is_the_documented_one():
    generator = np.random.default_rng(3)
    scores, shares = generator.random(50).round(1), generator.random(50)
    # every threshold in turn: expected true and false positive rates, and the area by trapezoids
    limits = [math.inf, *sorted(set(scores), reverse=True)]
    false = [(1 - shares)[scores >= t].sum() / (1 - shares).sum() for t in limits]
    true = [shares[scores >= t].sum() / shares.sum() for t in limits]
    assert expected_auc(scores, shares) == pytest.approx(sk.auc(false, true))


def test_rates_are_scikit_learns():
    generator = np.random.default_rng(1)
    for classes in (2, 4):
        truth, said = generator.integers(0, classes, (2, 90))
        found = rates(sk.confusion_matrix(truth, said).astype(float))
        mean, prefix = ("binary", "") if classes == 2 else ("macro", "macro_")
        for name in ("precision", "recall", "f1"):
            wanted = getattr(sk, f"{name}_score")(truth, said, average=mean)
            assert found[prefix + name] == pytest.approx(wanted)


def test_a_shifted_window_is_estimated_and_its_band_holds_what_happens():
    calibration = fit_calibration(*scored(8000))
    held = {}
    for seed in range(20):
        scores, truth = scored(800, seed + 1, shift=0.8)
        labels = (scores >= 0.5).astype(int)
        found = estimate(calibration, scores, labels, seed=seed)
        real = rates(sk.confusion_matrix(truth, labels).astype(float))
        real["roc_auc"] = sk.roc_auc_score(truth, scores)
        for name, value in real.items():
            held[name] = held.get(name, 0) + (found[name].low <= value <= found[name].high)
            assert found[name].high - found[name].low < 0.25
    assert all(count >= 16 for count in held.values()), held  # 95 % of 20 are 19


def test_a_shift_is_seen_and_uncalibrated_scores_would_not_do():
    calibration = fit_calibration(*scored(8000))
    scores, truth = scored(20_000, 5, shift=-0.8)
    labels = (scores >= 0.5).astype(int)
    found = estimate(calibration, scores, labels)["accuracy"]
    real = np.mean(labels == truth)
    assert found.value == pytest.approx(real, abs=0.015)
    naive = np.where(labels == 1, scores, 1 - scores).mean()
    assert abs(naive - real) > 0.08


def test_more_classes():
    generator = np.random.default_rng(0)

    def made(count, shift):
        logits = generator.normal(0, 1.2, (count, 3)) + shift
        truth = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
        sharp = np.exp(2 * logits)
        return sharp / sharp.sum(axis=1, keepdims=True), truth

    calibration = fit_calibration(*made(6000, 0.0))
    scores, truth = made(3000, np.array([0.6, 0.0, -0.3]))
    found = estimate(calibration, scores, scores.argmax(axis=1))
    for name, wanted in (
        ("accuracy", sk.accuracy_score(truth, scores.argmax(axis=1))),
        ("macro_f1", sk.f1_score(truth, scores.argmax(axis=1), average="macro")),
        ("macro_roc_auc", sk.roc_auc_score(truth, scores, multi_class="ovr")),
    ):
        assert found[name].value == pytest.approx(wanted, abs=0.04), name
        assert found[name].low < found[name].value < found[name].high


def test_what_was_learnt_is_written_and_read():
    for count in (300, 8000):  # a sigmoid, and isotonic
        calibration = fit_calibration(*scored(count))
        again = restored(json.loads(json.dumps(document(calibration))))
        assert again == calibration


@pytest.mark.parametrize("case", [(np.zeros(60), np.zeros(60)), (np.zeros(9), np.arange(9) % 2)])
def test_too_little_to_learn_from(case):
    with pytest.raises(InvalidError, match="at least 50 and some of each class"):
        fit_calibration(*case)
    assert estimate(fit_calibration(*scored(100)), np.zeros(0), np.zeros(0)) == {}


def test_boosted_trees_learn_steps_products_and_gaps():
    generator = np.random.default_rng(0)
    rows = generator.random((4000, 4))
    rows[::7, 3] = np.nan
    target = 2 * (rows[:, 0] > 0.6) + 3 * rows[:, 1] * rows[:, 2] + np.isnan(rows[:, 3])
    found = boosting.fit_boosted(rows[:3000], target[:3000] + generator.normal(0, 0.3, 3000))
    off = found.predict(rows[3000:]) - target[3000:]
    assert np.square(off).mean() < 0.05 * target.var()
    again = boosting.restored(json.loads(json.dumps(boosting.document(found))))
    np.testing.assert_array_equal(again.predict(rows), found.predict(rows))
    flat = boosting.fit_boosted(rows[:30], np.full(30, 2.0))
    assert flat.predict(rows[:2]).tolist() == [2.0, 2.0]


def test_few_labels_and_many_guesses():
    generator = np.random.default_rng(0)
    held = narrower = 0
    for _ in range(150):
        truth = generator.normal(1, 1, 2100)
        guess = 0.8 * truth + generator.normal(0.4, 0.4, 2100)  # biased
        few = powered_mean(truth[:100], guess[:100], guess[100:])
        held += few.low <= 1 <= few.high
        alone = powered_mean(truth[:100], guess[:100], guess[100:], tuning=0.0)
        narrower += few.high - few.low < 0.7 * (alone.high - alone.low)
    assert 135 <= held <= 149
    assert narrower == 150


def test_useless_guesses_do_no_harm():
    generator = np.random.default_rng(2)
    truth, guess = generator.normal(size=(2, 1000))
    found = powered_mean(truth[:200], guess[:200], guess[200:])
    plain = powered_mean(truth[:200], guess[:200], [])
    assert found.high - found.low < 1.02 * (plain.high - plain.low)
    assert plain.value == pytest.approx(truth[:200].mean())
    assert math.isnan(powered_mean([1.0, 2.0], [1.0, 1.0], [1.0]).low)
    assert math.isnan(powered_mean([1.0], [1.0], [1.0]).value)


def test_a_ratio_from_few_labels():
    generator = np.random.default_rng(4)
    held = 0
    for _ in range(100):
        said = generator.random(2000) < 0.4
        share = np.where(said, 0.8, 0.1)
        truth = generator.random(2000) < share
        hit, guess = truth & said, share * said
        known, rest = slice(0, 150), slice(150, None)
        found = powered_ratio(
            (hit[known], truth[known]), (guess[known], share[known]), (guess[rest], share[rest])
        )
        held += found.low <= 0.32 / 0.38 <= found.high
    assert 88 <= held <= 100
    assert math.isnan(powered_ratio(([0, 0], [0, 0]), ([0, 0], [0, 0]), ([0], [0])).value)
    assert estimation.METHOD == "cbpe"
