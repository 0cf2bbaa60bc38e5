"""PyTorch's importer against the contract of all importers; the slow exporter is in tests/real."""

import io
import json
import os
import pickle
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.imports import ImportOptions
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.testing.importers import Bad, Good, ImporterContract

pytestmark = [
    pytest.mark.contract,
    # of torch itself, when the tests write TorchScript
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]
pytest.importorskip("torch")

INPUT = (TensorSpec("x", Datatype.FP32, (None, 1, 8, 8)),)


class Gadget:
    """Pickles itself as a call of the shell."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def network():
    from torch import nn

    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)).eval()


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def program(path: Path, **changes) -> Path:
    """The outline of an exported program, with one thing wrong."""
    node = {"target": "torch.ops.aten.relu.default", "inputs": [], "outputs": []}
    node |= changes.get("node", {})
    document = {"graph_module": {"graph": {"nodes": [node]}}} | changes.get("document", {})
    members = {
        "m/archive_format": b"pt2",
        "m/models/model.json": json.dumps(document).encode(),
        "m/data/weights/model_weights_config.json": b'{"config": {}}',
    }
    return archive(path, members | changes.get("members", {}))


class TestTorch(ImporterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def importer(cls):
        from modelworks.ext.importers.torch import TorchImporter

        return TorchImporter()

    @pytest.fixture(scope="class")
    @classmethod
    def goods(cls, tmp_path_factory):
        import torch

        folder = tmp_path_factory.mktemp("torch")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.script(network()).save(str(folder / "script.pt"))
        rows = np.random.default_rng(0).standard_normal((16, 1, 8, 8)).astype(np.float32)
        np.save(folder / "rows.npy", rows)
        return [
            Good(folder / "script.pt", "torch-script", {"x": rows}, ImportOptions(inputs=INPUT)),
            Good(
                folder / "script.pt",
                "torch-script",
                {"input": rows},
                ImportOptions(sample=folder / "rows.npy"),
            ),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def bads(cls, goods, tmp_path_factory):
        import torch
        from safetensors.torch import save

        folder = tmp_path_factory.mktemp("bad")
        canary = folder / "canary"
        model = network()
        torch.save(model.state_dict(), folder / "weights.pt")
        torch.save(model, folder / "module.pt")
        torch.save(model, folder / "legacy.pt", _use_new_zipfile_serialization=False)
        torch.save({"a": Gadget(canary)}, folder / "gadget.pt")
        torch.save([Gadget(canary)], folder / "oldgadget.pt", _use_new_zipfile_serialization=False)
        (folder / "factory.py").write_text(
            "def make():\n    return 3\n\ndef broken():\n    1 / 0\n"
        )
        plain = save(model.state_dict())
        header = int.from_bytes(plain[:8], "little")
        (folder / "plain.safetensors").write_bytes(plain)
        (folder / "cut.safetensors").write_bytes(plain[:-1])
        (folder / "lying.safetensors").write_bytes((1 << 26).to_bytes(8, "little") + plain[8:])
        shifted = plain[8 : 8 + header].replace(b'"data_offsets":[0,', b'"data_offsets":[8,')
        (folder / "shifted.safetensors").write_bytes(plain[:8] + shifted + plain[8 + header :])
        with tarfile.open(folder / "ancient.pt", "w") as tar:
            tar.addfile(tarfile.TarInfo("storages"), io.BytesIO())
        archive(folder / "old.pt2", {"serialized_exported_program.json": b"{}"})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of zipfile: that is what is tested
            twice = zipfile.ZipFile(folder / "twice.pt", "w")
            for _ in range(2):
                twice.writestr("a/data.pkl", b"")
            twice.close()
        with zipfile.ZipFile(folder / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb:
            bomb.writestr("a/data.pkl", b"")
            bomb.writestr("a/data/0", bytes(80 << 20))
        pickled = {"m/data/sample_inputs/model.pt": _torch_pickle(Gadget(canary))}
        shape = {"document": {"x": {"expr_str": f"__import__('os').system('touch {canary}')"}}}
        guards = {"document": {"guards_code": [f"__import__('os').system('touch {canary}')"]}}
        wanted = "factory.py:FUNCTION".replace("factory", "FILE")
        run = ImportOptions(inputs=INPUT)
        return [
            Bad(folder / "weights.pt", wanted),
            Bad(folder / "module.pt", "whole pickled module"),
            Bad(folder / "legacy.pt", "whole pickled module"),
            Bad(folder / "gadget.pt", "posix.system", canary),
            Bad(folder / "oldgadget.pt", "posix.system", canary),
            Bad(goods[0].path, "--input input:FP32"),
            Bad(goods[0].path, "does not take x:FP32[-1,3]", None, _shaped((None, 3))),
            Bad(goods[0].path, "holds its own code", None, _made(f"{folder}/factory.py:make")),
            Bad(folder / "weights.pt", "no factory", None, _made("absent.py:make")),
            Bad(folder / "weights.pt", "returned a int", None, _made(f"{folder}/factory.py:make")),
            Bad(folder / "weights.pt", "ZeroDivision", None, _made(f"{folder}/factory.py:broken")),
            Bad(folder / "plain.safetensors", wanted),
            Bad(folder / "cut.safetensors", "truncated"),
            Bad(folder / "lying.safetensors", "header claims"),
            Bad(folder / "shifted.safetensors", "wrong length"),
            Bad(folder / "ancient.pt", "old versions"),
            Bad(folder / "old.pt2", "old versions"),
            Bad(folder / "twice.pt", "two members"),
            Bad(folder / "bomb.pt", "bomb"),
            Bad(
                program(folder / "a.pt2", node={"target": "torch.os.system"}), "no tensor operator"
            ),
            Bad(
                program(folder / "b.pt2", members={"m/data/aotinductor/model.so": b""}), "compiled"
            ),
            Bad(program(folder / "c.pt2", members=pickled), "more than tensors", canary),
            Bad(program(folder / "d.pt2", **shape), "expr_str", canary, run),
            Bad(program(folder / "e.pt2", **guards), "guards_code", canary, run),
            Bad(program(folder / "f.pt2"), "cannot open the program"),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def foreign(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("foreign")
        np.savez(folder / "arrays.npz", a=np.zeros(3))
        archive(folder / "model.keras", {"metadata.json": b"{}", "config.json": b"{}"})
        archive(folder / "model.skops", {"schema.json": b"{}"})
        (folder / "list.pkl").write_bytes(pickle.dumps([1, 2]))
        (folder / "model.onnx").write_bytes(b"\x08\x08\x12\x07pytorch")
        return sorted(folder.iterdir())


def _shaped(shape: tuple[int | None, ...]) -> ImportOptions:
    return ImportOptions(inputs=(TensorSpec("x", Datatype.FP32, shape),))


def _made(factory: str) -> ImportOptions:
    return ImportOptions(inputs=INPUT, factory=factory)


def _torch_pickle(value: object) -> bytes:
    import torch

    data = io.BytesIO()
    torch.save(value, data)
    return data.getvalue()
