"""A form of a version in the server: the engine's own settings reach it, the metadata names it."""

import json
from dataclasses import replace

import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.served import Isolation, ServedModel
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.protocol.oip import documents
from modelworks.serving import loading
from modelworks.serving.lists import essence
from modelworks.testing import onnx_models

pytestmark = pytest.mark.unit


@pytest.fixture
def served(tmp_path):
    path = onnx_models.double(tmp_path / "model.onnx")
    return ServedModel("m", "1.0.0", str(path), "", engine_options={"arena": "off"})


def test_the_engine_gets_its_settings(served, monkeypatch):
    seen = []

    class Engine:
        name, formats = "onnxruntime", ("onnx",)

        def load(self, path, options):
            seen.append((path.name, options.extra))
            raise InvalidError("enough is known")

    monkeypatch.setattr(loading.plugins, "load", lambda _group, _name: Engine)
    with pytest.raises(InvalidError, match="enough"):
        loading.load_model(served, 1)
    assert seen == [("model.onnx", (("arena", "off"),))]


def test_in_a_process_of_its_own_the_engine_gets_them_too(served):
    engine, settings = loading._engine(replace(served, isolation=Isolation.PROCESS))
    assert engine.name == "isolated"
    assert settings == (("arena", "off"), ("engine", "onnxruntime"), ("format", "onnx"))


@pytest.mark.parametrize("options", [{"no_such": "1"}, {"arena": "sometimes"}])
def test_one_that_it_does_not_know_is_refused(served, options):
    with pytest.raises(InvalidError, match=next(iter(options))):
        loading.load_model(replace(served, engine_options=options), 1)


def test_other_settings_make_a_reload_necessary_another_name_does_not(served):
    assert essence(served) == essence(replace(served, variant="int8"))
    assert essence(served) != essence(replace(served, engine_options={}))


def test_the_metadata_names_the_form_that_answers():
    spec = TensorSpec("x", Datatype.FP32, (None, 3))
    told = ("m", ["1.0.0"], "onnx", "onnxruntime", Signature((spec,), (spec,)))
    assert "parameters" not in json.loads(documents.model_metadata(*told))
    found = json.loads(documents.model_metadata(*told, "int8"))
    assert found["parameters"] == {"variant": "int8"}
