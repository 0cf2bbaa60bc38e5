"""`modelworks shard`: what it leaves behind, and what it refuses."""

import json

import pytest

from modelworks.cli.commands.stages import shard
from modelworks.core.errors import ConflictError, InvalidError, ModelworksError
from modelworks.testing import onnx_models as models

pytestmark = pytest.mark.contract


@pytest.fixture
def model(tmp_path):
    (tmp_path / "big").mkdir()
    return models.heavy(tmp_path / "big" / "model.onnx", layers=4, width=8)


def told(*arguments):
    shard.main([str(one) for one in arguments], standalone_mode=False)


def test_a_folder_is_cut_and_so_is_its_file(tmp_path, model, capsys):
    for number, source in enumerate((model.parent, model)):
        into = tmp_path / f"cut-{number}"
        told(source, "--into", into, "--json")
        assert json.loads(capsys.readouterr().out)["into"] == str(into)
        assert (into / "stages.json").is_file()
    with pytest.raises(ConflictError, match="name a new folder"):
        told(model, "--into", into)
    assert (into / "stages.json").is_file()


def test_what_cannot_be_cut_leaves_nothing_and_may_be_tried_again(tmp_path, model):
    into = tmp_path / "cut"
    with pytest.raises(ModelworksError):
        told(model, "--into", into, "--stages", "16")
    assert not into.exists()
    told(model, "--into", into)
    assert (into / "stages.json").is_file()


def test_another_file_is_not_taken_for_the_one_beside_it(tmp_path, model):
    other = models.double(model.with_name("other.onnx"))
    with pytest.raises(InvalidError, match=r"a folder with model\.onnx is wanted"):
        told(other, "--into", tmp_path / "cut")
    assert not (tmp_path / "cut").exists()
