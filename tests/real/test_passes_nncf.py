"""NNCF's passes: the contract of each, and what is their own."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from modelworks.core import codec
from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.seams import EngineOptions
from modelworks.plugins.load import load
from modelworks.testing import pass_models
from modelworks.testing.pass_cases import answers, distance
from modelworks.testing.passes import PassCase, PassContract
from pass_graphs import foreign

pytestmark = pytest.mark.real
CALIBRATED = {
    "preset": {"preset": "performance"},
    "model_type": {"model_type": "none"},
    "smooth_quant": {"smooth_quant": 0.0},
    "fast_bias_correction": {"fast_bias_correction": False},
    "subset_size": {"subset_size": 8},
}


def apart(case, folder, rows=32):
    """How far a form is from its source."""
    inputs, source = case.inputs(rows), case.good
    wanted = answers("onnxruntime", source.folder, source.signature, inputs)
    return distance(wanted, answers("openvino", folder, source.signature, inputs))


def labelled(source):
    """The same with labels: the largest number of each answer."""
    rows = dict(np.load(source.calibration))
    [said] = answers("onnxruntime", source.folder, source.signature, rows)
    file = source.folder.with_name("labels.npy")
    np.save(file, said.argmax(1))
    return replace(source, labels=file)


class TestNncfInt8(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("nncf")
        return PassCase(
            name="nncf_int8",
            good=pass_models.attention(folder / "attention"),
            inputs=pass_models.token_rows,
            tolerance=0.08,
            others=CALIBRATED,
            unfit=foreign(folder / "foreign"),
            broken={},
            modules=("modelworks.ext.passes.nncf_int8",),
        )

    def test_attention_is_recognised_and_costs_much_where_it_is_not(self, case, tmp_path, applied):
        """A mask of -1e9 in the range of what is rounded leaves nothing of the rest."""
        result = case.apply(tmp_path, settings={"model_type": "none"})
        assert "a transformer" in applied[1].notes[0]
        assert "without attention" in result.notes[0]
        assert apart(case, tmp_path) > 3 * apart(case, applied[0])

    def test_openvinos_own_files_are_taken_too(self, case, tmp_path, applied):
        converted = tmp_path / "converted"
        job = replace(case.job(converted), settings={"half": False})
        load("passes", "openvino")().apply(job)
        source = replace(case.good, folder=converted, format="openvino-ir")
        result = case.apply(tmp_path / "into", source)
        assert result.operators == applied[1].operators
        assert apart(case, tmp_path / "into") < case.tolerance

    def test_what_is_rounded_already_is_not_rounded_again(self, case, tmp_path, applied):
        source = replace(case.good, folder=applied[0], format="openvino-ir")
        assert "FakeQuantize" in case.step.fits(case.job(tmp_path, source))

    @pytest.mark.parametrize(
        "rows",
        [
            {"input_ids": np.ones((4, 8), np.int64)},
            {"input_ids": np.ones((4, 8), np.int64), "attention_mask": np.ones((3, 8), np.int64)},
            {"input_ids": np.ones((4, 8), np.int32), "attention_mask": np.ones((4, 8), np.int64)},
            {"input_ids": np.ones((0, 8), np.int64), "attention_mask": np.ones((0, 8), np.int64)},
            {"input_ids": np.ones(4, np.int64), "attention_mask": np.ones((4, 8), np.int64)},
        ],
        ids=["one is missing", "other lengths", "another type", "no rows", "another shape"],
    )
    def test_rows_of_another_model_are_refused(self, case, tmp_path, rows):
        np.savez(tmp_path / "rows.npz", **rows)
        with pytest.raises(InvalidError) as caught:
            case.apply(tmp_path / "into", replace(case.good, calibration=tmp_path / "rows.npz"))
        assert caught.value.field == "calibration"

    def test_it_says_nothing_sends_nothing_and_leaves_nothing_in_the_home(self, case, tmp_path):
        job, home = case.job(tmp_path / "into"), tmp_path / "home"
        home.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", ALONE, json.dumps(codec.encode(job))],
            env={"HOME": str(home), "PATH": "/usr/bin"},
            cwd=home,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert done.stdout == "sockets 0, torch False, loggers Logger\n"
        assert done.stderr == ""
        assert list(home.rglob("*")) == []


ALONE = """
import json, logging, sys
from dataclasses import replace
sockets = []
sys.addaudithook(lambda event, _: sockets.append(event) if event == "socket.connect" else None)
from modelworks.core import codec
from modelworks.core.optimizing.passes import PassJob
from modelworks.plugins.load import load
given = json.loads(sys.argv[1])
settings = given.pop("settings")
step = load("passes", "nncf_int8")()
step.apply(replace(codec.decode(PassJob, given), settings=settings))
print(f"sockets {len(sockets)}, torch {'torch' in sys.modules}, loggers "
      f"{logging.getLoggerClass().__name__}")
"""


class TestNncfAccuracy(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("accuracy")
        return PassCase(
            name="nncf_accuracy",
            good=labelled(pass_models.attention(folder / "attention")),
            inputs=pass_models.token_rows,
            tolerance=0.08,
            others={**CALIBRATED, "max_drop": {"max_drop": 0.03}},
            unfit=foreign(folder / "foreign"),
            broken={},
            modules=("modelworks.ext.passes.nncf_accuracy",),
            settings={"max_drop": 0.5},
        )

    def test_operators_are_given_back_until_accuracy_is_kept(self, case, tmp_path, applied):
        """Two rows of 48 are wrong with all rounded, and one may be."""
        labels, rows = np.load(case.good.labels), dict(np.load(case.good.calibration))
        result = case.apply(tmp_path, settings={"max_drop": 0.03})
        assert set(result.operators) < set(applied[1].operators)
        wrong = []
        for folder in (applied[0], tmp_path):
            [said] = answers("openvino", folder, case.good.signature, rows)
            wrong.append(int((said.argmax(1) != labels).sum()))
        assert wrong[0] > 1 >= wrong[1]

    def test_where_nothing_can_be_rounded_it_says_so(self, case, tmp_path):
        with pytest.raises(UnsupportedError, match="more than 0 of the answers"):
            case.apply(tmp_path, settings={"max_drop": 0.0})

    def test_labels_that_do_not_fit_are_refused(self, case, tmp_path):
        for name, labels in (("few", np.ones(3)), ("square", np.ones((48, 2)))):
            np.save(tmp_path / name, labels)
            source = replace(case.good, labels=tmp_path / f"{name}.npy")
            with pytest.raises(InvalidError, match="one label") as caught:
                case.apply(tmp_path / f"into-{name}", source)
            assert caught.value.field == "labels"

    def test_without_a_class_it_does_not_fit(self, case, tmp_path):
        [spec] = case.good.signature.outputs
        one = replace(case.good.signature, outputs=(replace(spec, shape=(None, 1)),))
        source = replace(case.good, signature=one)
        assert "class" in case.step.fits(case.job(tmp_path, source))


class TestNncfWeights(PassContract):
    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("weights")
        return PassCase(
            name="nncf_weights",
            good=pass_models.mlp(folder / "mlp", (128, 128)),
            inputs=pass_models.matrix_rows,
            tolerance=0.03,
            others={
                "bits": {"bits": 4},
                "symmetric": {"symmetric": True},
                "group": {"bits": 4, "group": 32},
                "ratio": {"bits": 4, "ratio": 0.5},
                "activations": {"activations": 0},
            },
            unfit=foreign(folder / "foreign"),
            broken={},
            modules=("modelworks.ext.passes.nncf_weights",),
        )

    def test_fewer_bits_are_fewer_bytes(self, case, tmp_path, applied):
        case.apply(tmp_path, settings={"bits": 4})
        sizes = [(f / "model.bin").stat().st_size for f in (tmp_path, applied[0])]
        whole = (case.good.folder / "model.onnx").stat().st_size
        assert 1.5 * sizes[0] < sizes[1] < whole / 3

    def test_the_file_says_how_activations_are_rounded(self, case, tmp_path, applied):
        """Rounded in groups, and exact where the engine is told so."""
        inputs, signature = case.inputs(4), case.good.signature
        case.apply(tmp_path, settings={"activations": 0})
        float_said = answers("openvino", tmp_path, signature, inputs)
        rounded = answers("openvino", applied[0], signature, inputs)
        assert 0 < distance(float_said, rounded) < 0.03
        options = EngineOptions(signature=signature, extra=(("dynamic_quantization", "0"),))
        session = load("engines", "openvino")().load(applied[0], options)
        assert distance(float_said, session.infer(inputs)) < 1e-6

    def test_convolutions_gain_nothing(self, case, tmp_path):
        source = pass_models.cnn(tmp_path / "cnn")
        (tmp_path / "into").mkdir()
        assert "convolutions" in case.step.fits(case.job(tmp_path / "into", source))
