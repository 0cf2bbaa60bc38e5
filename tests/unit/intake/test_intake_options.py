"""No option of an import is passed over in silence."""

from pathlib import Path

import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.imports import Exporter, ImportOptions
from modelworks.core.tensor import Datatype, Layout, TensorSpec
from modelworks.intake.job import Order, run
from modelworks.plugins.load import available, load
from modelworks.testing import onnx_models

pytestmark = pytest.mark.unit

GIVEN = {
    "inputs": ImportOptions(inputs=(TensorSpec("x", Datatype.FP32, (None, 3)),)),
    "factory": ImportOptions(factory="net.py:make"),
    "exporter": ImportOptions(exporter=Exporter.DYNAMO),
}


@pytest.mark.parametrize("name", sorted(available("importers")))
def test_an_importer_says_which_options_it_reads(name):
    assert load("importers", name).honours <= {
        "inputs", "layout", "factory", "runtime", "exporter",
    }  # fmt: skip


@pytest.mark.parametrize("option", GIVEN)
def test_an_option_that_the_importer_does_not_read_is_refused(tmp_path: Path, option):
    from modelworks.core import codec

    model = onnx_models.double(tmp_path / "double.onnx")
    (tmp_path / "into").mkdir()
    order = codec.encode(Order(model, tmp_path / "into", GIVEN[option]))
    with pytest.raises(InvalidError, match="means nothing") as caught:
        run(order, lambda _: None)
    assert caught.value.field == option
    assert list((tmp_path / "into").iterdir()) == []


def test_an_option_that_it_reads_is_not(tmp_path: Path):
    from modelworks.core import codec

    model = onnx_models.double(tmp_path / "double.onnx")
    (tmp_path / "into").mkdir()
    run(
        codec.encode(Order(model, tmp_path / "into", ImportOptions(layout=Layout.MATRIX))),
        lambda _: None,
    )
    assert list((tmp_path / "into").iterdir())
