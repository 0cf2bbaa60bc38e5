"""Networks of PyTorch by both of its exporters, in LiteRT."""

import warnings

import pytest

from litert_graphs import same
from modelworks.core.optimizing.passes import PassJob
from modelworks.core.seams import EngineOptions
from modelworks.plugins.load import load

pytestmark = pytest.mark.real


def nets():
    from torch import nn

    dense = nn.Sequential(
        nn.Linear(64, 32), nn.BatchNorm1d(32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 32),
        nn.SiLU(), nn.Dropout(), nn.Linear(32, 10), nn.Softmax(-1),
    )  # fmt: skip
    images = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, groups=8, stride=2, padding=1), nn.ReLU6(),
        nn.Conv2d(8, 12, 1), nn.Hardswish(), nn.Flatten(), nn.Linear(48, 10),
    )  # fmt: skip
    return {"dense": dense.eval(), "images": images.eval()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["dense", "images"])
@pytest.mark.parametrize("opset", [17, 20, None])
def test_what_pytorch_exports_says_the_same(tmp_path, name, opset):
    import torch

    torch.manual_seed(0)
    rows, ends = torch.zeros(2, 64), {"input_names": ["x"], "output_names": ["y"]}
    for folder in ("source", "into"):
        (tmp_path / folder).mkdir()
    file = tmp_path / "source" / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if opset is None:  # the newer exporter
            torch.onnx.export(
                nets()[name], (rows,), file, dynamo=True, verbose=False, **ends,
                dynamic_shapes=({0: torch.export.Dim("rows")},),
            )  # fmt: skip
        else:
            free = {"x": {0: "rows"}, "y": {0: "rows"}}
            torch.onnx.export(
                nets()[name], (rows,), file, dynamo=False, opset_version=opset, dynamic_axes=free,
                **ends,
            )  # fmt: skip
    signature = load("engines", "onnxruntime")().load(file, EngineOptions()).signature
    job = PassJob(tmp_path / "source", "onnx", tmp_path / "into", signature)
    step = load("passes", "litert")()
    assert step.fits(job) == ""
    step.apply(job)
    same(job)
