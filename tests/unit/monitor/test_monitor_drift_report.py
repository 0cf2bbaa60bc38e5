"""A window against a reference: the feature that moved is named, by what it costs."""

import numpy as np
import pytest
from scipy import stats

from modelworks.core.errors import CorruptError, InvalidError, NotFoundError
from modelworks.core.records import Batch
from modelworks.monitor.drift import archive, points
from modelworks.monitor.drift import window as windows
from modelworks.monitor.drift.build import Recipe, build
from modelworks.monitor.drift.cells import Form
from modelworks.monitor.drift.derive import Kind
from modelworks.monitor.drift.losses import Loss, of_column, of_labels, of_scores
from modelworks.monitor.drift.records import columns_of
from modelworks.monitor.drift.reference import Role
from modelworks.monitor.drift.report import Limits, report, report_of_window

CITIES = np.array(["Rome", "Oslo", "Lima"], object)


def _data(seed, rows=3000, age=0.0, income=0.0):
    rng = np.random.default_rng(seed)
    return {
        "age": rng.normal(40 + age, 10, rows),
        "income": rng.normal(income, 1, rows),
        "rooms": rng.integers(1, 6, rows),
        "city": CITIES[rng.integers(0, 3, rows)],
        "out.label": rng.integers(0, 2, rows),
    }


@pytest.fixture(scope="module")
def reference():
    columns = _data(1)
    # wrong where income is high: age costs nothing, wherever it goes
    wrong = Loss("error", (columns["income"] > 1).astype(float))
    return build(columns, loss=wrong)


def test_what_did_not_move_is_not_named(reference):
    found = report(reference, _data(2))
    assert not found.drifted
    assert not found.moved
    assert not found.findings
    assert found.rows == 3000
    assert {one.role for one in found.features} == {Role.FEATURE, Role.PREDICTION}


def test_the_cost_ranks_and_not_the_distance(reference):
    found = report(reference, _data(3, age=20.0, income=0.6))
    assert [one.feature for one in found.drifted] == ["income", "age"]
    income, age = found.drifted
    assert age.js > income.js
    assert age.p_value < income.p_value
    true = stats.norm.sf(1 - 0.6) - stats.norm.sf(1)
    assert income.impact.low < true < income.impact.high
    assert income.impact.loss - income.impact.change == pytest.approx(found.mean_loss)
    assert age.impact.low < 0 < age.impact.high or abs(age.impact.change) < 0.02
    assert found.moved
    assert set(found.together[0].features[:2]) == {"age", "income"}


def test_the_whole_shift_has_a_cost_while_the_samples_overlap(reference):
    found = report(reference, _data(4, income=0.6)).together[0]
    true = stats.norm.sf(1 - 0.6) - stats.norm.sf(1)
    assert found.impact.low - 0.02 < true < found.impact.high + 0.02
    far = report(reference, _data(4, income=9.0)).together[0]
    assert far.impact is None
    assert far.auc > 0.99


def test_the_statistics_are_scipys(reference):
    before, now = _data(1), _data(5, age=3.0)
    found = {one.feature: one for one in report(reference, now).features}
    wanted = stats.ks_2samp(before["age"], now["age"], method="asymp")
    assert found["age"].ks == pytest.approx(wanted.statistic, abs=1e-12)
    assert found["age"].p_value == pytest.approx(wanted.pvalue, rel=1e-6)
    distance = stats.wasserstein_distance(before["age"], now["age"])
    assert found["age"].wasserstein == pytest.approx(distance)
    assert found["age"].wasserstein_scaled == pytest.approx(distance / before["age"].std())
    table = [[(c["city"] == city).sum() for city in CITIES] for c in (before, now)]
    wanted = stats.chi2_contingency(table)
    assert found["city"].chi_square == pytest.approx(wanted.statistic)
    assert found["city"].p_value == pytest.approx(wanted.pvalue)
    assert found["rooms"].test == "chi_square"
    moved = (now["age"].mean() - before["age"].mean()) / before["age"].std()
    assert found["age"].moved == pytest.approx(moved, abs=1e-3)


def test_adjusted_p_values_are_those_of_all_features(reference):
    found = report(reference, _data(6, age=1.0)).features
    wanted = stats.false_discovery_control([one.p_value for one in found])
    assert [one.adjusted for one in found] == pytest.approx(list(wanted))


def test_data_that_should_not_be_is_found(reference):
    columns = _data(7)
    columns["age"][:90] = np.nan
    columns["income"] = columns["income"].astype(object)
    columns["income"][:60] = "much"
    columns["city"][:300] = "Atlantis"
    columns["city"][300:420] = None
    columns["rooms"][:45] = 99
    del columns["out.label"]
    found = {(one.feature, one.kind): one for one in report(reference, columns).findings}
    assert found["age", "missing"].share == pytest.approx(0.03)
    assert found["income", "wrong_type"].share == pytest.approx(0.02)
    assert found["city", "new_category"].share == pytest.approx(300 / 2880)
    assert "'Atlantis' (300)" in found["city", "new_category"].detail
    assert found["city", "missing"].share == pytest.approx(0.04)
    assert "outside 1 to 5" in found["rooms", "out_of_range"].detail
    assert found["out.label", "absent"].share == 1.0
    assert len(found) == 6


def test_few_rows_find_little_and_none_nothing(reference):
    few = {name: column[:1] for name, column in _data(8, age=5.0).items()}
    assert not report(reference, few).drifted
    none = {name: column[:0] for name, column in few.items()}
    assert report(reference, none).features == ()


def test_limits_are_taken(reference):
    columns = _data(9, age=2.0)
    assert [one.feature for one in report(reference, columns).drifted] == ["age"]
    assert not report(reference, columns, Limits(js=0.5)).drifted
    assert not report(reference, columns, Limits(alpha=0.0)).drifted


def test_without_a_loss_the_distance_ranks_and_the_cost_is_unknown():
    plain = build(_data(1))
    found = report(plain, _data(3, age=20.0, income=0.6))
    assert [one.feature for one in found.drifted] == ["age", "income"]
    assert found.loss == ""
    assert all(one.impact is None for one in found.features)


def test_columns_of_different_lengths_are_refused(reference):
    with pytest.raises(InvalidError, match="one length"):
        report(reference, {"age": [1.0], "income": [1.0, 2.0]})


def test_sketches_say_nearly_what_the_values_say(reference):
    columns = _data(10, age=4.0)
    window = windows.sketch(reference, columns)
    whole = {one.feature: one for one in report(reference, columns).features}
    found = report_of_window(reference, window)
    assert found.drifted[0].feature == "age"
    for one in found.features:
        exact = whole[one.feature]
        assert (one.psi, one.js, one.impact) == (exact.psi, exact.js, exact.impact)
        if one.form is Form.NUMBER:
            assert one.ks - 1e-9 <= exact.ks <= one.ks + one.ks_bound
            assert one.wasserstein is None


def test_sketches_of_parts_are_the_sketch_of_the_whole(reference):
    columns = _data(11)
    parts = [
        windows.sketch(reference, {name: column[part] for name, column in columns.items()})
        for part in (slice(0, 700), slice(700, 701), slice(701, None))
    ]
    whole = windows.sketch(reference, columns)
    assert windows.merged(parts) == whole
    assert windows.from_bytes(reference, whole.to_bytes()) == whole


def test_sketches_of_another_reference_are_told(reference):
    data = windows.sketch(reference, _data(12)).to_bytes()
    data["age"] = data["city"]
    with pytest.raises(CorruptError, match="another reference"):
        windows.from_bytes(reference, data)


def test_a_reference_survives_its_file(reference, tmp_path):
    path = tmp_path / "ref.npz"
    path.write_bytes(archive.to_bytes(reference))
    loaded = archive.load(path)
    assert archive.is_reference(path)
    assert loaded.digest.startswith("sha256:")
    assert archive.to_bytes(loaded) == path.read_bytes()
    columns = _data(13, age=2.0)
    assert report(loaded, columns) == report(reference, columns)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"no zip at all"])
def test_what_is_no_reference_is_told(tmp_path, damage):
    path = tmp_path / "ref.npz"
    path.write_bytes(damage)
    assert not archive.is_reference(path)
    with pytest.raises(CorruptError, match="reference build"):
        archive.load(path)
    with pytest.raises(NotFoundError, match="no file"):
        archive.load(tmp_path / "gone.npz")


def test_a_damaged_reference_is_told(reference):
    data = bytearray(archive.to_bytes(reference))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(CorruptError):
        archive.from_bytes(bytes(data))


@pytest.mark.parametrize(
    "case",
    [
        ({"a": np.arange(9.0)}, Recipe(), "9 rows"),
        ({"a": np.arange(40.0), "b": np.arange(41.0)}, Recipe(), "one length"),
        ({"a": np.full(40, np.nan)}, Recipe(), "no numbers"),
        ({"a": np.full(40, None)}, Recipe(), "no values"),
        ({"a": np.arange(40.0)}, Recipe(left_out=("b",)), "no column 'b'"),
    ],
)
def test_what_makes_no_reference_is_told(case):
    columns, recipe, message = case
    with pytest.raises(InvalidError, match=message):
        build(columns, recipe)


def test_losses_are_those_of_labels_scores_or_a_column():
    assert of_labels([1, 0, 1], [1, 1, 1]).values.tolist() == [0, 1, 0]
    assert of_labels(["a", "b"], ["a", "c"]).name == "error"
    assert of_labels([1.5, 2.0], [1.0, 2.0]).values.tolist() == [0.5, 0.0]
    assert of_labels([1.5, 2.0], [1.0, 2.0]).name == "absolute error"
    assert of_scores([0.9, 0.2]).values == pytest.approx([0.1, 0.2])
    assert of_scores([[0.7, 0.3], [0.1, 0.9]]).values == pytest.approx([0.3, 0.1])
    assert of_column("cost", [1, 2]).name == "cost"
    with pytest.raises(InvalidError, match="probabilities"):
        of_scores([1.2])
    with pytest.raises(InvalidError, match="one value a row"):
        of_labels([1], [1, 2])
    with pytest.raises(InvalidError, match="a number a row"):
        of_column("cost", ["a"])
    with pytest.raises(InvalidError, match="missing"):
        of_labels([1.0, np.nan], [1.0, 2.0])


def test_a_shift_to_what_was_never_seen_costs_as_the_worst_cell(reference):
    found = {one.feature: one for one in report(reference, _data(14, income=30.0)).features}
    impact = found["income"].impact
    assert impact.unseen == pytest.approx(1.0)
    assert impact.loss == pytest.approx(1.0)


def test_points_have_the_names_of_the_series(reference):
    columns = _data(15, age=5.0)
    del columns["rooms"]
    found = points.points(report(reference, columns), 7200.0, {"model": "m", "version": "1.0.0"})
    keys = {(one.name, one.labels["feature"], one.labels.get("method", "")) for one in found}
    assert len(keys) == len(found)
    assert ("drift", "age", "ks") in keys
    assert ("drift", "city", "ks") not in keys
    assert {("drift_loss", "age", ""), ("missing", "rooms", "")} <= keys
    assert all(one.times == (7200.0,) and one.labels["model"] == "m" for one in found)


def test_records_become_columns_without_refused_requests():
    batch = Batch(
        {
            "in.age": np.array([1.0, 2.0, 3.0]),
            "out.label": np.array([0, 1, 0]),
            "status": np.array([200, 400, 200]),
        },
        3,
    )
    found = columns_of(batch)
    assert found["age"].tolist() == [1.0, 3.0]
    assert found["out.label"].tolist() == [0, 0]
    assert set(found) == {"age", "out.label"}
    whole = columns_of(Batch({"in.age": np.array([1.0])}, 1))
    assert whole["age"].tolist() == [1.0]


def test_kinds_can_be_said(reference):
    columns = {"code": np.arange(100) % 7, "note": CITIES[np.arange(100) % 3]}
    made = build(columns, Recipe(kinds={"code": Kind.CATEGORY, "note": Kind.TEXT}))
    derived = [f"note.{name}" for name in ("length", "words", "letters", "unknown")]
    assert [one.name for one in made.features] == ["code", *derived]
    assert made.feature("code").cells.form is Form.CATEGORY
    with pytest.raises(NotFoundError, match="no feature 'x'"):
        made.feature("x")
