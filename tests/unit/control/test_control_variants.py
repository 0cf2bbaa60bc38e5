"""Which form of a version a server gets: by name, by goal, on this hardware; and what guards it."""

import logging
import os
from pathlib import Path

import pytest

from modelworks.client import endpoints
from modelworks.control import forms
from modelworks.control.service import Factory
from modelworks.core.errors import ConflictError, InvalidError, NotFoundError, UnsupportedError
from modelworks.core.optimizing.recipes import Execution, Recipe, RecipeStep
from modelworks.testing.candidates import candidate, measured, variant

pytestmark = pytest.mark.unit

HERE = forms.here().hardware


@pytest.fixture
def factory(home):
    with Factory(home, actor="ada") as factory:
        yield factory


@pytest.fixture
def put(factory, tmp_path):
    def put(content=b"model", name="fraud", **more):
        return factory.publish(candidate(tmp_path / "work", content, name, **more))

    return put


@pytest.fixture
def form(factory, tmp_path):
    """Keep a variant of a version."""

    def form(version, name="int8", kind=HERE, p99=100.0, size=300, **more):
        folder = tmp_path / "forms" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(name.encode())
        figures = {
            "measurement": measured(kind, p99, size=size),
            "source": measured(kind, 300.0),
        }
        return factory.add_variant(variant(version, name, **(figures | more)), folder)

    return form


def brief(served):
    return [(model.name, model.version, model.variant) for model in served.models]


def test_a_reference_names_the_form(factory, put, form):
    version = put(alias="champion")
    run = Recipe((RecipeStep("int8"),), Execution("onnxruntime", (("arena", "off"),)))
    made = form(version, recipe=run)
    (model,) = factory.resolve(["fraud@champion#int8"]).models
    assert (model.name, model.version, model.variant) == ("fraud", "1.0.0", "int8")
    assert (model.digest, model.format) == (made.artifact.digest, "onnx")
    assert (model.engine, model.engine_options) == ("onnxruntime", {"arena": "off"})
    assert model.aliases == ("champion",)
    assert (Path(model.path) / "model.onnx").read_bytes() == b"int8"
    assert brief(factory.resolve(["fraud"])) == [("fraud", "1.0.0", "")]
    assert brief(factory.resolve(["fraud"], "int8")) == [("fraud", "1.0.0", "int8")]
    assert brief(factory.resolve(["fraud#source"], "int8")) == [("fraud", "1.0.0", "")]


def test_a_goal_means_a_form_and_it_is_said_why(factory, put, form):
    version = put()
    form(version, "quick", p99=50.0, size=900)
    form(version, "small", p99=200.0, size=100)
    said = []
    assert brief(factory.resolve(["fraud"], "fastest", said.append)) == [
        ("fraud", "1.0.0", "quick")
    ]
    assert said == [
        "fraud:1.0.0: fastest is quick: it betters the p99 of a call of 1 row 6.00 times"
    ]
    assert brief(factory.resolve(["fraud#smallest"])) == [("fraud", "1.0.0", "small")]


def test_where_none_fits_the_source_form_is_served_and_it_is_said_why(factory, put, form):
    form(put(), kind="abacus")
    said = []
    assert brief(factory.resolve(["fraud"], "fastest", said.append)) == [("fraud", "1.0.0", "")]
    assert "measured on 'abacus'" in said[0]
    with pytest.raises(UnsupportedError, match=r"fraud:1\.0\.0: variant 'int8' was measured on"):
        factory.resolve(["fraud#int8"])


def test_an_engine_that_nobody_installed_is_named(factory, put, form):
    form(put(), recipe=Recipe(run=Execution("quantum")))
    with pytest.raises(UnsupportedError, match="no engine 'quantum' is installed"):
        factory.resolve(["fraud#int8"])


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "litert", "by_rows", "native"])
def test_the_engines_that_are_here_are_not_missing(engine):
    assert forms.missing(engine) == ""


def test_a_library_that_is_not_there_is_named_with_the_cure(monkeypatch):
    monkeypatch.setitem(forms._LIBRARIES, "openvino", "no_such_library")
    assert "pip install 'modelworks[openvino]'" in forms.missing("openvino")


def test_one_server_has_one_form_of_a_version(factory, put, form):
    form(put(alias="champion"))
    with pytest.raises(InvalidError, match="asked for as 'int8' and as 'source'"):
        factory.resolve(["fraud#int8", "fraud@champion"])
    assert len(factory.resolve(["fraud#int8", "fraud@champion#int8"]).models) == 1


@pytest.mark.parametrize(
    ("ref", "kind"),
    [("fraud#int4", NotFoundError), ("fraud#p99", InvalidError), ("fraud#", InvalidError)],
)
def test_what_is_no_form_is_refused(factory, put, ref, kind):
    put()
    with pytest.raises(kind):
        factory.resolve([ref])


def test_up_follows_the_goal(factory, put, form):
    version = put()
    first = factory.desired(None, "fastest")
    assert brief(first) == [("fraud", "1.0.0", "")]
    assert factory.desired(first, "fastest") is first
    form(version, "small", p99=200.0)
    second = factory.desired(first, "fastest")
    assert (brief(second), second.generation) == ([("fraud", "1.0.0", "small")], 2)
    assert factory.desired(second, "fastest") is second
    form(version, "quick", p99=20.0)
    third = factory.desired(second, "fastest")
    assert brief(third) == [("fraud", "1.0.0", "quick")]
    assert brief(factory.desired(third)) == [("fraud", "1.0.0", "")]
    factory.delete("fraud#quick")
    assert brief(factory.desired(third, "fastest")) == [("fraud", "1.0.0", "small")]


def test_what_is_standing_is_not_read_again(factory, put, form, monkeypatch):
    form(put())
    served = factory.desired(None, "fastest")
    monkeypatch.setattr(factory._registry, "variants", None)
    assert factory.desired(served, "fastest") is served


def test_a_damaged_variant_is_not_served_and_its_version_is(factory, put, form, caplog):
    made = form(put())
    digest = made.artifact.files[0][1].removeprefix("sha256:")
    path = factory.home.blobs / "sha256" / digest[:2] / digest
    path.chmod(0o644)
    path.write_bytes(b"xxxx")
    with caplog.at_level(logging.ERROR):
        served = factory.desired(None, "fastest")
        for _ in range(3):
            assert factory.desired(served, "fastest") is served
    assert brief(served) == [("fraud", "1.0.0", "")]
    assert [record.message[:36] for record in caplog.records] == [
        "fraud:1.0.0#int8 is not served: mode"
    ]
    assert not factory.verify("fraud").ok


def test_a_damaged_copy_of_a_variant_is_dropped(factory, put, form):
    form(put())
    (model,) = factory.resolve(["fraud#int8"]).models
    file = Path(model.path) / "model.onnx"
    file.chmod(0o644)
    file.write_bytes(b"xxxx")
    assert factory.verify("fraud").ok  # what is stored is
    assert not file.exists()
    assert factory.resolve(["fraud#int8"]).models == (model,)
    assert file.read_bytes() == b"int8"


def test_a_variant_is_deleted_alone(factory, put, form):
    version = put()
    form(version)
    form(version, "small")
    assert factory.delete("fraud:1.0.0#int8") == ["fraud:1.0.0#int8"]
    assert [one.name for one in factory.variants("fraud")] == ["small"]
    with pytest.raises(NotFoundError):
        factory.delete("fraud:1.0.0#int8")
    subjects = [(one.act, one.subject) for one in factory.deploying.audited()]
    assert ("remove-variant", "variant/fraud:1.0.0#int8") in subjects
    assert factory.delete("fraud") == ["fraud:1.0.0"]


def test_what_a_server_was_told_to_serve_is_not_deleted(factory, put, form):
    form(put())
    told = ("churn", "fraud:1.0.0#int8")
    entry = endpoints.register(factory.home, "churn", "http://127.0.0.1:1", "serve", told)
    with pytest.raises(ConflictError, match=f"process {os.getpid()}"):
        factory.delete("fraud#int8")
    entry.unlink()
    assert factory.delete("fraud#int8") == ["fraud:1.0.0#int8"]


def test_a_file_of_a_variant_is_asked_for_by_its_reference(factory, put, form):
    form(put())
    assert factory.artifact_file("fraud:1.0.0#int8", "model.onnx").read_bytes() == b"int8"
    assert factory.artifact_file("fraud:1.0.0", "model.onnx").read_bytes() == b"model"
    with pytest.raises(NotFoundError, match=r"fraud:1\.0\.0#int8 has no file 'x'; it has model"):
        factory.artifact_file("fraud#int8", "x")
    with pytest.raises(NotFoundError, match="int4"):
        factory.artifact_file("fraud#int4", "model.onnx")
