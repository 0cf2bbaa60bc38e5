"""Python folders against the importer contract, and what is refused of them."""

import json

import numpy as np
import pytest

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.imports import ImportOptions
from modelworks.core.native import read_native
from modelworks.core.tensor import Datatype, Layout, TensorSpec
from modelworks.ext.importers.python import PythonImporter
from modelworks.testing.importers import Bad, Good, ImporterContract

pytestmark = pytest.mark.contract
INPUT = (TensorSpec("x", Datatype.FP32, (None, 3)),)
GIVEN = ImportOptions(trust=True, inputs=INPUT)
DOUBLE = "def predict(inputs):\n    return {'y': inputs['x'] * 2}\n"
SIGNATURE = {
    "inputs": [{"name": "word", "datatype": "BYTES", "shape": [-1, 1]}],
    "outputs": [{"name": "length", "datatype": "INT64", "shape": [-1, 1]}],
    "deadline_s": 5,
}
LENGTHS = (
    "import numpy as np\n"
    "def load():\n"
    "    return len\n"
    "def predict(size, inputs):\n"
    "    return np.array([[size(w)] for w in inputs['word'].ravel()])\n"
)


def folder(root, code, **files):
    root.mkdir(parents=True)
    (root / "model.py").write_text(code)
    for name, text in files.items():
        (root / name.replace("_", ".")).write_text(text)
    return root


class TestPythonFolder(ImporterContract):
    @pytest.fixture(scope="class")
    @classmethod
    def importer(cls):
        return PythonImporter()

    @pytest.fixture(scope="class")
    @classmethod
    def goods(cls, tmp_path_factory):
        root = tmp_path_factory.mktemp("goods")
        rows = np.random.default_rng(0).random((8, 3), dtype=np.float32)
        words = np.array([[b"a" * i] for i in range(8)], object)
        declared = folder(root / "declared", LENGTHS, signature_json=json.dumps(SIGNATURE))
        return [
            Good(folder(root / "double", DOUBLE), "python-folder", {"x": rows}, GIVEN),
            Good(declared, "python-folder", {"word": words}, ImportOptions(trust=True)),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def bads(cls, tmp_path_factory):
        root = tmp_path_factory.mktemp("bads")
        canary = root / "canary"
        ran = f"open({str(canary)!r}, 'w').write('x')\n"
        line = "def load():\n    raise OSError('no weights')\n"
        return [
            Bad(folder(root / "untrusted", ran + DOUBLE), "--trust", canary),
            Bad(folder(root / "nothing", "x = 1\n"), "predict", None, GIVEN),
            Bad(folder(root / "syntax", "def (\n"), "model.py, line 1: SyntaxError", None, GIVEN),
            Bad(folder(root / "load", line + DOUBLE), "line 2: OSError: no weights", None, GIVEN),
            Bad(folder(root / "many", "def predict(a, b, c): ...\n"), "3 arguments", None, GIVEN),
            Bad(folder(root / "module", "import nowhere_at_all\n"), "nowhere_at_all", None, GIVEN),
            Bad(folder(root / "none", "def predict(x): return {}\n"), "no output", None, GIVEN),
            Bad(
                folder(root / "objects", "def predict(x): return {'y': {1}}\n"),
                "object",
                None,
                GIVEN,
            ),
            Bad(
                folder(root / "open", DOUBLE, requirements_txt="numpy>=2\n"),
                "pin it (numpy==",
                None,
                GIVEN,
            ),
            Bad(
                folder(root / "url", DOUBLE, requirements_txt="-r other.txt\n"),
                "no requirement",
                None,
                GIVEN,
            ),
            Bad(folder(root / "silent", DOUBLE), "nothing says", None, ImportOptions(trust=True)),
            Bad(
                folder(root / "both", LENGTHS, signature_json=json.dumps(SIGNATURE)),
                "signature.json has the inputs",
                None,
                GIVEN,
            ),
            Bad(folder(root / "json", DOUBLE, signature_json="{"), "no JSON", None, GIVEN),
        ]

    @pytest.fixture(scope="class")
    @classmethod
    def foreign(cls, tmp_path_factory):
        root = tmp_path_factory.mktemp("foreign")
        mlflow = folder(root / "mlflow", DOUBLE, MLmodel="flavors: {}\n")
        (root / "empty").mkdir()
        (root / "model.py").write_text(DOUBLE)
        return [mlflow, root / "empty", root / "model.py"]


WRONG = {
    "a list": ([], "an object"),
    "another key": ({"inputz": []}, "inputz"),
    "no list": ({"inputs": 1}, "a list"),
    "no shape": ({"inputs": [{"name": "x", "datatype": "FP32"}]}, '"shape"'),
    "another type": ({"inputs": [{"name": "x", "datatype": "FP8", "shape": []}]}, "FP8"),
    "another axis": ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [-2]}]}, "axes"),
    "twice": ({"inputs": [SIGNATURE["inputs"][0]] * 2}, "twice"),
    "layout": ({"layout": "rows"}, "layout"),
    "deadline": ({"deadline_s": 0}, "deadline_s"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_signature_file_is_refused_by_its_place(tmp_path, what):
    data, says = WRONG[what]
    path = folder(tmp_path / "m", DOUBLE, signature_json=json.dumps(data))
    (tmp_path / "into").mkdir()
    with pytest.raises(InvalidError, match=says) as caught:
        PythonImporter().read(path, tmp_path / "into", ImportOptions(trust=True))
    assert caught.value.field.startswith("signature")


def test_requirements_need_the_owners_word_before_anything_is_installed(tmp_path):
    path = folder(tmp_path / "m", DOUBLE, requirements_txt="numpy==2.4.6  # as here\n\n")
    with pytest.raises(RefusedError, match="--trust"):
        PythonImporter().requirements(path, ImportOptions())
    assert PythonImporter().requirements(path, GIVEN) == ("numpy==2.4.6",)


def test_a_sample_names_the_inputs(tmp_path):
    code = "def predict(i):\n    return {'y': i['a'] + i['b']}\n"
    path = folder(tmp_path / "m", code)
    (tmp_path / "rows.csv").write_text("a,b\n1,2.5\n3,4.5\n")
    (tmp_path / "into").mkdir()
    options = ImportOptions(trust=True, sample=tmp_path / "rows.csv")
    imported = PythonImporter().read(path, tmp_path / "into", options)
    assert imported.signature.layout is Layout.COLUMNS
    assert imported.signature.features == ("a", "b")
    [output] = imported.signature.outputs
    assert (output.name, output.datatype, output.shape) == ("y", Datatype.FP64, (None, 1))
    assert read_native(tmp_path / "into").signature == imported.signature
