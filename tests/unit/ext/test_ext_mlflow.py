"""What an `MLmodel` file may say, and what its signature may contradict."""

import json
from pathlib import Path

import numpy as np
import pytest

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.tensor import Datatype, Layout, Signature, TensorSpec
from modelworks.ext.formats import mlmodel, plain_yaml
from modelworks.ext.importers.mlflow import example, flavors, requirements
from modelworks.ext.importers.mlflow.agree import agree

pytestmark = pytest.mark.unit

Y = (TensorSpec("y", Datatype.FP32, (None, 1)),)
MATRIX = Signature((TensorSpec("x", Datatype.FP32, (None, 2)),), Y, Layout.MATRIX)
TABLE = Signature(
    (TensorSpec("a", Datatype.FP32, (None, 1)), TensorSpec("t", Datatype.BYTES, (None, 1))),
    Y,
    Layout.COLUMNS,
)


def column(name, kind="double", **more):
    return {"type": kind, "name": name} | more


def tensor(dtype, shape, **more):
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}} | more


def written(folder: Path, text: str = "", **fields) -> Path:
    """A folder with an MLmodel of these fields, JSON being YAML."""
    data = {"flavors": {"python_function": {"loader_module": "mlflow.sklearn"}}} | fields
    (folder / "MLmodel").write_text(text or json.dumps(data))
    return folder


def model(folder: Path, inputs=None, params=None, **fields) -> mlmodel.MlModel:
    signature = {"inputs": inputs and json.dumps(inputs), "params": params and json.dumps(params)}
    return mlmodel.read(written(folder, signature=signature, **fields))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("flavors: [", "no YAML"),
        ("flavors: {a: &a [1], b: {<<: *a}}", "merge keys"),
        ("x: !!python/object/apply:os.system ['true']", "no YAML"),
        ("a: &a [" + ",".join(["1"] * 3) + "]\nb: [" + ",".join(["*a"] * 200) + "]", "aliases"),
        ("[" * 2000, "no YAML"),
        ("- 1", "fields are wanted"),
        ("flavors: {}", "at least one flavour"),
        ("flavors: {sklearn: 3}", "settings of each flavour"),
        ("flavors: {a: {}}\nsignature: {inputs: 'nonsense'}", "JSON is wanted"),
        ("flavors: {a: {}}\nsignature: {inputs: '[1]'}", "columns or tensors are wanted"),
        ("\xff", "no YAML"),
    ],
)
def test_what_is_no_mlmodel_is_told_in_a_line(text, says, tmp_path):
    (tmp_path / "MLmodel").write_bytes(text.encode("latin1"))
    with pytest.raises(InvalidError, match=says) as caught:
        mlmodel.read(tmp_path)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400


def test_a_large_file_is_not_read(tmp_path):
    file = tmp_path / "big.yaml"
    file.write_bytes(b"a" * ((1 << 20) + 1))
    with pytest.raises(InvalidError, match="are allowed"):
        plain_yaml.read(file)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([column("a"), tensor("float32", [-1])], "mixed"),
        ([column("a"), column("a")], "one name"),
        ([tensor("complex64", [-1])], "dtype of numpy"),
        ([tensor("float32", [-2])], "list of lengths"),
        ([{"type": "tensor"}], "a dtype and a shape"),
        ([{"name": "a"}], "a type and a name"),
    ],
)
def test_signatures_that_cannot_be(items, says, tmp_path):
    with pytest.raises(InvalidError, match=says):
        model(tmp_path, items)


def test_every_kind_of_column_and_tensor(tmp_path):
    kinds = ["boolean", "integer", "long", "float", "double", "string", "datetime", "binary"]
    items = [column(kind, kind) for kind in kinds]
    items.append(column("deep", "array", items={"type": "double"}, required=False))
    found = model(tmp_path, items).inputs.columns
    assert [each.datatype for each in found[:5]] == [
        Datatype.BOOL, Datatype.INT32, Datatype.INT64, Datatype.FP32, Datatype.FP64,
    ]  # fmt: skip
    assert {each.datatype for each in found[5:]} == {Datatype.BYTES}
    assert (found[-1].kind, found[-1].required) == ("json", False)
    (only,) = model(tmp_path, [tensor("uint8", [-1, 3])]).inputs.tensors
    assert (only.datatype, only.shape) == (Datatype.UINT8, (None, 3))


def test_paths_stay_in_the_folder(tmp_path):
    inner = tmp_path / "model"
    inner.mkdir()
    (tmp_path / "secret").touch()
    for name in ("../secret", str(tmp_path / "secret"), "absent", "", 3):
        with pytest.raises(InvalidError):
            mlmodel.inside(inner, name, "flavors.sklearn.data")


def test_the_flavour_that_loses_least_is_chosen(tmp_path):
    (tmp_path / "m.onnx").touch()
    (tmp_path / "m.pkl").touch()
    both = {"sklearn": {"pickled_model": "m.pkl"}, "onnx": {"data": "m.onnx"}, "spark": {}}
    chosen = flavors.choose(model(tmp_path, flavors=both))
    assert (chosen.name, chosen.file.name) == ("onnx", "m.onnx")
    assert chosen.others == ("sklearn", "spark")
    with pytest.raises(RefusedError, match="only the flavours spark"):
        flavors.choose(model(tmp_path, flavors={"spark": {}}))


@pytest.mark.parametrize(
    ("inputs", "signature", "says"),
    [
        ([column("a")], MATRIX, "has 1 input columns, and the model takes 2"),
        ([column("a"), column("b", "string")], MATRIX, "has b as BYTES"),
        ([column("a")], TABLE, "has no columns t"),
        ([column("a", "string"), column("t", "string")], TABLE, "has a as BYTES"),
        ([tensor("float32", [-1, 3])], MATRIX, r"has \[-1, 3\] for input x"),
        ([tensor("float32", [-1])], MATRIX, "for input x"),
        ([tensor("str", [-1, 2])], MATRIX, "as BYTES"),
        ([tensor("float32", [-1, 2])] * 2, MATRIX, "has 2 input tensors"),
    ],
)
def test_a_signature_of_another_model_is_refused(inputs, signature, says, tmp_path):
    with pytest.raises(InvalidError, match=says):
        agree(model(tmp_path, inputs), signature)


def test_names_and_what_is_not_carried_over(tmp_path):
    params = [{"name": "scale", "default": 1.0, "type": "double", "shape": None}]
    given = model(tmp_path, [column("a"), column("b", required=False)], params)
    signature, notes = agree(given, MATRIX)
    assert signature.features == ("a", "b")
    text = " ".join(notes)
    assert "parameters of MLmodel (scale) are not carried over" in text
    assert "Optional columns of MLmodel (b)" in text
    assert "has FP64; the converted model takes FP32" in text
    _, notes = agree(model(tmp_path, [column("t", "string"), column("a"), column("z")]), TABLE)
    assert any("not asked for: z" in note for note in notes)
    _, notes = agree(model(tmp_path), MATRIX)
    assert notes == ["MLmodel has no signature: names and types are the converted model's."]


def test_examples_become_samples(tmp_path):
    info = {"artifact_path": "e.json", "type": "dataframe", "params": "true"}
    (tmp_path / "e.json").write_text('{"inputs": {"columns": ["a"], "data": [[1], [2]]}}')
    file = example.write(model(tmp_path, saved_input_example_info=info), tmp_path)
    assert json.loads(file.read_text()) == [{"a": 1}, {"a": 2}]
    (tmp_path / "e.json").write_text("[[1, 2]]")
    info = {"artifact_path": "e.json", "type": "ndarray"}
    given = model(tmp_path, [tensor("float32", [-1, 2])], saved_input_example_info=info)
    array = np.load(example.write(given, tmp_path))
    assert array.dtype == np.float64
    (tmp_path / "e.json").write_text("{")
    with pytest.raises(InvalidError, match="no JSON"):
        example.write(given, tmp_path)
    assert example.write(model(tmp_path), tmp_path) is None


def test_requirements_come_from_either_file(tmp_path):
    given = model(tmp_path, mlflow_version="3.17.2")
    assert requirements.needed(given) == ("mlflow==3.17.2",)
    (tmp_path / "conda.yaml").write_text(
        "dependencies:\n- python=3.11\n- pip:\n  - pandas==3.1.1\n"
    )
    assert requirements.needed(given) == ("mlflow==3.17.2", "pandas==3.1.1")
    (tmp_path / "requirements.txt").write_text("# made\nmlflow-skinny==3.17.2 # light\n\n")
    assert requirements.needed(given) == ("mlflow-skinny==3.17.2",)
    (tmp_path / "requirements.txt").write_text("--index-url http://example.org\n")
    with pytest.raises(InvalidError, match="no requirement"):
        requirements.needed(given)
    (tmp_path / "requirements.txt").unlink()
    (tmp_path / "conda.yaml").unlink()
    with pytest.raises(InvalidError, match="which MLflow"):
        requirements.needed(model(tmp_path))
