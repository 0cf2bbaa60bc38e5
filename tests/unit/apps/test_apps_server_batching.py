"""Batching and ragged inputs as settings: given, refused by name, and passed on."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from modelworks.apps.server_batching import HELP, arguments_of
from modelworks.apps.server_models import policy_of
from modelworks.apps.server_settings import ServerSettings
from modelworks.cli.main import main
from modelworks.core.errors import InvalidError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.ragged import Ragged
from modelworks.core.served import BATCHING_BOUNDS, Batching, ServedList, ServedModel
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.ext.importers.huggingface import processors
from modelworks.ext.importers.huggingface.snapshot import Snapshot, Weights
from modelworks.intake import job
from modelworks.serving.lists import check

pytestmark = pytest.mark.unit
OTHER = Batching(7, 99, 1.5, 3, 250.0, 20.0)


def read(*arguments, **environ):
    return ServerSettings.read(arguments, {f"MODELWORKS_SERVER_{k}": v for k, v in environ.items()})


def served(settings):
    [model] = settings.single().models
    return model


def test_every_value_of_batching_is_an_option_with_bounds_and_help():
    names = [field.name for field in fields(Batching)]
    assert list(HELP) == list(BATCHING_BOUNDS) == names


def test_a_file_is_served_with_what_was_given():
    told = ["--file", "m.onnx", *arguments_of(OTHER), "--ragged", "mask:2,ids=1"]
    model = served(read(*told))
    assert model.batching == OTHER
    assert model.ragged == Ragged("mask", 2, (("ids", 1.0),))
    assert arguments_of(Batching()) == []
    assert served(read(FILE="m.onnx", MAX_DELAY_MS="2")).batching == Batching(max_delay_ms=2.0)


BAD = [
    ("max_batch_size", 0),
    ("max_batch_size", 65_537),
    ("max_queue_size", 0),
    ("max_delay_ms", -0.1),
    ("max_delay_ms", 60_001),
    ("max_delay_ms", float("nan")),
    ("priority_levels", 0),
    ("priority_levels", 33),
    ("timeout_ms", -1),
    ("timeout_ms", float("inf")),
    ("latency_goal_ms", -1),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_what_cannot_be_is_refused_by_its_name_everywhere(name, value, capsys):
    with pytest.raises(InvalidError) as caught:
        read(FILE="m.onnx", **{name.upper(): str(value)})
    assert caught.value.field == name
    batching = replace(Batching(), **{name: value})
    model = ServedModel("m", "1.0.0", "p", "d", batching=batching)
    with pytest.raises(InvalidError, match=f"models\\[0\\].batching.{name}: ") as caught:
        check(ServedList(1, (model,)))
    assert caught.value.field == f"models[0].batching.{name}"
    option = "--" + name.replace("_", "-")
    assert main(["serve", "--file", "m.onnx", option, str(value)]) != 0
    assert name in capsys.readouterr().err


def test_a_list_says_itself_which_of_its_models_are_ragged():
    with pytest.raises(InvalidError, match="goes with file") as caught:
        read(SERVED="list.json", RAGGED="mask")
    assert caught.value.field == "ragged"


def test_what_is_given_beside_a_list_is_for_all_its_models_and_the_rest_as_it_says():
    model = ServedModel("m", "1.0.0", "p", "d", batching=OTHER)
    taken = policy_of(read(SERVED="list.json")).line(model)
    assert taken.batching == OTHER
    policy = policy_of(read("--max-batch-size", "64", SERVED="list.json", TIMEOUT_MS="0"))
    assert policy.line(model).batching == replace(OTHER, max_batch_size=64, timeout_ms=0.0)
    with pytest.raises(InvalidError, match="max_batch_size: 0 is not from 1") as caught:
        read(SERVED="list.json", MAX_BATCH_SIZE="0")
    assert caught.value.field == "max_batch_size"


def spec(name, *shape):
    return TensorSpec(name, Datatype.INT64, shape)


IDS, MASK = spec("input_ids", None, None), spec("attention_mask", None, None)


@pytest.mark.parametrize(
    "ragged", [Ragged("who"), Ragged("fixed"), Ragged("attention_mask", values=(("who", 1.0),))]
)
def test_a_declaration_at_import_names_inputs_that_are_there(ragged):
    signature = Signature((IDS, MASK, spec("fixed", None, 3)), ())
    imported = Imported("onnx", "onnx", signature, None, {})
    with pytest.raises(InvalidError, match="such are input_ids, attention_mask") as caught:
        job._with_ragged(imported, ImportOptions(ragged=ragged))
    assert caught.value.field == "ragged"
    right = Ragged("attention_mask", values=(("input_ids", 1.0),))
    found = job._with_ragged(imported, ImportOptions(ragged=right))
    assert found.signature.ragged == right


def test_a_snapshot_that_takes_a_mask_declares_it_and_its_padding():
    def snapshot(**config):
        return Snapshot(Path(), Path(), config, Weights.ONNX, ())

    assert processors.ragged(snapshot(pad_token_id=1), (IDS, MASK)) == Ragged(
        "attention_mask", values=(("input_ids", 1.0),)
    )
    assert processors.ragged(snapshot(), (IDS, MASK)) == Ragged("attention_mask")
    assert processors.ragged(snapshot(), (IDS,)) is None
    assert processors.ragged(snapshot(), (spec("input_ids", None, 128), MASK)) is None
