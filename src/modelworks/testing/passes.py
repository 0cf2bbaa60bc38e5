"""The contract of `Pass`: what every pass owes, whatever it does to a model.

A plug-in's test file is a fixture:

    class TestMyPass(PassContract):
        @pytest.fixture(scope="class")
        @classmethod
        def case(cls, tmp_path_factory): ...
"""

import importlib.metadata
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.optimizing.passes import Applied, Need, settled
from modelworks.core.optimizing.recipes import RecipeStep
from modelworks.core.optimizing.upgrades import checked
from modelworks.plugins.load import available, load
from modelworks.sandbox.limits import Limits
from modelworks.testing import pass_jobs
from modelworks.testing.pass_cases import (
    LONGEST_MESSAGE,
    PassCase,
    PassSource,
    answers,
    cut_short,
    distance,
    one_line,
    same_bytes,
    state,
    with_steps,
)

__all__ = ["PassCase", "PassContract", "PassSource"]
_SOURCES = {"onnx": "onnxruntime", "openvino": "openvino", "tflite": "litert"}
_KINDS = (bool, int, float, str, tuple)
_ROWS = (1, 2, 7, 16)
_FULL = 64  # bytes a file may have when the disk is full


def _source_engine(format_: str) -> str:
    """Name of an installed engine that runs a format."""
    first = _SOURCES.get(format_)
    names = [first] if first else sorted(available("engines"))
    return next(name for name in names if format_ in load("engines", name).formats)


class PassContract:
    """Inherit, and provide `case`."""

    @pytest.fixture(scope="class")
    @classmethod
    def applied(
        cls, case: PassCase, tmp_path_factory: pytest.TempPathFactory
    ) -> tuple[Path, Applied]:
        """The good source's result, made once."""
        into = tmp_path_factory.mktemp("into")
        return into, case.apply(into)

    @pytest.fixture
    def own_temporary(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """The only temporary folder there is, in a working folder that is empty."""
        folder, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
        folder.mkdir()
        elsewhere.mkdir()
        monkeypatch.setenv("TMPDIR", str(folder))
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.chdir(elsewhere)
        yield folder
        assert list(elsewhere.iterdir()) == []

    def test_it_says_what_it_is(self, case: PassCase) -> None:
        facts = case.step.facts
        assert facts.name == case.name
        assert facts.name.isascii()
        assert not set(" \t") & set(facts.name)
        assert facts.version >= 1
        assert facts.title
        assert facts.consumes
        if facts.verified:
            assert facts.produces in load("engines", facts.engine).formats
        assert all(importlib.metadata.version(name) for name in facts.libraries)
        if facts.extra:
            offered = importlib.metadata.metadata("modelworks").get_all("Provides-Extra") or []
            assert facts.extra in offered

    def test_its_settings_have_types_and_bounds(self, case: PassCase) -> None:
        facts = case.step.facts
        defaults = settled(facts, {})
        assert len(defaults) == len(facts.settings)
        for one in facts.settings:
            assert type(one.default) in _KINDS
            assert one.name.isidentifier()
            assert one.help
            assert "\n" not in one.help
            if type(one.default) in {int, float}:
                assert one.choices or (one.least is not None and one.most is not None), one.name

    def test_unknown_and_wrong_settings_are_refused(self, case: PassCase) -> None:
        facts = case.step.facts
        wrong: list[dict[str, Any]] = [{"no_such_setting": 1}]
        wrong += [{one.name: object()} for one in facts.settings]
        wrong += [{one.name: one.most * 2 + 1} for one in facts.settings if one.most is not None]
        wrong += [{one.name: "no such choice"} for one in facts.settings if one.choices]
        for given in wrong:
            with pytest.raises(InvalidError) as caught:
                settled(facts, given)
            assert caught.value.field in given

    def test_a_recipe_of_another_version_is_noted_or_refused(self, case: PassCase) -> None:
        facts = case.step.facts
        step = RecipeStep(facts.name, dict(case.settings), version=facts.version)
        raised = replace(facts, version=facts.version + 1)  # the same pass after an upgrade
        assert checked(step, facts) == ""
        assert f"{facts.name} {facts.version}, and here is {raised.version}" in checked(
            step, raised
        )
        gone = replace(step, settings={"no_such_setting": 1})
        with pytest.raises(InvalidError) as caught:
            checked(gone, raised)
        assert caught.value.field == "no_such_setting"
        assert one_line(caught.value)
        with pytest.raises(InvalidError) as caught:
            checked(replace(step, version=raised.version), facts)
        assert caught.value.field == "version"
        assert one_line(caught.value)

    def test_every_setting_changes_something(
        self, case: PassCase, tmp_path: Path, applied: tuple[Path, Applied]
    ) -> None:
        assert case.others.keys() | case.asked.keys() == {s.name for s in case.step.facts.settings}
        for name, given in case.asked.items():
            rest = {key: value for key, value in given.items() if key != name}
            whys = [case.step.fits(case.job(tmp_path / "asked", settings=s)) for s in (given, rest)]
            assert whys[0] != whys[1], f"{name} changes nothing"
        for name, given in case.others.items():
            rest = {key: value for key, value in given.items() if key != name}
            base = tmp_path / f"{name}-base" if rest else applied[0]
            if rest:
                case.apply(base, settings=rest)
            case.apply(tmp_path / name, settings=given)
            assert not same_bytes(base, tmp_path / name), f"{name} changes nothing"

    def test_it_fits_what_it_is_good_for(self, case: PassCase, tmp_path: Path) -> None:
        assert case.step.fits(case.job(tmp_path)) == ""
        assert list(tmp_path.iterdir()) == []

    def test_it_says_what_it_is_not_good_for(self, case: PassCase, tmp_path: Path) -> None:
        if case.unfit is None:
            return
        why = case.step.fits(case.job(tmp_path, case.unfit))
        assert 0 < len(why) <= LONGEST_MESSAGE
        assert "\n" not in why

    def test_it_writes_where_it_is_told_and_nowhere_else(
        self, case: PassCase, tmp_path: Path, own_temporary: Path
    ) -> None:
        before = state(case.good.folder)
        result = case.apply(tmp_path / "into")
        assert state(case.good.folder) == before
        assert list(own_temporary.iterdir()) == []
        assert any((tmp_path / "into").iterdir())
        assert result.format == case.step.facts.produces
        for text in result.notes:
            assert 0 < len(text) <= LONGEST_MESSAGE
            assert "\n" not in text

    def test_the_result_answers_as_the_source_does(
        self, case: PassCase, applied: tuple[Path, Applied]
    ) -> None:
        facts, signature = case.step.facts, case.good.signature
        if not facts.verified:
            return
        first = _source_engine(case.good.format)
        for rows in _ROWS:
            inputs = case.inputs(rows)
            wanted = answers(first, case.good.folder, signature, inputs)
            got = answers(facts.engine, applied[0], signature, inputs)
            assert distance(wanted, got) <= case.tolerance, rows

    def test_a_batch_of_n_is_n_batches_of_one(
        self, case: PassCase, applied: tuple[Path, Applied]
    ) -> None:
        facts, signature = case.step.facts, case.good.signature
        if not facts.verified:
            return
        inputs = case.inputs(7)
        together = answers(facts.engine, applied[0], signature, inputs)
        for row in range(7):
            one = {name: array[row : row + 1] for name, array in inputs.items()}
            single = answers(facts.engine, applied[0], signature, one)
            assert distance([each[row : row + 1] for each in together], single) <= case.alone

    def test_the_same_job_gives_the_same_bytes(
        self, case: PassCase, tmp_path: Path, applied: tuple[Path, Applied]
    ) -> None:
        again = case.apply(tmp_path)
        assert again.operators == applied[1].operators
        if not case.differs:
            assert same_bytes(tmp_path, applied[0])

    def test_operators_that_are_kept_stay_as_they_are(
        self, case: PassCase, tmp_path: Path, applied: tuple[Path, Applied]
    ) -> None:
        facts, operators = case.step.facts, applied[1].operators
        if not facts.keeps:
            return
        assert operators
        assert len(set(operators)) == len(operators)
        less = case.apply(tmp_path / "less", keep=operators[:1])
        assert set(less.operators) == set(operators) - {operators[0]}
        assert not same_bytes(tmp_path / "less", applied[0])
        case.apply(tmp_path / "none", keep=operators)
        inputs = case.inputs(5)
        source = _source_engine(case.good.format)
        wanted = answers(source, case.good.folder, case.good.signature, inputs)
        got = answers(facts.engine, tmp_path / "none", case.good.signature, inputs)
        assert distance(wanted, got) <= 1e-4
        with pytest.raises(InvalidError) as caught:
            case.apply(tmp_path / "nobody", keep=("no such operator",))
        assert caught.value.field == "keep"
        assert one_line(caught.value)

    def test_what_it_needs_is_asked_for(self, case: PassCase, tmp_path: Path) -> None:
        missing = {Need.ROWS: "calibration", Need.LABELS: "labels"}
        for need in case.step.facts.needs:
            without: dict[str, Any] = {missing[need]: None}
            with pytest.raises(InvalidError) as caught:
                case.apply(tmp_path / need, **without)
            assert caught.value.field == missing[need]
            assert one_line(caught.value)

    def test_other_formats_are_refused(self, case: PassCase, tmp_path: Path) -> None:
        with pytest.raises(InvalidError) as caught:
            case.step.apply(replace(case.job(tmp_path), format="no_such_format"))
        assert caught.value.field == "format"
        assert one_line(caught.value)

    def test_broken_models_are_told_in_one_line(self, case: PassCase, tmp_path: Path) -> None:
        broken = {**case.broken, **cut_short(case.good, tmp_path / "cut")}
        assert broken
        for place, (what, source) in enumerate(broken.items()):
            with pytest.raises(ModelworksError) as caught:
                case.apply(tmp_path / str(place), source)
            assert one_line(caught.value), what

    def test_steps_before_the_model_stay(self, case: PassCase, tmp_path: Path) -> None:
        stepped = with_steps(case.good, tmp_path / "stepped")
        case.apply(tmp_path / "into", stepped)
        for name in ("steps.json", "steps.onnx", "words.json"):
            made, given = tmp_path / "into" / name, stepped.folder / name
            assert made.read_bytes() == given.read_bytes(), name
        if not case.step.facts.verified:
            return
        inputs = case.inputs(3)
        inputs["sent"] = inputs.pop(case.good.signature.inputs[0].name)
        engine, first = case.step.facts.engine, _source_engine(case.good.format)
        wanted = answers(first, stepped.folder, stepped.signature, inputs)
        got = answers(engine, tmp_path / "into", stepped.signature, inputs)
        assert distance(wanted, got) <= case.tolerance

    def test_in_the_sandbox_it_does_the_same(
        self, case: PassCase, tmp_path: Path, applied: tuple[Path, Applied]
    ) -> None:
        job = case.job(tmp_path / "into")
        result = pass_jobs.apply(case.name, job, tmp_path, case.modules)
        assert result.operators == applied[1].operators
        if not case.differs:
            assert same_bytes(tmp_path / "into", applied[0])

    def test_a_full_disk_is_told_in_one_line(self, case: PassCase, tmp_path: Path) -> None:
        job, limits = case.job(tmp_path / "into"), Limits(file_bytes=_FULL)
        with pytest.raises(ModelworksError) as caught:
            pass_jobs.apply(case.name, job, tmp_path, case.modules, limits)
        assert one_line(caught.value)
        assert any(word in caught.value.message for word in ("file", "disk", "space"))

    def test_killed_in_the_middle_it_can_be_run_again(
        self, case: PassCase, tmp_path: Path, applied: tuple[Path, Applied]
    ) -> None:
        before = state(case.good.folder)
        job = case.job(tmp_path / "killed")
        pass_jobs.kill_in_the_middle(case.name, job, tmp_path, case.modules)
        assert state(case.good.folder) == before
        case.apply(tmp_path / "again")
        if not case.differs:
            assert same_bytes(tmp_path / "again", applied[0])
