"""The Hugging Face importer against the contract suite, on folders that transformers wrote."""

import json
import shutil
import struct

import numpy as np
import pytest

from modelworks.core.errors import InvalidError
from modelworks.core.imports import ImportOptions
from modelworks.core.tensor import Datatype, Role
from modelworks.ext.importers.huggingface import HuggingFaceImporter
from modelworks.testing import onnx_models as models
from modelworks.testing.importers import Bad, Good, ImporterContract

pytestmark = [
    pytest.mark.contract,
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # PyTorch's exporter
    pytest.mark.timeout(300),
]

CONFIG = {
    "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 40,
}  # fmt: skip


def ids(rows, length):
    random = np.random.default_rng(0)
    mask = np.ones((rows, length), np.int64)
    mask[::2, length - 2 :] = 0
    return {
        "input_ids": random.integers(0, 60, (rows, length)),
        "attention_mask": mask,
        "token_type_ids": np.zeros((rows, length), np.int64),
    }


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A classifier of three labels, as `save_pretrained` writes it."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    labels = {0: "no", 1: "maybe", 2: "yes"}
    config = BertConfig(**CONFIG, num_labels=3, id2label=labels)
    folder = tmp_path_factory.mktemp("bert") / "judge"
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A folder as optimum writes it: `onnx/model.onnx` beside the configuration."""
    from onnx import helper

    folder = tmp_path_factory.mktemp("ready") / "mood"
    (folder / "onnx").mkdir(parents=True)
    scores = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["scores", "input_ids"], ["each"]),
        helper.make_node("ReduceMean", ["each"], ["logits"], axes=[1], keepdims=0),
    ]
    tokens = models.info("input_ids", Datatype.INT64, (None, None))
    out = models.info("logits", Datatype.FP32, (None, 2))
    models.write(folder / "onnx" / "model.onnx", nodes, [tokens], [out], {"scores": scores})
    told = {"model_type": "bert", "architectures": ["BertForSequenceClassification"]}
    (folder / "config.json").write_text(json.dumps(told | {"id2label": {"0": "bad", "1": "good"}}))
    return folder


def copied(source, target, **config):
    shutil.copytree(source, target)
    file = target / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return target


def with_header(folder, header, data=b"\0" * 64, length=None):
    """A folder whose weights begin with that header."""
    text = json.dumps(header).encode()
    size = struct.pack("<Q", len(text) if length is None else length)
    (folder / "model.safetensors").write_bytes(size + text + data)
    return folder


def pickled(folder, canary):
    import pickle

    class Boom:
        def __reduce__(self):
            return (open, (str(canary), "w"))

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Boom(), protocol=2))
    return folder


@pytest.fixture(scope="module")
def refused(bert, tmp_path_factory):
    """Everything that must not come in, with a word of the reason."""
    root = tmp_path_factory.mktemp("bad")
    canary = root / "canary"
    own = copied(bert, root / "own", auto_map={"AutoModel": "modeling_evil.Evil"})
    (own / "modeling_evil.py").write_text(f"open({str(canary)!r}, 'w')\n")
    out = copied(bert, root / "out")
    (out / "model.safetensors").unlink()
    index = {"weight_map": {"a": "../bert/judge/model.safetensors"}}
    (out / "model.safetensors.index.json").write_text(json.dumps(index))
    lost = copied(bert, root / "lost")
    (lost / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (lost / "model.safetensors.index.json").write_text(json.dumps(index))
    entry = {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}
    overlap = {"a": entry, "b": entry | {"data_offsets": [16, 48]}}
    wrong = {"a": entry | {"dtype": "F64"}}
    empty = copied(bert, root / "empty")
    (empty / "model.safetensors").unlink()
    broken = copied(bert, root / "broken")
    (broken / "config.json").write_text('{"model_type": "bert", ')
    cut = copied(bert, root / "cut")
    weights = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    return [
        Bad(own, "--trust", canary),
        Bad(out, "outside"),
        Bad(lost, "missing"),
        Bad(with_header(copied(bert, root / "h1"), {}, length=2**40), "header"),
        Bad(with_header(copied(bert, root / "h2"), overlap), "overlap"),
        Bad(with_header(copied(bert, root / "h3"), wrong), "wrong length"),
        Bad(cut, "truncated"),
        Bad(empty, "config.json and"),
        Bad(broken, "no json"),
        Bad(copied(bert, root / "seq2seq", is_encoder_decoder=True), "step by step"),
        Bad(copied(bert, root / "strange", architectures=["NobodysModel"]), "has no NobodysModel"),
        Bad(copied(bert, root / "qa", architectures=["BertForQuestionAnswering"]), "random"),
        Bad(copied(bert, root / "wide", hidden_size=32), "cannot open"),
        Bad(pickled(copied(bert, root / "pickled"), canary), "pytorch_model.bin", canary),
    ]


class TestHuggingFace(ImporterContract):
    """Two kinds of folder."""

    @pytest.fixture(scope="class")
    def importer(self):
        return HuggingFaceImporter()

    @pytest.fixture(scope="class")
    def goods(self, ready, bert):
        tokens = {"input_ids": ids(9, 6)["input_ids"]}
        return [
            Good(ready, "huggingface-onnx", tokens),
            Good(bert, "huggingface-safetensors", ids(9, 6)),
        ]

    @pytest.fixture(scope="class")
    def bads(self, refused):
        return refused

    @pytest.fixture(scope="class")
    def foreign(self, tmp_path_factory):
        root = tmp_path_factory.mktemp("foreign")
        models.double(root / "model.onnx")
        (root / "list").mkdir()
        (root / "list" / "config.json").write_text("[]")
        (root / "other").mkdir()
        (root / "other" / "config.json").write_text('{"name": "app"}')
        return [root, root / "model.onnx", root / "list", root / "other"]

    def test_labels_and_roles_are_the_configurations(self, reads):
        onnx, converted = (read.imported.signature for read in reads)
        assert onnx.classes == ("bad", "good")
        assert [o.name for o in onnx.outputs] == ["logits", "probabilities"]
        assert converted.classes == ("no", "maybe", "yes")
        assert converted.outputs[0].role is Role.PROBABILITIES

    def test_it_is_surer_of_its_folders_than_the_onnx_importer(self, ready):
        from modelworks.intake.job import recognise

        found, sniffed = recognise(ready, ImportOptions())
        assert (found.name, sniffed.format) == ("huggingface", "huggingface-onnx")

    def test_every_part_of_the_weights_is_checked(self, importer, bert, tmp_path):
        """Two parts and an index, one of them cut off."""
        from safetensors.torch import load_file, save_file

        folder = copied(bert, tmp_path / "parts")
        tensors = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        names = sorted(tensors)
        places = {}
        for number, part in enumerate((names[::2], names[1::2])):
            file = f"model-0000{number + 1}-of-00002.safetensors"
            save_file({n: tensors[n] for n in part}, folder / file, metadata={"format": "pt"})
            places |= dict.fromkeys(part, file)
        index = {"metadata": {}, "weight_map": places}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        assert importer.sniff(folder).format == "huggingface-safetensors"
        cut = folder / "model-00002-of-00002.safetensors"
        cut.write_bytes(cut.read_bytes()[:-10])
        with pytest.raises(InvalidError, match="truncated"):
            importer.read(folder, tmp_path, ImportOptions())


def test_the_image_step_is_what_transformers_does():
    import io

    from PIL import Image
    from transformers import ViTImageProcessorPil

    from modelworks.core.steps import DecodeImage, InputSteps, Resample, Resize
    from modelworks.core.tensor import Signature, TensorSpec
    from modelworks.plugins.load import load

    noise = np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)
    image = Image.fromarray(noise)
    told = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "resample": 3}
    wanted = ViTImageProcessorPil(size={"height": 16, "width": 16}, **told)(
        image, return_tensors="np"
    )["pixel_values"]
    step = DecodeImage(
        16, 16, resize=Resize(16, 16, resample=Resample.BICUBIC), mean=(0.5,) * 3,
        std=(0.25,) * 3, output="pixel_values",
    )  # fmt: skip
    spec = TensorSpec("pixel_values", Datatype.FP32, (None, 3, 16, 16))
    item = InputSteps("image", decode_image=step)
    opened = load("steps", "decode_image")().open(item, Signature((spec,), ()), None)
    file = io.BytesIO()
    image.save(file, "PNG")
    values = np.array([[file.getvalue()]], object)
    np.testing.assert_allclose(opened.run({"image": values})["pixel_values"], wanted, atol=1e-5)
