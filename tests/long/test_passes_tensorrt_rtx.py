"""TensorRT-RTX parses and serialises a graph without a GPU; where it is installed.

pip install tensorrt-rtx==1.7.1.116
"""

import json

import pytest
from onnx import helper

from modelworks.core.errors import UnsupportedError
from modelworks.ext.passes import tensorrt_network
from modelworks.testing import pass_models
from modelworks.testing.passes import PassCase
from pass_graphs import graph

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _builder():
    """Asked when a test runs: a skip while tests are collected fails every run with CI=true."""
    pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx==1.7.1.116")


def case(source):
    return PassCase("tensorrt_plan", source, pass_models.token_rows, 0.0, {}, None, {})


@pytest.mark.parametrize("make", [pass_models.mlp, pass_models.cnn, pass_models.attention])
def test_networks_are_parsed_and_serialised(tmp_path, make):
    result = case(make(tmp_path / "source")).apply(tmp_path / "into")
    proved = json.loads((tmp_path / "into" / "plan.json").read_text())["proved"]
    assert proved["bytes"] > 1000
    assert proved["by"].startswith("tensorrt-rtx ")
    assert "it was not run" in result.notes[0]


def test_what_it_refuses_is_told_in_one_line(tmp_path):
    """Asked without what is known beforehand: a text is nothing that it computes with."""
    node = helper.make_node("StringNormalizer", ["x"], ["y"])
    source = graph(tmp_path / "source", [node])
    with pytest.raises(UnsupportedError, match="TensorRT-RTX refuses the graph") as caught:
        tensorrt_network.built(source.folder, (), "tensorrt_plan")
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300
