"""A glance: what is visibly lost is given up, and how likely a proof is orders the rest."""

import json

import numpy as np
import pytest

from modelworks.core.model import Verdict
from modelworks.core.optimizing.variants import Goal
from modelworks.core.tensor import Datatype, Role, Signature, TensorSpec
from modelworks.optimize import arrays
from modelworks.optimize.forms import Rows
from modelworks.optimize.glancing import LIKELY, Ahead
from modelworks.optimize.judging import judge, look

pytestmark = pytest.mark.unit
X = TensorSpec("x", Datatype.FP32, (None, 4))
LABEL = TensorSpec("label", Datatype.INT64, (None,), Role.LABEL)
SCORES = TensorSpec("p", Datatype.FP32, (None, 3), Role.PROBABILITIES)
CLASSIFIER = Signature((X,), (LABEL, SCORES), classes=(0, 1, 2))
VECTORS = Signature((X,), (TensorSpec("out", Datatype.FP32, (None, 8)),))
NUMBERS = Signature((X,), (TensorSpec("y", Datatype.FP32, (None, 1), Role.SCORE),))
TRUTH = np.random.default_rng(0).integers(0, 3, 250)


class Case:
    """Answers and truth in files."""

    def __init__(self, folder, signature, before, truth=None):
        self.folder, self.signature = folder, signature
        arrays.save(folder / "before.npz", before)
        labels = None
        if truth is not None:
            labels = folder / "labels.npy"
            np.save(labels, truth)
        self.rows = Rows(folder / "rows.npz", len(next(iter(before.values()))), labels)

    def looked(self, after, deciding=1000, goal=None, trust=1.0):
        arrays.save(self.folder / "after.npz", after)
        files = (self.folder / "before.npz", self.folder / "after.npz")
        ahead = Ahead(deciding, trust)
        return look(*files, self.rows, self.signature, goal or Goal(), ahead=ahead)

    def judged(self, after):
        arrays.save(self.folder / "after.npz", after)
        files = (self.folder / "before.npz", self.folder / "after.npz")
        return judge(*files, self.rows, self.signature, Goal())


def answered(labels):
    p = np.full((len(labels), 3), 0.05, np.float32)
    p[np.arange(len(labels)), labels] = 0.9
    return {"label": labels.astype(np.int64), "p": p}


def changed(count):
    found = TRUTH.copy()
    found[:count] = (found[:count] + 1) % 3
    return answered(found)


def chance(found):
    return next(gate.value for gate in found.gates if gate.name == LIKELY)


def test_few_rows_prove_nothing_and_a_glance_goes_on(tmp_path):
    case = Case(tmp_path, CLASSIFIER, answered(TRUTH), TRUTH)
    assert not case.judged(changed(0)).passed
    assert case.looked(changed(0)).passed
    assert case.looked(changed(1)).passed


def test_what_is_visibly_lost_is_given_up_with_the_reason(tmp_path):
    found = Case(tmp_path, CLASSIFIER, answered(TRUTH), TRUTH).looked(changed(5))
    assert not found.passed
    assert "accuracy falls by 2.00 points (0.5 are allowed)" in found.why
    assert "250 rows that do not decide" in found.why


def test_the_chance_of_a_proof_falls_with_what_is_lost_and_grows_with_the_rows(tmp_path):
    case = Case(tmp_path, CLASSIFIER, answered(TRUTH), TRUTH)
    chances = [chance(case.looked(changed(count))) for count in (0, 1, 2)]
    assert chances[0] > chances[1] > chances[2]
    rows = [chance(case.looked(changed(0), deciding)) for deciding in (600, 2000, 8000)]
    assert rows[0] < rows[1] < rows[2]
    assert chance(case.looked(changed(0), trust=0.5)) <= 0.5


def test_without_a_truth_labels_that_change_are_looked_at(tmp_path):
    case = Case(tmp_path, CLASSIFIER, answered(TRUTH))
    assert case.looked(changed(2)).passed
    assert "240 of 250 labels stay" in case.looked(changed(10)).why


def test_directions_and_numbers(tmp_path):
    random = np.random.default_rng(1)
    out = random.standard_normal((250, 8)).astype(np.float32)
    case = Case(tmp_path, VECTORS, {"out": out})
    near = case.looked(
        {"out": out + np.float32(0.01) * random.standard_normal((250, 8)).astype("f4")}
    )
    assert near.passed
    assert chance(near) > 0.9
    far = case.looked({"out": random.standard_normal((250, 8)).astype(np.float32)})
    assert "cosine" in far.why
    y = random.standard_normal(250).astype(np.float32)
    case = Case(tmp_path, NUMBERS, {"y": y[:, None] + np.float32(0.3)}, y)
    assert case.looked({"y": y[:, None] + np.float32(0.3)}).passed
    assert "mae rises by" in case.looked({"y": y[:, None] + np.float32(0.5)}).why


def test_a_slice_that_is_visibly_hurt_is_named(tmp_path):
    case = Case(tmp_path, CLASSIFIER, answered(TRUTH), TRUTH)
    slices = tmp_path / "slices.json"
    slices.write_text(json.dumps({"region=eu": list(range(40)), "tiny": [0, 1]}))
    case.rows = Rows(case.rows.inputs, 250, case.rows.labels, slices)
    found = case.looked(changed(4), goal=Goal(max_drop=0.05, slice_drop=0.01, agreement=0.9))
    assert [gate.slice for gate in found.gates if gate.verdict is Verdict.FAILED] == ["region=eu"]
