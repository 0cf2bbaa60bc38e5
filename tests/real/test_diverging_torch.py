"""A PyTorch network that is exported otherwise than it runs: the module at fault is named."""

import numpy as np
import pytest

from desk import Desk

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

FACTORY = '''
import torch
from torch import nn


class Wrong(nn.Module):
    """Answers otherwise while it is exported."""

    def forward(self, x):
        if torch.compiler.is_exporting() or torch.jit.is_tracing():
            return torch.relu(x)
        return torch.sigmoid(x)


class Cut(nn.Module):
    """Wrong beyond 30 only, which numbers drawn at random do not reach."""

    def forward(self, x):
        if torch.compiler.is_exporting() or torch.jit.is_tracing():
            return x.clamp(-30, 30)
        return x


class Block(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.act = act

    def forward(self, x):
        return self.act(self.conv(x))


class Net(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.layers = nn.Sequential(Block(nn.ReLU()), Block(act))
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.layers(self.stem(x)).mean((2, 3)))


def made(act):
    torch.manual_seed(0)
    return Net(act).eval()


def wrong():
    return made(Wrong())


def cut():
    return made(Cut())
'''
INPUT = ("--input", "x:FP32[-1,3,8,8]")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Two networks, saved as weights, and what builds them."""
    import torch

    desk = Desk(tmp_path_factory.mktemp("networks"))
    (desk.folder / "factory.py").write_text(FACTORY)
    names: dict = {}
    exec(FACTORY, names)
    torch.save(names["wrong"]().state_dict(), desk.folder / "wrong.pt")
    torch.save(names["cut"]().state_dict(), desk.folder / "cut.pt")
    large = np.random.default_rng(0).normal(size=(20, 3, 8, 8)) * 200
    np.save(desk.folder / "large.npy", large.astype("f4"))
    return desk


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_the_module_whose_export_is_wrong_is_named(desk: Desk, exporter):
    words = ("--factory", "factory.py:wrong", *INPUT, "--exporter", exporter)
    done = desk.mw("import", "wrong.pt", "--name", "wrong", *words, code=4)
    assert "it answers otherwise" in done.err
    assert "they part first at the module layers.1.act (Wrong)" in done.err
    assert len(done.err.splitlines()[-1]) < 700


def test_a_parity_check_that_fails_later_names_it_too(desk: Desk):
    words = ("--factory", "factory.py:cut", *INPUT, "--exporter", "torchscript")
    words = ("import", "cut.pt", "--name", "cut", *words, "--sample", "large.npy")
    desk.mw(*words, "--accept-difference")
    told = desk.mw("show", "cut", "--json").json
    parity = next(one for one in told["evidence"] if one["kind"] == "parity")
    assert parity["verdict"] == "accepted"
    assert "they part first at the module layers.1.act (Cut)" in parity["summary"]


def test_modules_are_read_from_the_names_of_operators():
    from modelworks.ext.importers.torch.parting import module_of

    assert module_of("/layer1/layer1.0/conv/Conv") == "layer1.0.conv"
    assert module_of("/layer1.0.conv/conv2d_1") == "layer1.0.conv"
    assert module_of("/inner/stem/Conv") == "stem"
    assert module_of("/ReduceMean") == ""
    assert module_of("") == ""
