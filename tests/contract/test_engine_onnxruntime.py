"""onnxruntime against the engine contract, and what is its own: datatypes, strings, refusals."""

import numpy as np
import onnx
import pytest

from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.ext.engines.onnxruntime import OnnxRuntimeEngine
from modelworks.plugins import load as plugins
from modelworks.testing import onnx_models as models
from modelworks.testing.engines import EngineCase, EngineContract, one_line

pytestmark = pytest.mark.contract


class TestOnnxRuntime(EngineContract):
    @pytest.fixture
    def case(self, tmp_path, heavy):
        model = models.double(tmp_path / "model.onnx")
        whole = model.read_bytes()
        broken = {
            "empty": b"",
            "truncated": whole[: len(whole) // 2],
            "foreign": b"PK\x03\x04 this is a zip file and no model" * 10,
            "text": b"{}",
        }
        files = {}
        for what, data in broken.items():
            files[what] = tmp_path / f"{what}.onnx"
            files[what].write_bytes(data)
        files["missing"] = tmp_path / "nowhere.onnx"
        (tmp_path / "folder").mkdir()
        files["folder without a model"] = tmp_path / "folder"
        files["escaping"] = models.escaping(tmp_path / "escaping.onnx", "../../etc/passwd")
        files["sequence"] = models.sequence(tmp_path / "sequence.onnx")
        return EngineCase(
            engine=plugins.load("engines", "onnxruntime")(),
            model=model,
            inputs=lambda rows: {
                "x": np.random.default_rng(rows).random((rows, 3), dtype=np.float32)
            },
            broken=files,
            weighty=heavy,
        )


VALUES = {
    Datatype.BOOL: np.array([[True, False]]),
    Datatype.UINT8: np.array([[0, 255]], np.uint8),
    Datatype.UINT16: np.array([[0, 65535]], np.uint16),
    Datatype.UINT32: np.array([[0, 2**32 - 1]], np.uint32),
    Datatype.UINT64: np.array([[0, 2**64 - 1]], np.uint64),
    Datatype.INT8: np.array([[-128, 127]], np.int8),
    Datatype.INT16: np.array([[-(2**15), 2**15 - 1]], np.int16),
    Datatype.INT32: np.array([[-(2**31), 2**31 - 1]], np.int32),
    Datatype.INT64: np.array([[-(2**63), 2**63 - 1]], np.int64),
    Datatype.FP16: np.array([[1.5, np.nan]], np.float16),
    Datatype.FP32: np.array([[1.5, -np.inf]], np.float32),
    Datatype.FP64: np.array([[1e300, -0.0]], np.float64),
    Datatype.BF16: np.array([[0x3F80, 0x7FC0]], np.uint16),
    Datatype.BYTES: np.array([["é".encode(), b""]], object),
}


def load(path, **options):
    return OnnxRuntimeEngine().load(path, EngineOptions(**options))


@pytest.mark.parametrize("datatype", list(Datatype))
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_every_datatype_comes_back_as_it_went_in(tmp_path, datatype, rows):
    session = load(models.identity(tmp_path / "m.onnx", datatype))
    assert session.signature.inputs[0] == TensorSpec("x", datatype, (None, 2))
    given = np.repeat(VALUES[datatype], rows, axis=0)
    [found] = session.infer({"x": given})
    assert found.dtype == given.dtype
    assert found.shape == (rows, 2)
    np.testing.assert_array_equal(found, given)


def test_arrays_need_not_be_contiguous(tmp_path):
    session = load(models.identity(tmp_path / "m.onnx", Datatype.BF16))
    wide = np.arange(12, dtype=np.uint16).reshape(2, 6)
    [found] = session.infer({"x": wide[:, ::3]})
    np.testing.assert_array_equal(found, [[0, 3], [6, 9]])


def test_scalar_outputs_are_arrays(tmp_path):
    session = load(models.total(tmp_path / "m.onnx"))
    assert session.signature.outputs[0].shape == ()
    [found] = session.infer({"x": np.ones((3, 2), np.float32)})
    assert found.shape == ()
    assert found == 6
    assert not session.signature.batch_axis


@pytest.mark.parametrize(
    ("values", "said"),
    [(np.array([[b"\xff", b""]], object), "UTF-8"), (np.array([[1, 2]], object), "BYTES")],
)
def test_text_that_is_none_is_refused(tmp_path, values, said):
    session = load(models.identity(tmp_path / "m.onnx", Datatype.BYTES))
    with pytest.raises(InvalidError, match=said) as caught:
        session.infer({"x": values})
    assert caught.value.field == "x"


def test_text_with_a_zero_byte_is_kept(tmp_path):
    session = load(models.identity(tmp_path / "m.onnx", Datatype.BYTES))
    given = np.array([[b"a\0b", b"\xe4\xb8\xad"]], object)
    np.testing.assert_array_equal(session.infer({"x": given})[0], given)


@pytest.mark.parametrize(
    ("ir", "opset", "cure"), [(14, 17, "ir_version = 13"), (13, 27, "opset_version=26")]
)
def test_a_model_that_is_too_new_names_the_cure(tmp_path, ir, opset, cure):
    model = onnx.load(models.double(tmp_path / "m.onnx"))
    model.ir_version = ir
    model.opset_import[0].version = opset
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(InvalidError, match=cure) as caught:
        load(tmp_path / "m.onnx")
    one_line(caught.value)


def test_of_a_long_message_the_end_is_kept(tmp_path):
    x, axes, y = (
        models.info(name, kind, shape)
        for name, kind, shape in (
            ("x", Datatype.FP32, (1, 3, 1)),
            ("axes", Datatype.INT64, (1,)),
            ("y", Datatype.FP32, (1, 3)),
        )
    )
    node = models.helper.make_node("Squeeze", ["x", "axes"], ["y"])
    session = load(models.write(tmp_path / "m.onnx", [node], [x, axes], [y]))
    with pytest.raises(InvalidError, match=r"running Squeeze.*Dimension of input 1 must be 1") as e:
        session.infer({"x": np.ones((1, 3, 1), np.float32), "axes": np.array([1])})
    assert len(e.value.message) < 300


def test_a_scalar_beside_bfloat16_keeps_its_shape(tmp_path):
    session = load(models.echo(tmp_path / "m.onnx", [Datatype.BF16, Datatype.FP32], ()))
    inputs = {"in_BF16": np.array(0x3F80, np.uint16), "in_FP32": np.array(0.5, np.float32)}
    for found, given in zip(session.infer(inputs), inputs.values(), strict=True):
        assert found.shape == ()
        assert found == given


def test_bfloat16_wants_patterns(tmp_path):
    session = load(models.identity(tmp_path / "m.onnx", Datatype.BF16))
    with pytest.raises(InvalidError, match="uint16"):
        session.infer({"x": np.ones((1, 2), np.float32)})


def test_a_folder_holds_the_model(tmp_path):
    models.double(tmp_path / "model.onnx")
    [found] = load(tmp_path).infer({"x": np.ones((1, 3), np.float32)})
    np.testing.assert_array_equal(found, [[2, 2, 2]])


def test_weights_outside_the_folder_are_never_read(tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.array([7, 7], np.float32).tobytes())
    (tmp_path / "model").mkdir()
    for location in ("../secret.bin", str(secret)):
        path = models.escaping(tmp_path / "model" / "model.onnx", location)
        with pytest.raises(InvalidError, match=r"(?i)external|path|escape") as caught:
            load(path)
        assert one_line(caught.value)


def test_weights_behind_a_link_are_never_read(tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.array([7, 7], np.float32).tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").symlink_to(secret)
    with pytest.raises(InvalidError):
        load(models.escaping(folder / "model.onnx", "weights.bin"))


def test_what_cannot_be_served_is_refused_with_a_cure(tmp_path):
    with pytest.raises(InvalidError, match="tensors only"):
        load(models.sequence(tmp_path / "s.onnx"))
    with pytest.raises(InvalidError, match="always present"):
        load(models.optional(tmp_path / "o.onnx"))


def test_a_value_that_the_model_refuses_is_the_callers_fault(tmp_path):
    session = load(models.look_up(tmp_path / "m.onnx", size=10))
    with pytest.raises(InvalidError) as caught:
        session.infer({"x": np.array([[3], [99]])})
    assert one_line(caught.value)
    np.testing.assert_array_equal(session.infer({"x": np.array([[3]])})[0], [[30]])


def test_a_registered_signature_decides_order_and_outputs(tmp_path):
    path = models.echo(tmp_path / "m.onnx", [Datatype.FP32, Datatype.INT64])
    own = load(path).signature
    session = load(path, signature=Signature(own.inputs, own.outputs[1:]))
    given = {"in_FP32": np.ones((1, 2), np.float32), "in_INT64": np.ones((1, 2), np.int64)}
    [found] = session.infer(given)
    assert found.dtype == np.int64


@pytest.mark.parametrize("change", ["datatype", "lost", "output"])
def test_a_signature_that_disagrees_is_refused(tmp_path, change):
    path = models.echo(tmp_path / "m.onnx", [Datatype.FP32, Datatype.INT64])
    own = load(path).signature
    first = own.inputs[0]
    wrong = {
        "datatype": Signature(
            (TensorSpec(first.name, Datatype.FP64, first.shape), own.inputs[1]), own.outputs
        ),
        "lost": Signature(own.inputs[:1], own.outputs),
        "output": Signature(own.inputs, (TensorSpec("z", Datatype.FP32, (None, 2)),)),
    }[change]
    with pytest.raises(InvalidError) as caught:
        load(path, signature=wrong)
    assert caught.value.field in {"in_FP32", "in_INT64", "z"}


@pytest.mark.parametrize(
    "extra",
    [
        ("optimization", "most"),
        ("inter_threads", "0"),
        ("inter_threads", "x"),
        ("inter_threads", "9" * 5000),
        ("arena", "yes"),
        ("execution", "both"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, extra):
    path = models.double(tmp_path / "m.onnx")
    with pytest.raises(InvalidError, match=extra[0]):
        load(path, extra=(extra,))


def test_settings_are_taken(tmp_path):
    path = models.double(tmp_path / "m.onnx")
    extra = (
        ("optimization", "basic"),
        ("inter_threads", "2"),
        ("arena", "own"),
        ("execution", "parallel"),
    )
    [found] = load(path, threads=2, extra=extra).infer({"x": np.ones((1, 3), np.float32)})
    np.testing.assert_array_equal(found, [[2, 2, 2]])


def test_the_engine_says_nothing_on_stderr(tmp_path, capfd):
    session = load(models.look_up(tmp_path / "m.onnx", size=10))
    with pytest.raises(ModelworksError):
        session.infer({"x": np.array([[99]])})
    assert capfd.readouterr() == ("", "")
