"""The contract of `Viewer`: what is seen inside of a form is what the form computes.

A plug-in's test file is a fixture:

    class TestMyViewer(ViewerContract):
        @pytest.fixture
        def case(self, tmp_path): ...
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelworks.core.errors import InvalidError, ModelworksError, UnsupportedError
from modelworks.core.seams import Engine, EngineOptions, View, Viewer
from modelworks.core.tensor import Signature
from modelworks.plugins.load import load


@dataclass(frozen=True)
class ViewerCase:
    """What a viewer's test provides.

    Attributes:
        format: whose viewer it is; its entry point.
        engine: that serves the format.
        folder: with a form whose first axis is free and whose values are floats.
        signature: of it.
        inputs: some rows.
        inner: name of a value inside, and what it is on these rows.
        damaged: a folder with a file of that format that is cut short.
    """

    format: str
    engine: str
    folder: Path
    signature: Signature
    inputs: dict[str, Any]
    inner: tuple[str, Any]
    damaged: Path


class ViewerContract:
    """See the module."""

    def opened(self, case: ViewerCase) -> View:
        """The form, opened."""
        viewer: Viewer = load("viewers", case.format)()
        assert case.format in viewer.formats
        return viewer.open(case.folder, EngineOptions(threads=1, signature=case.signature))

    def test_the_ends_are_the_signatures_and_what_the_engine_answers(
        self, case: ViewerCase
    ) -> None:
        view = self.opened(case)
        names = [spec.name for spec in case.signature.outputs]
        assert sorted(view.inside.outputs) == sorted(names)
        assert sorted(view.inside.inputs) == sorted(s.name for s in case.signature.inputs)
        engine: Engine = load("engines", case.engine)()
        session = engine.load(case.folder, EngineOptions(threads=1, signature=case.signature))
        wanted = dict(zip(names, session.infer(case.inputs), strict=True))
        session.close()
        for served in (True, False):
            found = view.watch(names, served=served)(case.inputs)
            for name in names:
                np.testing.assert_allclose(found[name], wanted[name], rtol=1e-3, atol=1e-4)

    def test_each_operator_stands_after_those_that_it_reads(self, case: ViewerCase) -> None:
        inside = self.opened(case).inside
        known = {*inside.inputs, *inside.constants, ""}
        for one in inside.operators:
            assert known.issuperset(one.inputs), one.title
            known.update(one.outputs)
        assert known.issuperset(inside.outputs)
        assert inside.bits in {4, 8, 16, 32}

    def test_a_value_inside_is_what_the_graph_says(self, case: ViewerCase) -> None:
        name, wanted = case.inner
        found = self.opened(case).watch([name], served=False)(case.inputs)
        np.testing.assert_allclose(found[name], wanted, rtol=1e-3, atol=1e-4)

    def test_values_at_once_are_those_one_by_one_in_any_number_of_rows(
        self, case: ViewerCase
    ) -> None:
        view = self.opened(case)
        names = [name for one in view.inside.operators for name in one.outputs if name]
        all_ = view.watch(names, served=False)(case.inputs)
        first = {name: array[:1] for name, array in case.inputs.items()}
        rows = len(next(iter(case.inputs.values())))
        assert case.inner[0] in all_
        for name in sorted(all_)[:12]:
            alone = view.watch([name], served=False)
            np.testing.assert_allclose(alone(case.inputs)[name], all_[name], rtol=1e-3, atol=1e-4)
            if all_[name].shape[:1] == (rows,):
                one = alone(first)[name]
                np.testing.assert_allclose(one, all_[name][:1], rtol=1e-3, atol=1e-4)

    def test_what_is_stored_and_what_is_given_can_be_looked_at(self, case: ViewerCase) -> None:
        view = self.opened(case)
        stored, given = min(view.inside.constants), view.inside.inputs[0]
        found = view.watch([stored, given], served=False)(case.inputs)
        assert np.asarray(found[stored]).dtype.kind in "fiub"
        np.testing.assert_array_equal(found[given], case.inputs[given])

    def test_what_is_served_shows_its_inside_or_says_that_it_does_not(
        self, case: ViewerCase
    ) -> None:
        name, wanted = case.inner
        view = self.opened(case)
        try:
            look = view.watch([name], served=True)
        except UnsupportedError:
            return
        np.testing.assert_allclose(look(case.inputs)[name], wanted, rtol=1e-2, atol=1e-3)

    def test_damaged_files_and_rows_of_another_shape_are_refused_in_one_line(
        self, case: ViewerCase
    ) -> None:
        viewer: Viewer = load("viewers", case.format)()
        with pytest.raises(ModelworksError) as caught:
            viewer.open(case.damaged, EngineOptions(threads=1))
        assert "\n" not in caught.value.message
        look = self.opened(case).watch(self.opened(case).inside.outputs, served=False)
        wrong = {
            name: np.concatenate([array, array[..., :1]], axis=-1)
            for name, array in case.inputs.items()
        }
        with pytest.raises(InvalidError) as refused:
            look(wrong)
        assert "\n" not in refused.value.message
