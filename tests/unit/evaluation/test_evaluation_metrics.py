"""Metrics against scikit-learn's, to rounding, with and without weights."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from modelworks.core.errors import InvalidError
from modelworks.evaluation import predictions as rows
from modelworks.evaluation.labels import confusion
from modelworks.evaluation.metrics import Options, base_of, better, measure
from modelworks.evaluation.predictions import Task

pytestmark = pytest.mark.unit


def classified(count=400, classes=2, seed=0):
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (count, classes)).round(1)  # with ties
    truth = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, scores, generator.exponential(size=count)


def same(found, wanted):
    for name, value in wanted.items():
        assert found[name].value == pytest.approx(value, rel=1e-10), name
        estimate = found[name].estimate
        assert estimate.low <= estimate.value <= estimate.high or name == "ece", name
        assert math.isfinite(estimate.low), name


@pytest.mark.parametrize("weighted", [False, True])
def test_binary(weighted):
    truth, both, weights = classified()
    scores, mass = both[:, 1], weights if weighted else None
    said = (scores >= 0.5).astype(int)
    given = rows.binary(truth, scores=scores, weights=mass)
    w = {"sample_weight": mass}
    same(
        measure(given),
        {
            "accuracy": sk.accuracy_score(truth, said, **w),
            "precision": sk.precision_score(truth, said, **w),
            "recall": sk.recall_score(truth, said, **w),
            "f1": sk.f1_score(truth, said, **w),
            "specificity": sk.recall_score(truth, said, pos_label=0, **w),
            "mcc": sk.matthews_corrcoef(truth, said, **w),
            "roc_auc": sk.roc_auc_score(truth, scores, **w),
            "average_precision": sk.average_precision_score(truth, scores, **w),
            "log_loss": sk.log_loss(truth, scores, **w),
            "brier": sk.brier_score_loss(truth, scores, **w),
        },
    )
    np.testing.assert_allclose(confusion(given), sk.confusion_matrix(truth, said, **w))


@pytest.mark.parametrize("weighted", [False, True])
def test_multiclass(weighted):
    truth, scores, weights = classified(classes=4)
    mass, said = weights if weighted else None, scores.argmax(axis=1)
    names = ["ant", "bee", "cow", "dog"]
    given = rows.multiclass(np.array(names)[truth], names, scores=scores, weights=mass)
    w = {"sample_weight": mass}
    one_hot = np.eye(4)[truth]
    wanted = {
        "accuracy": sk.accuracy_score(truth, said, **w),
        "mcc": sk.matthews_corrcoef(truth, said, **w),
        "log_loss": sk.log_loss(truth, scores, **w),
        "brier": sk.brier_score_loss(truth, scores, **w),
    }
    for mean in ("macro", "weighted"):
        for name in ("precision", "recall", "f1"):
            metric = getattr(sk, f"{name}_score")
            wanted[f"{mean}_{name}"] = metric(truth, said, average=mean, **w)
        kind = {"multi_class": "ovr", "average": mean}
        wanted[f"{mean}_roc_auc"] = sk.roc_auc_score(truth, scores, **kind, **w)
        wanted[f"{mean}_average_precision"] = sk.average_precision_score(
            one_hot, scores, average=mean, **w
        )
    each = sk.f1_score(truth, said, average=None, **w)
    wanted |= {f"f1[{name}]": each[k] for k, name in enumerate(names)}
    same(measure(given), wanted)


@pytest.mark.parametrize("weighted", [False, True])
def test_multilabel(weighted):
    generator = np.random.default_rng(1)
    scores = generator.random((300, 3))
    truth = (generator.random((300, 3)) < scores).astype(int)
    weights = generator.exponential(size=300)
    mass, said = weights if weighted else None, (scores >= 0.5).astype(int)
    w = {"sample_weight": mass}
    wanted = {"accuracy": sk.accuracy_score(truth, said, **w)}
    for mean in ("micro", "macro", "weighted"):
        for name in ("precision", "recall", "f1"):
            metric = getattr(sk, f"{name}_score")
            wanted[f"{mean}_{name}"] = metric(truth, said, average=mean, **w)
    wanted["macro_roc_auc"] = sk.roc_auc_score(truth, scores, average="macro", **w)
    same(measure(rows.multilabel(truth, "abc", scores=scores, weights=mass)), wanted)


@pytest.mark.parametrize("weighted", [False, True])
def test_regression(weighted):
    generator = np.random.default_rng(2)
    truth = generator.gamma(2, 3, 500) + 1e4
    said = truth * generator.normal(1.0001, 0.0002, 500)
    mass = generator.exponential(size=500) if weighted else None
    found = measure(rows.regression(truth, said, weights=mass), Options(quantile=0.9))
    w = {"sample_weight": mass}
    same(
        found,
        {
            "mae": sk.mean_absolute_error(truth, said, **w),
            "rmse": sk.root_mean_squared_error(truth, said, **w),
            "mape": sk.mean_absolute_percentage_error(truth, said, **w),
            "r2": sk.r2_score(truth, said, **w),
            "pinball@0.9": sk.mean_pinball_loss(truth, said, alpha=0.9, **w),
            "median_ae": sk.median_absolute_error(truth, said),
            "bias": np.average(said - truth, weights=mass),
            "smape": np.average(2 * abs(said - truth) / (truth + said), weights=mass),
        },
    )


def ranked(count=40, seed=3):
    generator = np.random.default_rng(seed)
    queries = np.repeat(np.arange(count), 12)
    scores = generator.normal(size=len(queries)).round(1)
    return generator.integers(0, 3, len(queries)) * (generator.random(len(queries)) < 0.4), (
        scores,
        queries,
    )


@pytest.mark.parametrize("top", [1, 3, 20])
def test_ndcg_is_scikit_learns_with_ties(top):
    relevance, (scores, queries) = ranked()
    found = measure(rows.ranking(relevance, scores, queries), Options(top=top))
    each = [
        sk.ndcg_score([relevance[queries == q]], [scores[queries == q]], k=top)
        for q in range(40)
        if relevance[queries == q].any()
    ]
    assert found[f"ndcg@{top}"].value == pytest.approx(np.mean(each))
    assert found[f"ndcg@{top}"].count == len(each)


def test_rankings_by_hand():
    #             a: miss, hit, hit; b: hit last of two equal ones; c: nothing relevant
    relevance = [0, 1, 2, 0, 1, 0]
    scores = [3, 2, 1, 5, 5, 1]
    found = measure(rows.ranking(relevance, scores, list("aaabbc")), Options(top=2))
    assert found["mrr"].value == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert found["map@2"].value == pytest.approx((1 / 2 / 2 + 1 / 2) / 2)
    assert found["recall@2"].value == pytest.approx((1 / 2 + 1) / 2)
    assert found["hit_rate@2"].value == 1
    assert found["mrr"].count == 2


def test_average_precision_over_queries_is_scikit_learns():
    relevance, (_, queries) = ranked(seed=5)
    scores = np.random.default_rng(6).random(len(queries))
    found = measure(rows.ranking(relevance, scores, queries), Options(top=12))
    each = [
        sk.average_precision_score(relevance[queries == q] > 0, scores[queries == q])
        for q in range(40)
        if relevance[queries == q].any()
    ]
    assert found["map@12"].value == pytest.approx(np.mean(each))


def test_delongs_variance():
    truth, both, _ = classified(120)
    above, below = both[truth == 1, 1], both[truth == 0, 1]
    wins = (above[:, None] > below) + 0.5 * (above[:, None] == below)
    variance = wins.mean(axis=1).var(ddof=1) / len(above)
    variance += wins.mean(axis=0).var(ddof=1) / len(below)
    found = measure(rows.binary(truth, scores=both[:, 1]))["roc_auc"]
    assert found.value == pytest.approx(wins.mean())
    assert found.error**2 == pytest.approx(variance)


@pytest.mark.parametrize("name", ["average_precision", "mcc", "roc_auc", "rmse", "r2", "f1"])
def test_what_a_row_does_is_what_leaving_it_out_does(name):
    truth, both, weights = classified(300)

    def made(keep):
        if name in {"rmse", "r2"}:
            return rows.regression(both[keep, 0], both[keep, 1], weights=weights[keep])
        return rows.binary(truth[keep], scores=both[keep, 1], weights=weights[keep])

    every = np.arange(300)
    whole = measure(made(every))[name]
    most = np.abs(whole.influence).max()
    for row in range(0, 300, 37):
        without = measure(made(every[every != row]))[name].value
        assert whole.influence[row] == pytest.approx(
            whole.value - without, rel=0.1, abs=0.02 * most
        )


def test_perfect_predictions_are_not_certain_ones():
    truth = np.array([0, 1] * 10)
    found = measure(rows.binary(truth, scores=truth * 0.8 + 0.1))
    for name in ("accuracy", "precision", "recall", "f1", "specificity", "mcc", "roc_auc"):
        assert found[name].value == 1, name
        assert 0.5 < found[name].estimate.low < 0.95, name
    assert found["average_precision"].estimate.low < 0.95
    wanted = stats.binomtest(20, 20).proportion_ci(0.95, "wilson").low
    assert found["accuracy"].estimate.low == pytest.approx(wanted)


def test_what_has_no_value_is_not_defined():
    found = measure(rows.binary([0, 0, 0], scores=[0.1, 0.2, 0.3]))
    for name in ("precision", "recall", "f1", "roc_auc", "average_precision"):
        assert math.isnan(found[name].value), name
    assert found["accuracy"].value == 1
    assert math.isnan(measure(rows.regression([1.0, 1.0], [1.0, 2.0]))["r2"].value)
    one = measure(rows.regression([1.0], [2.0]))
    assert (one["mae"].value, math.isnan(one["mae"].estimate.low)) == (1, True)
    ranking = measure(rows.ranking([0, 0], [1, 2], ["q", "q"]))
    assert math.isnan(ranking["mrr"].value)


def test_classes_by_any_name():
    given = rows.binary(["yes", "no"], labels=["yes", "yes"])
    assert (given.classes, given.truth.tolist()) == (("no", "yes"), [1, 0])
    given = rows.binary([1.0, 0.0], labels=np.array([1, 1]), positive="0")
    assert given.classes == ("1", "0")
    assert measure(given)["recall"].value == 0
    assert rows.binary([0, 0], labels=[0, 0]).classes == ("0", "1")
    assert rows.multiclass([3, 1], labels=[2, 1]).classes == ("1", "2", "3")


@pytest.mark.parametrize(
    "case",
    [
        (lambda: rows.binary([0, 1, 2], labels=[0, 1, 2]), "3 classes"),
        (lambda: rows.binary([0, 1], scores=[0.1, 1.2]), "from 0 to 1"),
        (lambda: rows.binary([0, 1], scores=[0.1, math.nan]), "from 0 to 1"),
        (lambda: rows.binary([0, 1], scores=[0.1]), "where .2. is wanted"),
        (lambda: rows.binary([0, 1], scores=["a", "b"]), "numbers are wanted"),
        (lambda: rows.binary([0, None], labels=[0, 1]), "row 1 .*has no value"),
        (lambda: rows.binary([0, 1], labels=[0, 1], positive=7), "'7' is no class"),
        (lambda: rows.binary([0, 1]), "neither labels nor scores"),
        (lambda: rows.binary([0, 1], labels=[0, 1], weights=[1, -1]), "below 0"),
        (lambda: rows.binary([], labels=[]), "no rows"),
        (lambda: rows.multiclass(["a"], ["b"], labels=["b"]), "'a' is no class"),
        (lambda: rows.multilabel([[0, 2]], labels=[[0, 1]]), "0 and 1"),
        (lambda: rows.regression([1, math.inf], [1, 2]), "finite"),
        (lambda: rows.regression([1, 2], [1]), "1 rows beside 2"),
        (lambda: rows.ranking([-1], [1], ["q"]), "below 0"),
        (lambda: measure(rows.ranking([1], [1], ["q"]), Options(top=0)), "below 1"),
        (lambda: measure(rows.regression([1], [1]), Options(quantile=1)), "between 0 and 1"),
        (lambda: measure(rows.regression([1], [1]), Options(level=0.1)), "level"),
        (lambda: measure(rows.regression([1], [1]), Options(only=("f1",))), "there are bias"),
    ],
)
def test_what_cannot_be_is_refused(case):
    make, message = case
    with pytest.raises(InvalidError, match=message):
        make()


def test_only_the_wanted_ones():
    truth, scores, _ = classified(classes=3)
    found = measure(rows.multiclass(truth, scores=scores), Options(only=("f1", "accuracy")))
    assert list(found) == ["accuracy", "f1[0]", "f1[1]", "f1[2]"]
    assert base_of("ndcg@10") == "ndcg"
    assert [better(n) for n in ("accuracy", "mae", "pinball@0.9", "bias")] == [1, -1, -1, 0]
    assert len(Task) == 5
