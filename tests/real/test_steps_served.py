"""Steps in a real server: what training did is what serving does, and bad requests stay alone."""

import base64
import io
import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from modelworks.apps.embed import local
from modelworks.client.data import DataPlane
from modelworks.core.errors import InvalidError
from modelworks.core.home import Home
from modelworks.core.imports import ImportOptions, ImportRequest
from modelworks.core.served import write_served
from modelworks.core.tensor import Datatype
from modelworks.testing import onnx_models as models
from modelworks.testing.servers import Server

pytestmark = pytest.mark.real


def registered(folder, home, name, file, **options):
    """Import a file; its version."""
    with local(home) as factory:
        request = ImportRequest(file=file, name=name, options=ImportOptions(**options))
        return factory.import_model(request)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("steps") / "home").create()


@pytest.fixture(scope="module")
def frame():
    import pandas as pd

    random = np.random.default_rng(3)
    rows = 600
    table = pd.DataFrame(
        {
            "age": random.uniform(18, 90, rows),
            "income": random.lognormal(10, 1, rows),
            "city": random.choice(["Paris", "Rome", "Oslo"], rows),
        }
    )
    table.loc[random.random(rows) < 0.2, "age"] = np.nan
    table.loc[random.random(rows) < 0.1, "income"] = np.nan
    return table


@pytest.fixture(scope="module")
def pipeline(frame):
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, RobustScaler, StandardScaler

    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    before = ColumnTransformer(
        [
            ("age", make_pipeline(SimpleImputer(strategy="mean"), StandardScaler()), ["age"]),
            ("pay", make_pipeline(SimpleImputer(strategy="median"), RobustScaler()), ["income"]),
            ("city", one_hot, ["city"]),
        ]
    )
    made = before.fit_transform(frame)
    target = (made[:, 0] + made[:, 1] + made[:, 3] > 0.6).astype(int)
    model = GradientBoostingClassifier(n_estimators=20, random_state=0).fit(made, target)
    return before, model


def steps_of(before):
    """What training fitted, written down."""
    age, pay, city = (before.named_transformers_[name] for name in ("age", "pay", "city"))
    return {
        "inputs": [
            {
                "name": "age",
                "validate": {"min": 0, "max": 120},
                "impute": {"value": float(age[0].statistics_[0]), "strategy": "mean"},
                "scale": {"mean": float(age[1].mean_[0]), "std": float(age[1].scale_[0])},
            },
            {
                "name": "income",
                "impute": {"value": float(pay[0].statistics_[0]), "strategy": "median"},
                "scale": {
                    "kind": "robust",
                    "median": float(pay[1].center_[0]),
                    "iqr": float(pay[1].scale_[0]),
                },
            },
            {
                "name": "city",
                "validate": {"required": True},
                "one_hot": {"categories": list(city.categories_[0]), "unknown": "ignore"},
            },
        ]
    }


@pytest.fixture(scope="module")
def tabular(home, frame, pipeline, tmp_path_factory):
    import joblib

    folder = tmp_path_factory.mktemp("tabular")
    before, model = pipeline
    joblib.dump(model, folder / "model.joblib")
    (folder / "steps.json").write_text(json.dumps(steps_of(before)))
    frame.to_csv(folder / "rows.csv", index=False)
    return registered(
        folder, home, "credit", folder / "model.joblib",
        steps=folder / "steps.json", sample=folder / "rows.csv",
    )  # fmt: skip


def tokenizer_json():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = ["[PAD]", "[UNK]", "good", "bad", "film", "a", "very"]
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer.to_str()


@pytest.fixture(scope="module")
def texts(home, tmp_path_factory):
    """Counts good and bad words among the tokens that the mask shows: a classifier by hand."""
    from onnx import helper

    folder = tmp_path_factory.mktemp("texts")
    scores = np.zeros((7, 2), np.float32)
    scores[2, 1] = scores[3, 0] = 2.0
    nodes = [
        helper.make_node("Gather", ["scores", "input_ids"], ["each"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=1),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["each", "wide"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "one"], ["logits"], keepdims=0),
    ]
    ids, mask = (
        models.info(n, Datatype.INT64, (None, None)) for n in ("input_ids", "attention_mask")
    )
    constants = {"scores": scores, "last": np.array([-1]), "one": np.array([1])}
    out = models.info("logits", Datatype.FP32, (None, 2))
    snapshot = folder / "mood"
    snapshot.mkdir()
    models.write(snapshot / "model.onnx", nodes, [ids, mask], [out], constants)
    config = {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "bad", "1": "good"},
        "max_position_embeddings": 16,
    }
    (snapshot / "config.json").write_text(json.dumps(config))
    (snapshot / "tokenizer.json").write_text(tokenizer_json())
    (folder / "steps.yaml").write_text("inputs: [{name: text, validate: {required: true}}]")
    return registered(folder, home, "mood", snapshot, steps=folder / "steps.yaml")


@pytest.fixture(scope="module")
def images(home, tmp_path_factory):
    """The mean of each channel, 0 to 1."""
    from onnx import helper

    folder = tmp_path_factory.mktemp("images")
    node = helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[2, 3], keepdims=0)
    pixels = models.info("pixels", Datatype.FP32, (None, 3, 8, 8))
    models.write(
        folder / "m.onnx", [node], [pixels], [models.info("mean", Datatype.FP32, (None, 3))]
    )
    steps = """
inputs:
  - name: image
    decode_image: {height: 8, width: 8, resize: {height: 8, width: 8}, max_pixels: 100000}
"""
    (folder / "steps.yaml").write_text(steps)
    return registered(folder, home, "colour", folder / "m.onnx", steps=folder / "steps.yaml")


@pytest.fixture(scope="module")
def server(home, tabular, texts, images):
    path = home.run / "served.json"
    with local(home) as factory:
        write_served(path, factory.resolve((tabular.ref, texts.ref, images.ref)))
    with Server(["--served", str(path)]) as started:
        yield started


@pytest.fixture
def plane(server):
    plane = DataPlane(server.url)
    yield plane
    plane.close()


def picture(colour, form="PNG", size=(20, 30)):
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, form)
    return file.getvalue()


def test_rows_with_gaps_give_what_training_gave(plane, frame, pipeline):
    before, model = pipeline
    rows = json.loads(frame.head(100).to_json(orient="records"))
    assert any(row["age"] is None for row in rows)
    answers = plane.predict("credit", rows)["predictions"]
    wanted = model.predict_proba(before.transform(frame.head(100)))
    found = [[row["probabilities"]["0"], row["probabilities"]["1"]] for row in answers]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert [row["label"] for row in answers] == list(
        model.predict(before.transform(frame.head(100)))
    )


def test_a_rule_names_row_field_and_itself(plane):
    rows = [{"age": 40, "income": 1e4, "city": "Rome"}, {"age": 150, "income": 1, "city": "Rome"}]
    with pytest.raises(InvalidError, match="rule 'max'") as caught:
        plane.predict("credit", rows)
    assert caught.value.field == "rows[1].age"
    with pytest.raises(InvalidError, match="required") as caught:
        plane.predict("credit", [{"age": 40, "income": 1, "city": ""}])
    assert caught.value.field == "rows[0].city"


def test_an_unknown_category_is_said(plane):
    answer = plane.predict("credit", [{"age": 40, "income": 1e4, "city": "Romee"}])
    assert "Rome" in answer["warnings"][0]


def test_the_metadata_show_the_steps(server):
    with urllib.request.urlopen(f"{server.url}/v2/models/credit") as answer:
        told = json.loads(answer.read())
    assert [i["name"] for i in told["inputs"]] == ["age", "income", "city"]
    assert told["parameters"]["steps"][0]["scale"]["kind"] == "standard"


def test_the_evidence_compares_with_the_steps(tabular, texts):
    evidence = {e.kind: e for e in tabular.evidence}["steps"]
    assert evidence.detail["parity"]["verdict"] == "passed"
    assert {item.name for item in tabular.signature.steps} == {"age", "income", "city"}
    assert texts.signature.steps[0].names == ("validate", "tokenize")


def test_raw_strings_are_classified(plane):
    answer = plane.predict("mood", [{"text": "a very good film"}, {"text": "bad"}])
    assert [row["label"] for row in answer["predictions"]] == ["good", "bad"]
    text = np.array([[b"a very good film"], [b"bad bad film"]], object)
    found = plane.infer("mood", {"text": text})
    np.testing.assert_allclose(found["logits"], [[0, 2], [4, 0]])


def test_a_text_that_is_none_is_refused(plane):
    with pytest.raises(InvalidError, match="UTF-8") as caught:
        plane.infer("mood", {"text": np.array([[b"good"], [b"\xff\xfe"]], object)})
    assert caught.value.field == "rows[1].text"


def test_images_as_bytes_and_as_base64(plane):
    raw = np.array([[picture("red")], [picture("blue", "JPEG")], [picture("lime", "WEBP")]], object)
    found = plane.infer("colour", {"image": raw})["mean"]
    np.testing.assert_allclose(found, np.eye(3)[[0, 2, 1]], atol=0.03)
    text = base64.b64encode(picture("red")).decode()
    rows = [{"image": text}, {"image": f"data:image/png;base64,{text}"}]
    for row in plane.predict("colour", rows)["predictions"]:
        np.testing.assert_allclose(row["outputs"]["mean"], [1, 0, 0], atol=0.01)


def post(server, model, row):
    body = json.dumps({"rows": [row]}).encode()
    request = urllib.request.Request(f"{server.url}/predict/{model}", body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_bad_requests_harm_none_of_their_neighbours(server):
    good = {"image": base64.b64encode(picture("red")).decode()}
    cut = {"image": base64.b64encode(picture("red", "JPEG")[:200]).decode()}
    bomb = {"image": base64.b64encode(picture("red", size=(1000, 1000))).decode()}
    mixed = [(("colour"), row) for row in (good, cut, good, bomb)] * 8
    mixed += [("mood", {"text": t}) for t in ("good", "bad", "", "a good film")] * 8
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda pair: (*pair, *post(server, *pair)), mixed))
    assert len(answers) == 64
    for model, row, status, body in answers:
        fine = row is good if model == "colour" else bool(row["text"])
        assert status == (200 if fine else 400), body
        if status == 400:
            assert body["field"].startswith("rows[0]."), body
        elif model == "colour":
            np.testing.assert_allclose(
                body["predictions"][0]["outputs"]["mean"], [1, 0, 0], atol=0.01
            )
        else:
            assert body["predictions"][0]["label"] == ("bad" if row["text"] == "bad" else "good")


def test_steps_that_do_not_fit_are_refused_and_nothing_is_published(home, tmp_path):
    models.double(tmp_path / "m.onnx", width=2)
    (tmp_path / "s.yaml").write_text("inputs: [{name: a, scale: {mean: 0, std: 1}}]")
    with pytest.raises(InvalidError, match="1 columns and the model takes 2"):
        registered(tmp_path, home, "wrong", tmp_path / "m.onnx", steps=tmp_path / "s.yaml")
    (tmp_path / "s.yaml").write_text("inputs: [{name: a, scal: {mean: 0, std: 1}}]")
    with pytest.raises(InvalidError, match="did you mean 'scale'") as caught:
        registered(tmp_path, home, "wrong", tmp_path / "m.onnx", steps=tmp_path / "s.yaml")
    assert caught.value.field == "inputs[0].scal"
    with local(home) as factory:
        assert "wrong" not in {model.name for model in factory.models()}
