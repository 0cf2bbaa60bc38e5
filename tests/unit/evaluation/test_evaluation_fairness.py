"""Fairness by group: fairlearn's numbers, intervals that hold the truth, gates."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.evaluation.fairness import MEASURES, Decision, fairness, judge

KNOWN = json.loads(Path("tests/data/explainers/fairlearn.json").read_text())


def measures(found):
    return {measure.name: measure for measure in found.measures}


def known():
    return fairness("g", KNOWN["groups"], np.array(KNOWN["chosen"]), truth=np.array(KNOWN["truth"]))


def test_the_numbers_are_those_of_fairlearn():
    found = known()
    for group in found.groups:
        for name, value in KNOWN["rates"][group.name].items():
            assert group.rates[name].value == pytest.approx(value, abs=1e-9)
    for name in ("demographic_parity", "selection_ratio", "equalized_odds", "equal_opportunity"):
        assert measures(found)[name].estimate.value == pytest.approx(KNOWN[name], abs=1e-12)


def test_says_between_whom_the_gap_is():
    chosen = np.array([1] * 40 + [0] * 60 + [1] * 20 + [0] * 80 + [1] * 30 + [0] * 70)
    groups = ["a"] * 100 + ["b"] * 100 + ["c"] * 100
    found = measures(fairness("g", groups, chosen))
    assert found["demographic_parity"].between == ("a", "b")
    assert found["demographic_parity"].estimate.value == pytest.approx(0.2)
    assert found["selection_ratio"].estimate.value == pytest.approx(0.5)
    assert "equalized_odds" not in found


def test_two_groups_have_newcombes_interval():
    """Newcombe 1998 (Statistics in Medicine 17, 873), table II, method 10: 56/70 and 48/80."""
    chosen = np.array([1] * 56 + [0] * 14 + [1] * 48 + [0] * 32)
    found = measures(fairness("g", ["a"] * 70 + ["b"] * 80, chosen))["demographic_parity"]
    assert found.estimate.low == pytest.approx(0.0524, abs=1e-4)
    assert found.estimate.high == pytest.approx(0.3339, abs=1e-4)


@pytest.mark.parametrize("rates", [[0.5, 0.4, 0.3, 0.45], [0.2, 0.2, 0.2, 0.2], [0.05, 0.5]])
def test_intervals_hold_the_truth(rates):
    """Of nineteen in twenty, less what 200 simulations may be off."""
    rng = np.random.default_rng(0)
    gap, ratio = max(rates) - min(rates), min(rates) / max(rates)
    held = []
    for _ in range(200):
        groups = np.repeat(np.arange(len(rates)), 80)
        found = measures(
            fairness("g", groups.tolist(), rng.random(len(groups)) < np.array(rates)[groups])
        )
        one, two = found["demographic_parity"].estimate, found["selection_ratio"].estimate
        held.append([one.low <= gap <= one.high, two.low <= ratio <= two.high])
    assert (np.mean(held, axis=0) >= 0.92).all()


def test_many_groups_widen_the_interval():
    rng = np.random.default_rng(1)
    widths = []
    for count in (2, 12):
        groups = np.repeat(np.arange(count), 100)
        estimate = measures(fairness("g", groups.tolist(), rng.random(len(groups)) < 0.3))[
            "demographic_parity"
        ].estimate
        widths.append(estimate.high - estimate.low)
    assert widths[1] > 1.3 * widths[0]


def test_calibration_by_group():
    truth = np.array([1, 0] * 200)
    scores = np.where(np.arange(400) < 200, 0.5, 0.8)
    groups = ["a"] * 200 + ["b"] * 200
    found = fairness("g", groups, scores > 0.6, truth=truth, scores=scores)
    off = {group.name: group.rates["calibration"].value for group in found.groups}
    assert off == {"a": pytest.approx(0.0), "b": pytest.approx(0.3)}
    assert measures(found)["calibration"].estimate.value == pytest.approx(0.3)


def test_a_gate_passes_fails_or_cannot_tell():
    chosen = np.array([1] * 400 + [0] * 600 + [1] * 300 + [0] * 700)
    found = fairness("g", ["a"] * 1000 + ["b"] * 1000, chosen)
    limits = {"demographic_parity": 0.1}
    assert judge(found, {"demographic_parity": 0.2})[0].decision is Decision.PASSED
    assert judge(found, {"demographic_parity": 0.05})[0].decision is Decision.FAILED
    assert judge(found, limits)[0].decision is Decision.INCONCLUSIVE
    assert judge(found, {"selection_ratio": 0.6})[0].decision is Decision.PASSED
    assert judge(found, {"selection_ratio": 0.9})[0].decision is Decision.FAILED


def test_what_is_not_defined_passes_no_gate():
    chosen = np.array([1] * 30 + [0] * 30)
    truth = np.array([1] * 30 + [0] * 30)  # group b has no positives
    found = fairness("g", ["a"] * 30 + ["b"] * 30, chosen, truth=truth)
    gate = judge(found, {"equal_opportunity": 1.0})[0]
    assert math.isnan(gate.measure.estimate.value)
    assert gate.decision is Decision.INCONCLUSIVE


def test_small_groups_are_left_out_and_named():
    groups = [None] * 50 + ["a"] * 50 + ["rare"] * 3 + [float("nan")] * 5
    found = fairness("g", groups, np.arange(108) % 2 == 0)
    assert found.left_out == ("rare",)
    assert [(group.name, group.count) for group in found.groups] == [("a", 50), ("missing", 55)]


def test_refusals_name_the_field():
    with pytest.raises(InvalidError, match="two are wanted") as refused:
        fairness("sex", ["a"] * 100, np.ones(100))
    assert refused.value.field == "sex"
    for limits, says in (
        ({"niceness": 0.1}, "no measure 'niceness'"),
        ({"calibration": 0.1}, "needs the truth"),
        ({"max_gap": 2.0}, "not from 0 to 1"),
    ):
        with pytest.raises(InvalidError, match=says):
            judge(known(), limits)
    assert set(measures(known())) | {"calibration"} == set(MEASURES)
