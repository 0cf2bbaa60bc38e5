"""Spoiled rows: each way does what it says, and what it does to a known model is known."""

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.evaluation.perturbations import KINDS, perturbations
from modelworks.evaluation.robustness import Said, robustness


def table(rows=400):
    rng = np.random.default_rng(0)
    words = np.empty(rows, object)
    words[:] = rng.choice(["north", "south", "east"], rows).tolist()
    return {
        "a": rng.normal(size=rows),
        "b": rng.normal(5, 2, rows),
        "n": rng.integers(0, 50, rows),
        "on": rng.random(rows) < 0.5,
        "place": words,
    }


def by(columns, kind):
    return [way for way in perturbations(columns) if way.kind == kind]


def changed(way, columns):
    return way.change(columns, np.random.default_rng(1))


def sign(columns):
    """A model that looks at `a` alone."""
    return Said((columns["a"] > 0).tolist(), np.abs(np.nan_to_num(columns["a"])))


def test_noise_has_the_size_that_it_says():
    columns = table(4000)
    spoiled = changed(by(columns, "noise")[2], columns)
    assert (spoiled["b"] - columns["b"]).std() == pytest.approx(0.25 * columns["b"].std(), rel=0.1)
    assert spoiled["n"].dtype == np.int64
    assert (spoiled["place"] == columns["place"]).all()


@pytest.mark.parametrize("kind", ["missing", "swap_rows", "typos"])
def test_shares_of_cells_are_what_they_say(kind):
    columns = table(4000)
    for way in by(columns, kind):
        spoiled = changed(way, columns)
        found = np.array(
            [one != two for one, two in zip(spoiled["place"], columns["place"], strict=True)]
        )
        same = 2 / 3 if kind == "swap_rows" else 1.0  # a third of the others is the same place
        assert found.mean() == pytest.approx(same * way.intensity, abs=0.03)


def test_missing_numbers_are_nan_and_missing_texts_none():
    columns = table()
    spoiled = changed(by(columns, "missing")[-1], columns)
    assert np.isnan(spoiled["n"]).sum() > 100
    assert sum(cell is None for cell in spoiled["place"]) > 100
    assert not any(cell is None for cell in columns["place"])


def test_scale_takes_one_column_at_a_time():
    columns = table()
    ways = by(columns, "scale")
    assert {way.column for way in ways} == {"a", "b", "n"}
    spoiled = changed(next(w for w in ways if (w.column, w.intensity) == ("b", 1000.0)), columns)
    assert spoiled["b"] == pytest.approx(1000 * columns["b"])
    assert spoiled["a"] is columns["a"]


def test_columns_of_one_type_are_exchanged():
    columns = table()
    ways = by(columns, "swap_columns")
    assert [way.column for way in ways] == ["a, b"]
    spoiled = changed(ways[0], columns)
    assert spoiled["a"] is columns["b"]


def test_a_model_is_only_as_shaken_as_what_it_looks_at():
    found = robustness(table(), sign)
    flips = {(s.kind, s.intensity, s.column): s.flipped for s in found.shaken}
    assert flips["typos", 0.5, ""].value == 0
    assert flips["scale", 1000.0, "b"].value == 0
    assert flips["scale", 1000.0, "a"].value == 0  # a factor does not change the sign
    assert flips["swap_columns", 2, "a, b"].low > 0.3
    noise = [flips["noise", size, ""].value for size in (0.05, 0.1, 0.25, 0.5, 1.0)]
    assert noise == sorted(noise)
    # The angle between a and a + noise: arctan(size) / pi of the rows change their sign.
    assert flips["noise", 1.0, ""].low < 0.25 < flips["noise", 1.0, ""].high
    assert flips["swap_rows", 0.5, ""].low < 0.25 < flips["swap_rows", 0.5, ""].high


def test_quality_is_lost_row_by_row():
    columns = table()
    truth = (columns["a"] > 0).tolist()
    found = robustness(columns, sign, truth)
    assert found.quality.value == 1
    for shaken in found.shaken:
        assert shaken.lost.value == pytest.approx(shaken.flipped.value)
        assert shaken.lost.low <= shaken.lost.value <= shaken.lost.high


def test_numbers_have_errors_and_no_flips():
    columns = table()
    found = robustness(columns, lambda c: Said(None, 2 * c["b"]), 2 * columns["b"])
    scaled = next(s for s in found.shaken if (s.kind, s.column) == ("scale", "b"))
    assert scaled.flipped is None
    assert scaled.moved.value == pytest.approx(np.abs(2 * columns["b"] * 0.999).mean())
    assert scaled.lost.value == pytest.approx(scaled.moved.value)
    assert found.quality.value == 0


def test_a_refusal_is_an_answer_too():
    def strict(columns):
        if any(np.isnan(c).any() for c in columns.values() if c.dtype.kind == "f"):
            raise InvalidError("null is not accepted by this model", field="rows[0].a")
        return sign(columns)

    found = robustness(table(), strict)
    refused = [s for s in found.shaken if s.refused]
    assert {s.kind for s in refused} == {"missing"}
    assert refused[0].flipped is None


def test_the_same_seed_gives_the_same_and_kinds_do_not_disturb_each_other():
    columns = table()
    assert robustness(columns, sign) == robustness(columns, sign)
    alone = robustness(columns, sign, kinds=("noise",)).shaken
    assert alone == tuple(s for s in robustness(columns, sign).shaken if s.kind == "noise")
    assert robustness(columns, sign, seed=1) != robustness(columns, sign)
    assert {s.kind for s in robustness(columns, sign).shaken} == set(KINDS)


def test_unknown_kinds_and_refused_good_rows_are_errors():
    with pytest.raises(InvalidError, match="no kind 'fire'"):
        robustness(table(), sign, kinds=("fire",))

    def never(_columns):
        raise InvalidError("no")

    with pytest.raises(InvalidError, match="no"):
        robustness(table(), never)
