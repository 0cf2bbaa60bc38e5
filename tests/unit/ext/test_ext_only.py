"""Which file a path means, and what engines compare before they load it."""

import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.ext.engines.agreement import agree
from modelworks.ext.importers.only import only_file

pytestmark = pytest.mark.unit


def test_a_file_is_itself_whatever_its_name(tmp_path):
    file = tmp_path / "model"
    file.touch()
    assert only_file(file, ".onnx") == file


def test_a_folder_means_its_only_file_of_the_ending_or_the_favourite(tmp_path):
    assert only_file(tmp_path / "away", ".onnx") is None
    assert only_file(tmp_path, ".onnx") is None
    (tmp_path / "a.onnx").touch()
    (tmp_path / "a.txt").touch()
    assert only_file(tmp_path, ".onnx") == tmp_path / "a.onnx"
    (tmp_path / "model.onnx").touch()
    assert only_file(tmp_path, ".onnx") is None
    assert only_file(tmp_path, ".onnx", "model.onnx") == tmp_path / "model.onnx"


def _signature(shape=(None, 3), datatype=Datatype.FP32, output="y"):
    return Signature(
        (TensorSpec("x", datatype, shape),), (TensorSpec(output, Datatype.FP32, (None, 1)),)
    )


def test_datatypes_are_compared_always_and_shapes_where_that_is_asked():
    agree(_signature(), _signature((1, 3)))
    with pytest.raises(InvalidError, match=r"x.*FP32\[-1, 3\] and native.json has FP32\[1, 3\]"):
        agree(_signature(), _signature((1, 3)), "native.json", shapes=True)
    with pytest.raises(InvalidError, match=r"x.*registered as FP32 and the file has FP64"):
        agree(_signature(), _signature(datatype=Datatype.FP64))
    with pytest.raises(InvalidError, match="'y' is registered as FP32 and the file has none of"):
        agree(_signature(), _signature(output="z"))


def test_an_input_that_is_not_registered_is_named():
    own = Signature((*_signature().inputs, TensorSpec("w", Datatype.FP32, ())), ())
    with pytest.raises(InvalidError, match="the file wants input 'w'") as caught:
        agree(Signature(_signature().inputs, ()), own)
    assert caught.value.field == "w"
