"""`modelworks.load` of a form of a version: by name, by goal, followed as the version is."""

import os

import pytest

import modelworks
from modelworks.control import forms
from modelworks.control.service import Factory
from modelworks.core.errors import InvalidError, NotFoundError, UnavailableError, UnsupportedError
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.testing import onnx_models
from modelworks.testing.candidates import candidate, measured, variant

pytestmark = pytest.mark.unit

HERE = forms.here().hardware
SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP32, (None, 3)),),
    (TensorSpec("y", Datatype.FP32, (None, 3)),),
    Layout.MATRIX,
)


@pytest.fixture
def factory(home):
    with Factory(home) as factory:
        yield factory


@pytest.fixture
def put(factory, tmp_path):
    """Publish `y = factor x` as the champion."""

    def put(factor):
        data = onnx_models.double(tmp_path / "model.onnx", factor=factor).read_bytes()
        return factory.publish(
            candidate(tmp_path / "candidate", data, alias="champion", signature=SIGNATURE)
        )

    return put


@pytest.fixture
def form(factory, tmp_path):
    """Keep `y = factor x` as a variant: another factor shows which form answers."""

    def form(version, name, factor, p99=100.0, kind=HERE, **more):
        folder = tmp_path / f"form-{name}"
        folder.mkdir(exist_ok=True)
        onnx_models.double(folder / "model.onnx", factor=factor)
        figures = {"measurement": measured(kind, p99), "source": measured(kind, 300.0)}
        return factory.add_variant(variant(version, name, **(figures | more)), folder)

    return form


@pytest.fixture
def load(home):
    opened = []

    def load(ref="fraud@champion", **more):
        opened.append(modelworks.load(ref, home=home.root, **({"poll": 0} | more)))
        return opened[-1]

    yield load
    for session in opened:
        session.close()


def answer(session):
    [row] = session.predict([[1, 2, 3]])
    return row["outputs"]["y"][0]


def test_a_form_is_named_by_the_reference_or_beside_it(put, form, load):
    version = put(2.0)
    form(version, "int8", 3.0)
    form(version, "int4", 4.0, p99=50.0)
    for given, name, value in (
        ({"ref": "fraud#int8"}, "int8", 3.0),
        ({"ref": "fraud:1.0.0#int8"}, "int8", 3.0),
        ({"ref": "fraud@champion#fastest"}, "int4", 4.0),
        ({"variant": "fastest"}, "int4", 4.0),
        ({"variant": "int8"}, "int8", 3.0),
        ({"ref": "fraud#int8", "variant": "fastest"}, "int8", 3.0),
        ({"ref": "fraud#source", "variant": "fastest"}, "", 2.0),
        ({}, "", 2.0),
    ):
        session = load(**given)
        assert (session.variant, answer(session)) == (name, value), given
        assert session.version == "1.0.0"


def test_what_cannot_be_meant_is_refused(put, form, load, monkeypatch):
    version = put(2.0)
    form(version, "elsewhere", 3.0, kind="abacus")
    run = Recipe((RecipeStep("litert"),), Execution("litert"))
    form(version, "small", 4.0, recipe=run)
    with pytest.raises(NotFoundError, match=r"fraud:1\.0\.0: no variant 'int8'"):
        load("fraud#int8")
    with pytest.raises(UnsupportedError, match="measured on 'abacus'"):
        load("fraud", variant="elsewhere")
    monkeypatch.setitem(forms._LIBRARIES, "litert", "no_such_library")
    with pytest.raises(UnsupportedError, match=r"pip install 'modelworks\[litert\]'"):
        load("fraud#small")
    with pytest.raises(InvalidError, match="cannot be called 'p99'"):
        load("fraud", variant="p99")
    assert load("fraud", variant="fastest").variant == ""  # nothing fits this machine


def test_a_named_form_is_followed_and_the_one_before_goes_on_without_it(put, form, load):
    form(put(2.0), "int8", 3.0)
    session = load("fraud@champion#int8")
    version = put(5.0)
    with pytest.raises(UnavailableError, match=r"version 1\.0\.0 goes on answering: .*no variant"):
        session.refresh()
    assert (session.version, session.variant, answer(session)) == ("1.0.0", "int8", 3.0)
    form(version, "int8", 6.0)
    assert session.refresh() == "1.1.0"
    assert (session.variant, answer(session), session.problem) == ("int8", 6.0, "")


def test_a_goal_means_another_form_when_the_version_moves_or_is_asked_for(factory, put, form, load):
    form(put(2.0), "int8", 3.0)
    session = load(variant="fastest")
    assert answer(session) == 3.0
    version = put(5.0)
    session.refresh()
    assert (session.version, session.variant, answer(session)) == ("1.1.0", "", 5.0)
    form(version, "int8", 6.0)
    session.refresh()
    assert (session.variant, answer(session)) == ("int8", 6.0)
    factory.delete("fraud:1.1.0#int8")
    assert answer(session) == 6.0
    session.refresh()
    assert (session.variant, answer(session)) == ("", 5.0)
    assert session.statistics().failures == 0


def test_the_child_of_a_fork_opens_the_same_form(put, form, load):
    form(put(2.0), "int8", 3.0)
    session = load("fraud#int8")
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, f"{session.variant} {answer(session)}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as said:
        assert said.read() == "int8 3.0"
    assert os.waitpid(child, 0)[1] == 0
