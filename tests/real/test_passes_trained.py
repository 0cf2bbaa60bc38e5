"""Passes that train, on a trained net: what they make is good, and what is too small is refused.

The judge is the shop's own, with one goal for both: rows that no form ever saw.
"""

import numpy as np
import pytest

from modelworks.core.optimizing.variants import Goal
from modelworks.optimize import arrays
from modelworks.optimize.forms import Rows
from modelworks.optimize.judging import judge
from modelworks.plugins.load import load
from modelworks.testing.pass_cases import answers
from modelworks.testing.passes import PassCase
from students import digits_cnn, faint

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # the exporter's own
]
GOAL = Goal(max_drop=0.03, agreement=0.95)
GOOD = {
    "distil": {"steps": 1000},
    "prune_channels": {"steps": 300},
    "cascade": {"steps": 400},
    "low_rank": {},
}
POOR = {
    "distil": {"steps": 12, "size": "tiny"},
    "prune_channels": {"steps": 2, "ratio": 0.9, "round_to": 1},
    "cascade": {"steps": 12, "agreement": 0.5},
    "magnitude": {"sparsity": 0.97},
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return digits_cnn(tmp_path_factory.mktemp("digits") / "cnn", epochs=6)


def judged(made, name, settings, folder):
    source, rows, truth = made
    [given], [given_back] = source.signature.inputs, source.signature.outputs
    case = PassCase(name, source, None, 0, {}, None, {})
    applied = case.apply(folder / "into", settings=settings)
    engine = load("passes", name).facts.engine
    forms = (("before", "onnxruntime", source.folder), ("after", engine, folder / "into"))
    for what, runs, where in forms:
        [chances] = answers(runs, where, source.signature, {given.name: rows})
        arrays.save(folder / f"{what}.npz", {given_back.name: chances})
    np.save(folder / "truth.npy", truth)
    held = Rows(folder / "rows.npz", len(rows), folder / "truth.npy")
    files = (folder / "before.npz", folder / "after.npz")
    return judge(*files, held, source.signature, GOAL), applied


@pytest.mark.parametrize("name", GOOD)
def test_what_is_taught_enough_is_good_enough(digits, tmp_path, name):
    found, applied = judged(digits, name, GOOD[name], tmp_path)
    assert found.passed, found.why
    figures = applied.figures
    smaller = {
        "distil": lambda: figures["bytes"] < 0.2 * figures["bytes_before"],
        "prune_channels": lambda: figures["weights"] < 0.4 * figures["weights_before"],
        "cascade": lambda: figures["went_on"] < 0.3 and figures["agreement"] >= 0.995,
        "low_rank": lambda: figures["multiplications"] < 0.7,
    }
    assert smaller[name](), figures


@pytest.mark.parametrize("name", POOR)
def test_what_is_too_small_is_refused_by_its_quality(digits, tmp_path, name):
    found, _ = judged(digits, name, POOR[name], tmp_path)
    assert not found.passed
    assert "accuracy" in found.why or "agree" in found.why, found.why


def test_classes_in_a_faint_direction_are_lost_by_a_low_rank_and_that_is_refused(tmp_path):
    source, truth = faint(tmp_path / "faint")
    rows = np.load(source.calibration)["X"]
    for energy, passes in ((0.99999, True), (0.99, False)):
        folder = tmp_path / str(energy)
        folder.mkdir()
        found, applied = judged((source, rows, truth), "low_rank", {"energy": energy}, folder)
        assert applied.operators == ("product",)
        assert found.passed is passes, found.why
