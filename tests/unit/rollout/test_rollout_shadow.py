"""Shadow diffing: what is counted of pairs, however they are portioned, and the gate over it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from modelworks.core.errors import InvalidError
from modelworks.core.rollouts import Outcome
from modelworks.rollout.shadow.report import rank_correlation, report, sums
from modelworks.rollout.shadow.tally import WORST, Form, Pairs, Tally, Tolerance, merged, tally

pytestmark = pytest.mark.unit


def ids(count, first=0):
    return [f"r{first + place}" for place in range(count)]


def labels(flipped, count=1_000, slices=None):
    stable = np.array(["no", "yes"] * (count // 2))
    candidate = stable.copy()
    candidate[flipped] = np.where(stable[flipped] == "no", "yes", "no")
    return Pairs(Form.LABELS, ids(count), stable, candidate, slices=slices or {})


def test_label_flips_are_counted_by_pair_and_shown():
    found = report(tally(labels([0, 2, 4, 1])), 0.05)
    assert (found.count, found.agreement, found.close) == (1_000, 0.996, 0.996)
    assert found.flips == (("no", "yes", 3), ("yes", "no", 1))
    assert {example.id for example in found.worst} == {"r0", "r1", "r2", "r4"}
    assert found.low < 0.996 < found.high


def test_scores_agree_within_the_tolerance():
    stable = np.array([1.0, 10.0, 0.0, np.nan, 5.0])
    candidate = np.array([1.005, 10.05, 0.2, np.nan, np.nan])
    of = Pairs(Form.SCORES, ids(5), stable, candidate)
    found = tally(of, Tolerance(0.0, 0.01))
    assert (found.agreed, found.close) == (3, 3)  # both without a number is the same
    assert [example.id for example in found.worst] == ["r4", "r2"]
    assert found.worst[0].distance == np.inf


def test_a_copy_without_an_answer_does_not_agree():
    gone = np.array([True, False, False, False])
    stable = np.array([1.0, 2.0, 3.0, 4.0])
    found = tally(Pairs(Form.SCORES, ids(4), stable, stable, gone))
    assert (found.missing, found.agreed) == (1, 3)
    assert (found.worst[0].id, found.worst[0].candidate) == ("r0", "")


def test_a_shift_of_confidence_is_seen_where_no_label_flips():
    rng = np.random.default_rng(3)
    sure = rng.uniform(0.6, 0.95, 4_000)
    stable = np.stack([sure, 1 - sure], axis=1)
    candidate = np.stack([sure + 0.04, 1 - sure - 0.04], axis=1)
    same = report(tally(Pairs(Form.PROBABILITIES, ids(4_000), stable, stable)), 0.05)
    moved = report(tally(Pairs(Form.PROBABILITIES, ids(4_000), stable, candidate)), 0.05)
    assert same.confidence_shift == pytest.approx(0.0)
    assert moved.confidence_shift == pytest.approx(0.04)
    assert moved.agreement == 1.0
    assert moved.close == 0.0
    assert sum(row[0] for row in moved.confidence) == 4_000


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=40))
def test_the_rank_correlation_is_spearmans(pairs):
    given_pairs = np.array(pairs, np.float64)
    found = rank_correlation(given_pairs)
    if len(set(given_pairs[:, 0])) == 1 or len(set(given_pairs[:, 1])) == 1:
        assert found is None
    else:
        assert found == pytest.approx(spearmanr(*given_pairs.T).statistic, abs=1e-9)


@given(st.integers(1, 999), st.lists(st.integers(0, 999), max_size=30, unique=True))
def test_portions_add_up_to_the_whole(cut, flipped):
    mask = np.arange(1_000) % 3 == 0
    whole = labels(flipped, slices={"de": mask})
    parts = [
        Pairs(
            whole.form,
            whole.ids[part],
            whole.stable[part],
            whole.candidate[part],
            slices={"de": mask[part]},
        )
        for part in (slice(0, cut), slice(cut, None))
    ]
    one, two = tally(whole), merged(tally(parts[0]), tally(parts[1]))
    assert (one.count, one.agreed, one.flips, one.slices) == (
        two.count,
        two.agreed,
        two.flips,
        two.slices,
    )
    assert np.array_equal(one.kept, two.kept)
    assert {e.id for e in one.worst} == {e.id for e in two.worst} or len(flipped) > WORST


def test_the_gate_passes_holds_and_refuses():
    assert report(Tally(), 0.05).outcome is Outcome.HOLD
    assert "no pair of answers has come yet" in report(Tally(), 0.05).sentence
    few = report(tally(labels([0, 1], 100)), 0.05)
    assert few.outcome is Outcome.HOLD
    fine = report(tally(labels([0, 1, 2], 4_000)), 0.05)
    assert fine.outcome is Outcome.PROMOTE
    assert fine.sentence.endswith("proved to be within the 5 that are allowed")
    bad = report(tally(labels(range(200))), 0.05, arm="v4")
    assert bad.outcome is Outcome.ROLL_BACK
    assert bad.sentence.startswith("v4 says something else in 20 % of the answers (")


def test_one_slice_that_disagrees_is_enough():
    mask = np.arange(4_000) < 400
    pairs = labels(range(120), 4_000, {"country=de": mask, "country=fr": ~mask})
    whole = report(tally(pairs), 0.05)
    assert whole.outcome is Outcome.PROMOTE
    sliced = report(tally(pairs), 0.05, slices=("country=de", "country=fr"))
    assert sliced.outcome is Outcome.ROLL_BACK
    assert sliced.sentence.startswith("for country=de, the new version says something else in 30 %")
    unknown = report(tally(pairs), 0.05, slices=("country=it",))
    assert unknown.outcome is Outcome.HOLD


def test_it_is_evidence_for_the_rules_too():
    found, parts = sums(tally(labels([0], 100, {"a": np.arange(100) < 10})), ("a", "b"))
    assert (found.count, found.total) == (100, 1)
    assert (parts["a"].count, parts["a"].total, parts["b"].count) == (10, 1, 0)


def test_the_gate_errs_no_more_often_than_it_says():
    """Exactly as much disagreement as is allowed, looked at after every portion."""
    rng, refused, passed, times = np.random.default_rng(4), 0, 0, 150
    for _ in range(times):
        outcomes, count, other = set(), 0, 0
        for portion in (50, 50, 100, 200, 400, 800, 1_600, 3_200):
            count, other = count + portion, other + int(rng.binomial(portion, 0.05))
            known = Tally(count=count, agreed=count - other)
            outcomes.add(report(known, 0.05, false_alarm=0.05, false_pass=0.05).outcome)
        refused += Outcome.ROLL_BACK in outcomes
        passed += Outcome.PROMOTE in outcomes
    assert max(refused, passed) <= 15  # 5 % of 150, and the 99 % bound above it


@pytest.mark.parametrize(
    ("form", "stable", "candidate"),
    [
        (Form.SCORES, np.zeros(2), np.zeros(3)),
        (Form.SCORES, np.zeros(3), np.zeros((3, 2))),
        (Form.PROBABILITIES, np.zeros(3), np.zeros(3)),
    ],
)
def test_answers_that_do_not_go_together_are_refused(form, stable, candidate):
    with pytest.raises(InvalidError, match="pairs"):
        tally(Pairs(form, ids(3), stable, candidate))
