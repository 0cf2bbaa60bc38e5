"""Gates: what is good enough passes, the rest is refused by name, and what nobody knows is said."""

import json

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.model import Verdict
from modelworks.core.optimizing.variants import Goal
from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.optimize import arrays
from modelworks.optimize.forms import Rows
from modelworks.optimize.judging import judge

pytestmark = pytest.mark.unit
X = TensorSpec("x", Datatype.FP32, (None, 4))
LABEL = TensorSpec("label", Datatype.INT64, (None,), Role.LABEL)
SCORES = TensorSpec("p", Datatype.FP32, (None, 3), Role.PROBABILITIES)
CLASSIFIER = Signature((X,), (LABEL, SCORES), classes=(0, 1, 2))
VECTORS = Signature((X,), (TensorSpec("out", Datatype.FP32, (None, 8)),))
NUMBERS = Signature((X,), (TensorSpec("y", Datatype.FP32, (None, 1), Role.SCORE),))


class Case:
    """Answers and truth in files."""

    def __init__(self, folder, signature, before, truth=None, slices=None):
        self.folder, self.signature, self.before = folder, signature, before
        arrays.save(folder / "before.npz", before)
        labels = parts = None
        if truth is not None:
            labels = folder / "labels.npy"
            np.save(labels, truth)
        if slices is not None:
            parts = folder / "slices.json"
            parts.write_text(json.dumps(slices))
        count = len(next(iter(before.values())))
        self.rows = Rows(folder / "rows.npz", count, labels, parts)

    def judged(self, after, goal=None, *, exact=False):
        arrays.save(self.folder / "after.npz", after)
        files = (self.folder / "before.npz", self.folder / "after.npz")
        return judge(*files, self.rows, self.signature, goal or Goal(), exact=exact)


def gates(found, name):
    return [gate for gate in found.gates if gate.name == name]


def one(found, name):
    (gate,) = gates(found, name)
    return gate


def answered(labels, sure=0.9):
    p = np.full((len(labels), 3), (1 - sure) / 2, np.float32)
    p[np.arange(len(labels)), labels] = sure
    return {"label": labels.astype(np.int64), "p": p}


def wrong(labels, rows):
    changed = labels.copy()
    changed[rows] = (changed[rows] + 1) % 3
    return changed


@pytest.fixture
def truth():
    return np.random.default_rng(0).integers(0, 3, 1500)


@pytest.fixture
def said(truth):
    return wrong(truth, np.arange(0, 1500, 10))  # the source form has 90 % right


def test_the_same_answers_pass_where_the_rows_are_enough(tmp_path, truth, said):
    found = Case(tmp_path, CLASSIFIER, answered(said), truth).judged(answered(said))
    assert found.passed
    assert found.worst == ()
    assert one(found, "accuracy").verdict is Verdict.PASSED
    assert one(found, "agreement").low > 0.995


def test_too_few_rows_are_a_refusal_with_the_number_that_would_do(tmp_path, truth, said):
    found = Case(tmp_path, CLASSIFIER, answered(said[:400]), truth[:400]).judged(
        answered(said[:400])
    )
    gate = one(found, "accuracy")
    assert gate.verdict is Verdict.FAILED
    assert "too few to tell, about 598 would do" in gate.summary
    assert not found.passed
    assert found.why == gate.summary


def test_a_drop_beyond_the_limit_is_refused_and_no_number_of_rows_would_do(tmp_path, truth, said):
    after = answered(wrong(said, np.arange(3, 1500, 100)))
    found = Case(tmp_path, CLASSIFIER, answered(said), truth).judged(after)
    gate = one(found, "accuracy")
    assert gate.verdict is Verdict.FAILED
    assert gate.value == pytest.approx(0.01)
    assert "15 rows became wrong and 0 right, 1500 rows; no number of rows would do" in gate.summary
    assert found.worst[0]["before"].startswith(str(truth[found.worst[0]["row"]]))


def test_a_form_that_hurts_one_slice_is_refused_by_its_name_alone(tmp_path, truth, said):
    slices = {"age=young": list(range(1300)), "age=old": list(range(1300, 1500)), "few": [1, 2, 3]}
    case = Case(tmp_path, CLASSIFIER, answered(said), truth, slices)
    rows = [row for row in range(1300, 1500) if row % 10][:12]
    found = case.judged(answered(wrong(said, rows)), Goal(max_drop=0.02, slice_drop=0.05))
    verdicts = {gate.slice: gate.verdict for gate in gates(found, "accuracy")}
    assert verdicts == {
        "": Verdict.PASSED,
        "age=young": Verdict.PASSED,
        "age=old": Verdict.FAILED,
        "few": Verdict.SKIPPED,
    }
    assert "age=old" in found.why


def test_numbers_that_the_source_form_does_not_have_are_refused_before_all_else(tmp_path, said):
    case = Case(tmp_path, CLASSIFIER, answered(said))
    after = answered(said)
    after["p"][7, 1] = np.nan
    found = case.judged(after)
    assert [gate.name for gate in found.gates] == ["finite"]
    assert "1 of 1500 rows" in found.why


def test_a_gap_of_the_source_form_is_no_fault_of_the_form(tmp_path, truth, said):
    before = answered(said)
    before["p"][:4] = np.nan
    found = Case(tmp_path, CLASSIFIER, before, truth).judged(before)
    assert found.passed
    assert "1496 rows" in one(found, "accuracy").summary


def test_another_shape_or_a_missing_output_is_refused(tmp_path, said):
    case = Case(tmp_path, CLASSIFIER, answered(said))
    short = answered(said)
    short["p"] = short["p"][:, :2]
    assert "shape [1500, 2]" in case.judged(short).why
    del short["p"]
    assert "'p' is missing" in case.judged(short).why


def test_without_a_truth_agreement_has_to_be_proved_and_quality_is_said_to_be_unknown(
    tmp_path, said
):
    case = Case(tmp_path, CLASSIFIER, answered(said))
    few = case.judged(answered(wrong(said, [3, 4])))
    assert few.passed
    assert one(few, "quality").verdict is Verdict.SKIPPED
    assert "--label" in one(few, "quality").summary
    more = case.judged(answered(wrong(said, list(range(12)))))
    assert one(more, "agreement").value == pytest.approx(0.992)
    assert "rows would tell" in more.why


def test_the_wrong_column_as_truth_is_an_error_and_no_verdict(tmp_path, said):
    case = Case(tmp_path, CLASSIFIER, answered(said), np.array(["cat"] * 1500))
    with pytest.raises(InvalidError, match="is --label the right column"):
        case.judged(answered(said))


def test_probabilities_that_mean_less_are_refused_though_every_label_stays(tmp_path, truth, said):
    case = Case(tmp_path, CLASSIFIER, answered(said), truth)
    found = case.judged(answered(said, sure=0.999))
    assert one(found, "accuracy").verdict is Verdict.PASSED
    assert one(found, "calibration").verdict is Verdict.FAILED
    assert "goes from 0.0000 to 0.0990" in found.why


def test_passes_that_only_round_need_no_proof_and_are_caught_where_they_do_more(
    tmp_path, truth, said
):
    case = Case(tmp_path, CLASSIFIER, answered(said[:50]), truth[:50])
    rounded = answered(said[:50])
    rounded["p"] += np.float32(3e-6)
    assert case.judged(rounded, exact=True).passed
    assert not case.judged(rounded).passed  # 50 rows prove nothing of a form that may differ
    off = case.judged(answered(wrong(said[:50], [1])), exact=True)
    assert one(off, "same").verdict is Verdict.SKIPPED
    assert one(off, "accuracy").verdict is Verdict.FAILED


@pytest.mark.parametrize("metric", ["auc", "log_loss"])
def test_other_metrics_of_probabilities_decide_where_asked(tmp_path, metric):
    random = np.random.default_rng(1)
    logits = 2 * random.standard_normal(2000)
    truth = (random.random(2000) < 1 / (1 + np.exp(-logits))).astype(int)
    two = Signature(
        (X,), (TensorSpec("p", Datatype.FP32, (None, 2), Role.PROBABILITIES),), classes=(0, 1)
    )

    def made(values):
        p = 1 / (1 + np.exp(-values))
        return {"p": np.column_stack([1 - p, p]).astype(np.float32)}

    case = Case(tmp_path, two, made(logits), truth)
    goal = Goal(metric=metric, max_drop=0.02, agreement=0.9)
    near = case.judged(made(logits + 0.05 * random.standard_normal(2000)), goal)
    assert one(near, metric).verdict is Verdict.PASSED
    far = case.judged(made(logits + 1.5 * random.standard_normal(2000)), goal)
    assert one(far, metric).verdict is Verdict.FAILED


def test_a_metric_that_the_answers_do_not_have_is_refused_with_those_they_have(
    tmp_path, truth, said
):
    case = Case(tmp_path, CLASSIFIER, answered(said), truth)
    with pytest.raises(InvalidError, match="none of classes: accuracy, auc, log_loss"):
        case.judged(answered(said), Goal(metric="mae"))


def test_embeddings_keep_their_direction_on_average_and_in_the_worst_row(tmp_path):
    random = np.random.default_rng(2)
    out = random.standard_normal((300, 8)).astype(np.float32)
    case = Case(tmp_path, VECTORS, {"out": out})
    near = case.judged({"out": out + 0.05 * random.standard_normal(out.shape).astype(np.float32)})
    assert near.passed
    ruined = case.judged({"out": out + 1.5 * random.standard_normal(out.shape).astype(np.float32)})
    assert one(ruined, "cosine").verdict is Verdict.FAILED
    single = out.copy()
    single[17] *= -1
    found = case.judged({"out": single})
    assert one(found, "worst_cosine").verdict is Verdict.FAILED
    assert found.worst[0]["row"] == 17


def test_errors_of_numbers_may_grow_by_a_share_of_the_source_forms_own(tmp_path):
    random = np.random.default_rng(3)
    truth = random.standard_normal(1000)
    y = truth + 0.1 * random.standard_normal(1000)
    case = Case(tmp_path, NUMBERS, {"y": y[:, None]}, truth)
    near = case.judged(
        {"y": (y + 1e-3 * random.standard_normal(1000))[:, None]}, Goal(max_drop=0.02)
    )
    assert near.passed
    assert one(near, "mae").high <= 0.02
    far = case.judged(
        {"y": (y + 0.05 * random.standard_normal(1000))[:, None]}, Goal(max_drop=0.02)
    )
    assert one(far, "mae").verdict is Verdict.FAILED
    worse = case.judged({"y": y[:, None] + 0.001}, Goal(max_drop=0.02, metric="rmse"))
    assert one(worse, "rmse").verdict is Verdict.PASSED


def test_numbers_without_a_truth_have_to_be_close(tmp_path):
    random = np.random.default_rng(4)
    y = random.standard_normal((200, 1))
    case = Case(tmp_path, NUMBERS, {"y": y})
    assert case.judged({"y": y + 0.01}).passed
    assert "meet" in case.judged({"y": y * 1.5}).why


def test_columns_without_a_meaning_are_classes_where_the_truth_counts_them(tmp_path, truth, said):
    logits = np.log(answered(said)["p"])
    plain = Signature((X,), (TensorSpec("logits", Datatype.FP32, (None, 3)),))
    found = Case(tmp_path, plain, {"logits": logits}, truth).judged({"logits": logits})
    assert found.passed
    assert one(found, "accuracy").value == 0
    assert not gates(found, "calibration")  # these are no probabilities


def test_a_truth_that_fits_no_output_is_an_error(tmp_path):
    out = np.ones((50, 8), np.float32)
    case = Case(tmp_path, VECTORS, {"out": out}, np.array(["a"] * 50))
    with pytest.raises(InvalidError, match="fits no output"):
        case.judged({"out": out})


@pytest.mark.parametrize("exact", [True, False])
def test_answers_of_which_none_is_a_number_prove_nothing(tmp_path, truth, exact):
    nothing = answered(truth) | {"p": np.full((1500, 3), np.nan, np.float32)}
    with pytest.raises(InvalidError, match="answers no row with finite numbers"):
        Case(tmp_path, CLASSIFIER, nothing, truth).judged(nothing, exact=exact)


def test_a_row_without_an_answer_does_not_change_what_the_others_mean(tmp_path):
    score = TensorSpec("p", Datatype.FP32, (None, 1), Role.PROBABILITIES)
    signature = Signature((X,), (score,), classes=(0, 1))
    before = np.random.default_rng(0).uniform(0.05, 0.95, (1500, 1)).astype(np.float32)
    before[7] = np.nan  # the model does not know it
    after = np.where(np.isnan(before), before, 1 - before)  # each class for the other
    case = Case(tmp_path, signature, {"p": before}, (before[:, 0] > 0.5).astype(np.int64))
    found = case.judged({"p": after})
    assert not found.passed
    assert one(found, "agreement").value < 0.01
    assert one(found, "calibration").verdict is Verdict.FAILED


def test_what_cannot_be_told_is_no_number(tmp_path):
    labels = np.ones(500, np.int64)
    found = Case(tmp_path, CLASSIFIER, answered(labels), labels).judged(
        answered(labels, sure=0.8), Goal(metric="auc")
    )
    gate = one(found, "auc")
    assert (gate.verdict, gate.value, gate.high) == (Verdict.FAILED, None, None)
    assert "auc cannot be told" in gate.summary
    assert "one class alone" in gate.summary
