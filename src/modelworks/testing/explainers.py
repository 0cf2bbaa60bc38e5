"""Contract suite for explainers: subclass `ExplainerContract`, give it a model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelworks.core.errors import InvalidError, ModelworksError, UnavailableError
from modelworks.core.seams import Explainer, Explanation

_ROUNDING = 1e-5  # models compute in FP32


@dataclass(frozen=True, slots=True)
class Explained:
    """A linear model that the explainer takes, of at least four features.

    The first two features have the same weight and the same distribution in the background, and
    the last one has no weight: the closed form is known.

    Attributes:
        explainer: that is tested.
        predict: rows x features -> rows.
        weights: of it, one a feature.
        artifact: its file; None = the explainer needs none.
    """

    explainer: Explainer
    predict: Callable[[Any], Any]
    weights: tuple[float, ...]
    artifact: Path | None = None


class ExplainerContract:
    """What every explainer owes. Subclasses give a fixture `case`, an `Explained`."""

    def test_describes_itself(self, case: Explained) -> None:
        kind = type(case.explainer)
        assert kind() is not None
        assert kind.name
        assert kind.experimental in {True, False}

    def test_values_and_base_are_the_answer(self, case: Explained) -> None:
        rows, background = _tables(case)
        found = _explain(case, rows, background)
        assert found.additive
        total = np.asarray(found.values).sum(axis=1) + found.base
        assert np.allclose(total, _linked(found, case.predict(rows)), atol=10 * _ROUNDING)
        assert found.link or np.allclose(found.base, case.predict(background).mean(), atol=0.1)

    def test_is_the_closed_form_of_a_linear_model(self, case: Explained) -> None:
        rows, background = _tables(case)
        found = _explain(case, rows, background)
        expected = np.array(case.weights) * (rows - background.mean(axis=0))
        assert _within(found, expected)

    def test_features_that_do_the_same_get_the_same(self, case: Explained) -> None:
        rows, background = _tables(case)
        rows[:, 1] = rows[:, 0]
        background[:, 1] = background[:, 0]
        values = np.asarray(_explain(case, rows, background).values)
        assert np.allclose(values[:, 0], values[:, 1], atol=10 * _ROUNDING)

    def test_a_feature_that_does_nothing_gets_nothing(self, case: Explained) -> None:
        rows, background = _tables(case)
        values = np.asarray(_explain(case, rows, background).values)
        assert np.abs(values[:, -1]).max() < _ROUNDING
        assert np.abs(values[:, :-1]).max() > 100 * _ROUNDING

    def test_the_same_seed_gives_the_same(self, case: Explained) -> None:
        rows, background = _tables(case)
        first, second = (_explain(case, rows, background, seed=3) for _ in range(2))
        assert np.array_equal(first.values, second.values)

    def test_a_row_does_not_hang_on_its_neighbours(self, case: Explained) -> None:
        rows, background = _tables(case)
        together = np.asarray(_explain(case, rows, background).values)
        alone = np.asarray(_explain(case, rows[2:3], background).values)
        assert np.allclose(together[2], alone[0], atol=_ROUNDING)

    def test_names_the_columns(self, case: Explained) -> None:
        rows, background = _tables(case)
        names = tuple(f"feature {place}" for place in range(rows.shape[1]))
        assert _explain(case, rows, background, features=names).features == names

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"rows": np.zeros((0, 5))}, "rows"),
            ({"rows": np.zeros(5)}, "rows"),
            ({"background": np.zeros((3, 2))}, "background"),
            ({"background": "words"}, "background"),
            ({"seed": -1}, "seed"),
            ({"samples": "many"}, "samples"),
            ({"features": ("one",)}, "features"),
            ({"speed": 3}, "speed"),
        ],
    )
    def test_refuses_what_cannot_be(
        self, case: Explained, change: dict[str, Any], field: str
    ) -> None:
        rows, background = _tables(case)
        given = {"rows": rows, "background": background} | change
        with pytest.raises(InvalidError) as refused:
            _explain(case, **given)
        assert refused.value.field == field

    def test_a_model_that_fails_in_the_middle_ends_it(self, case: Explained) -> None:
        rows, background = _tables(case)
        asked = 0

        def failing(table: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked > 1:
                raise UnavailableError("the model went away")
            return case.predict(table)

        with pytest.raises(UnavailableError, match="went away"):
            case.explainer.explain(failing, rows, background, _options(case))

    def test_a_model_that_answers_too_little_is_told(self, case: Explained) -> None:
        rows, background = _tables(case)
        with pytest.raises(ModelworksError, match="rows"):
            case.explainer.explain(
                lambda table: case.predict(table)[:-1], rows, background, _options(case)
            )


def _tables(case: Explained) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    width = len(case.weights)
    background = rng.normal(size=(12, width)).astype(np.float32).astype(np.float64)
    return rng.normal(size=(4, width)).astype(np.float32).astype(np.float64), background


def _options(case: Explained) -> dict[str, Any]:
    return {} if case.artifact is None else {"artifact": case.artifact}


def _explain(case: Explained, rows: Any, background: Any, **options: Any) -> Explanation:
    return case.explainer.explain(case.predict, rows, background, _options(case) | options)


def _linked(found: Explanation, answers: Any) -> Any:
    if found.link == "logit":
        return np.log(answers / (1 - answers))
    return np.log(answers) if found.link == "log" else answers


def _within(found: Explanation, expected: Any) -> bool:
    """Whether values are the expected ones, to rounding or to their own errors."""
    error = np.zeros_like(expected) if found.error is None else np.nan_to_num(found.error)
    return bool((np.abs(found.values - expected) <= 100 * _ROUNDING + 4 * error).all())
