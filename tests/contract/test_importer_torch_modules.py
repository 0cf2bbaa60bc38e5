"""Whole pickled PyTorch modules against the contract of all importers: by the owner's word only."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.imports import ImportOptions, Runtime
from modelworks.core.native import read_native
from modelworks.core.scans import Danger
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.testing.importers import Bad, Good, ImporterContract

pytestmark = [
    pytest.mark.contract,
    pytest.mark.real,
    # of torch itself, about its own exporter
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
pytest.importorskip("torch")

INPUT = (TensorSpec("x", Datatype.FP32, (None, 4)),)
LAYERS = """
import torch


class Half(torch.nn.Module):
    def forward(self, x):
        return x / 2
"""
TRAIN = """
import sys

import torch
from contract_layers import Half


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 3)
        self.halve = Half()

    def forward(self, x):
        return self.halve(torch.relu(self.layer(x)))


if __name__ == "__main__":
    folder = sys.argv[1]
    torch.manual_seed(0)
    net = Net().eval()
    rows = torch.randn(16, 4)
    old = {"_use_new_zipfile_serialization": False}
    torch.save(net, folder + "/script.pt")
    torch.save(net, folder + "/script-old.pt", **old)
    Net.__module__ = Net.__qualname__ and "contract_net"
    sys.modules["contract_net"] = sys.modules["__main__"]
    torch.save(net, folder + "/module.pt")
    sequence = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(1)).eval()
    torch.save(sequence, folder + "/sequence.pt")
    torch.save(sequence, folder + "/sequence-old.pt", **old)
    torch.save({"state_dict": net.state_dict(), "shape": net.halve}, folder + "/checkpoint.pt")
    torch.save(rows, folder + "/rows.pt")
    torch.save(net(rows).detach(), folder + "/said.pt")
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """What a training script of the user's saved, in a process of its own."""
    folder = tmp_path_factory.mktemp("saved")
    code = folder / "code"
    code.mkdir()
    (code / "contract_layers.py").write_text(LAYERS)
    (code / "contract_net.py").write_text(TRAIN)
    command = [sys.executable, "-W", "ignore", code / "contract_net.py", folder]
    subprocess.run(command, check=True, timeout=100)
    return folder


@pytest.fixture(scope="module")
def trusted(saved):
    return ImportOptions(inputs=INPUT, trust=True, factory=f"{saved}/code/contract_net.py:Net")


@pytest.fixture
def importer():
    from modelworks.ext.importers.torch import TorchImporter

    return TorchImporter()


class Gadget:
    """Pickles itself as a call of the shell."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


class TestTorchModules(ImporterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def importer(cls):
        from modelworks.ext.importers.torch import TorchImporter

        return TorchImporter()

    @pytest.fixture(scope="class")
    @classmethod
    def goods(cls, saved, trusted):
        import torch

        rows = {"x": torch.load(saved / "rows.pt").numpy()}
        plain = replace(trusted, factory="")
        return [
            Good(saved / "sequence.pt", "torch-module", rows, plain),
            Good(saved / "sequence-old.pt", "torch-legacy", rows, plain),
            Good(saved / "script.pt", "torch-module", rows, trusted),
            Good(saved / "script-old.pt", "torch-legacy", rows, trusted),
            Good(saved / "module.pt", "torch-module", rows, trusted),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def bads(cls, saved, trusted, tmp_path_factory):
        import torch

        folder = tmp_path_factory.mktemp("bad")
        canary = folder / "canary"
        old = {"_use_new_zipfile_serialization": False}
        torch.save(Gadget(canary), folder / "gadget.pt")
        torch.save([Gadget(canary)], folder / "gadget-old.pt", **old)
        (folder / "other.py").write_text("import contract_layers\n")
        (folder / "broken.py").write_text("1 / 0\n")
        plain = replace(trusted, factory="")
        other = saved / "code" / "contract_layers.py"
        return [
            Bad(saved / "sequence.pt", "--trust opens it", None, ImportOptions(inputs=INPUT)),
            Bad(saved / "script.pt", "--factory FILE.py:Net", None, plain),
            Bad(saved / "script-old.pt", "--factory FILE.py:Net", None, plain),
            Bad(saved / "module.pt", "no module contract_net is installed", None, plain)
            if "contract_net" not in sys.modules
            else Bad(saved / "script.pt", "--factory FILE.py:Net", None, plain),
            Bad(saved / "script.pt", "does not define it", None,
                replace(trusted, factory=f"{other}:Half")),
            Bad(saved / "script.pt", "has no Other", None,
                replace(trusted, factory=f"{other}:Other")),
            Bad(saved / "script.pt", "ZeroDivision", None,
                replace(trusted, factory=f"{folder}/broken.py:Net")),
            Bad(folder / "gadget.pt", "dangerous", canary, plain),
            Bad(folder / "gadget-old.pt", "dangerous", canary, plain),
            Bad(saved / "sequence.pt", "--input", None, ImportOptions(trust=True)),
        ]  # fmt: skip

    @pytest.fixture(scope="class")
    @classmethod
    def foreign(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("foreign")
        np.savez(folder / "arrays.npz", a=np.zeros(3))
        (folder / "model.onnx").write_bytes(b"\x08\x08\x12\x07pytorch")
        return sorted(folder.iterdir())

    def test_the_owners_word_is_in_the_scan(self, reads):
        for read in reads:
            scan = read.imported.scan
            assert scan.opened
            assert scan.danger is Danger.UNKNOWN
            assert any("torch.nn." in finding.name for finding in scan.of(Danger.UNKNOWN))


def test_the_module_answers_what_it_answered_in_training(importer, saved, trusted, tmp_path):
    import torch

    imported = importer.read(saved / "script.pt", tmp_path, trusted)
    found = imported.predict({"x": torch.load(saved / "rows.pt").numpy()})
    np.testing.assert_allclose(found["output"], torch.load(saved / "said.pt"), rtol=1e-5)


def test_a_checkpoint_of_more_than_tensors_gives_its_weights(importer, saved, trusted, tmp_path):
    imported = importer.read(saved / "checkpoint.pt", tmp_path, trusted)
    assert any("'state_dict' of a checkpoint" in note for note in imported.notes)


def test_a_module_is_kept_as_it_is_with_its_code(importer, saved, trusted, tmp_path):
    import torch

    from modelworks.plugins.load import load

    options = replace(trusted, runtime=Runtime.NATIVE)
    imported = importer.read(saved / "script.pt", tmp_path, options)
    assert imported.format == "native"
    model = read_native(tmp_path)
    answer = load("loaders", model.loader)().load(tmp_path, model)
    found = answer({"x": torch.load(saved / "rows.pt").numpy()})
    np.testing.assert_allclose(found["output"], torch.load(saved / "said.pt"), rtol=1e-5)
    assert (tmp_path / "code" / "contract_layers.py").is_file()
