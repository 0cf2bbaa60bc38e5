"""LiteRT against the engine contract, and what is its own: quantized files, states, damage."""

import subprocess
import sys
import threading

import flatbuffers
import numpy as np
import pytest

import environments
from modelworks.core.errors import InvalidError, ModelworksError, RefusedError, UnavailableError
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.plugins import load as plugins
from modelworks.testing.engines import EngineCase, EngineContract, one_line

pytestmark = [pytest.mark.contract, pytest.mark.real, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def files():
    return environments.made("TensorFlow 2.21", environments.TENSORFLOW, "litert_files.py")


def load(path, **options):
    return plugins.load("engines", "litert")().load(path, EngineOptions(**options))


def only(session, rows):
    [output] = session.infer({session.signature.inputs[0].name: rows})
    return output


class TestLiteRt(EngineContract):
    @pytest.fixture
    def case(self, tmp_path, files):
        whole = (files / "mlp.tflite").read_bytes()
        broken = {
            "empty": b"",
            "truncated": whole[: len(whole) // 2],
            "foreign": b"PK\x03\x04 this is a zip file and no model" * 10,
            "mark only": b"\x20\0\0\0TFL3" + bytes(64),
            "root outside": b"\xff\xff\xff\x7fTFL3" + whole[8:],
        }
        paths = {}
        for what, data in broken.items():
            paths[what] = tmp_path / f"{what}.tflite"
            paths[what].write_bytes(data)
        paths["missing"] = tmp_path / "nowhere.tflite"
        (tmp_path / "folder").mkdir()
        paths["folder without a model"] = tmp_path / "folder"
        paths["custom"] = files / "custom.tflite"
        paths["flex"] = files / "flex.tflite"
        return EngineCase(
            engine=plugins.load("engines", "litert")(),
            model=files / "mlp.tflite",
            inputs=lambda rows: {
                "features": np.random.default_rng(rows).random((rows, 8), dtype=np.float32)
            },
            broken=paths,
            weighty=files / "heavy.tflite",
        )


@pytest.mark.parametrize("name", ["mlp", "cnn", "lstm"])
def test_it_says_what_keras_said(files, name):
    rows, said = np.load(files / f"{name}_rows.npy"), np.load(files / f"{name}_said.npy")
    session = load(files / f"{name}.tflite")
    size = session.signature.inputs[0].shape[0] or len(rows)
    found = [only(session, rows[i : i + size]) for i in range(0, len(rows), size)]
    np.testing.assert_allclose(np.concatenate(found), said, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp_weights8", "mlp_float32"])
def test_a_quantized_model_with_float_inputs_is_near(files, name):
    rows, said = np.load(files / "mlp_rows.npy"), np.load(files / "mlp_said.npy")
    session = load(files / f"{name}.tflite")
    assert session.signature.inputs[0] == TensorSpec("features", Datatype.FP32, (None, 8))
    np.testing.assert_allclose(only(session, rows), said, atol=0.05)


@pytest.mark.parametrize(("name", "kind"), [("mlp_int8", np.int8), ("mlp_uint8", np.uint8)])
def test_a_quantized_model_takes_and_gives_integers(files, name, kind):
    rows, said = np.load(files / "mlp_rows.npy"), np.load(files / "mlp_said.npy")
    session = load(files / f"{name}.tflite")
    assert session.signature.inputs[0].datatype == Datatype(np.dtype(kind).name.upper())
    [taken], [given] = session.facts.inputs, session.facts.outputs
    bounds = np.iinfo(kind)
    steps = np.clip(np.round(rows / taken.scale) + taken.zero, bounds.min, bounds.max)
    found = only(session, steps.astype(kind))
    assert found.dtype == kind
    real = (found.astype(np.float64) - given.zero) * given.scale
    np.testing.assert_allclose(real, said, atol=0.05)
    alone = np.concatenate([only(session, row[None].astype(kind)) for row in steps])
    np.testing.assert_array_equal(alone, found)


def test_the_served_signature_need_not_be_the_first_graph(files):
    session = load(files / "two.tflite")
    assert session.facts.subgraph == 1
    assert {spec.name for spec in session.signature.inputs} == {"a", "b"}
    for rows in (2, 5, 1):
        a, b = np.full((rows, 3), 5, np.float32), np.full((rows, 3), 2, np.float32)
        outputs = session.infer({"a": a, "b": b})
        named = dict(zip((s.name for s in session.signature.outputs), outputs, strict=True))
        np.testing.assert_array_equal(named["sum"], a + b)
        np.testing.assert_array_equal(named["difference"], a - b)


def test_text_goes_through_as_it_is(files):
    session = load(files / "text.tflite")
    assert session.signature.inputs[0].datatype is Datatype.BYTES
    given = np.array([[b"a", b""], ["é".encode(), b"a\0b"], [b"\xff", b"x"]], object)
    np.testing.assert_array_equal(only(session, given), given)


def test_lengths_that_only_a_run_knows(files):
    session = load(files / "where.tflite")
    assert session.signature.outputs[0].shape == (None,)
    np.testing.assert_array_equal(only(session, np.array([1, -1, 2, 3], np.float32)), [0, 2, 3])
    np.testing.assert_array_equal(only(session, np.array([-1, 1], np.float32)), [1])


def test_free_axes_beside_the_batch(files):
    session = load(files / "free.tflite")
    assert session.signature.inputs[0].shape == (None, None)
    for shape in ((2, 3), (1, 9), (4, 1)):
        np.testing.assert_array_equal(
            only(session, np.ones(shape, np.float32)), [shape[1]] * shape[0]
        )


def test_a_fixed_batch_stays_fixed(files):
    session = load(files / "fixed.tflite")
    assert not session.signature.batch_axis
    with pytest.raises(InvalidError, match=r"shape \[3, 3\]"):
        only(session, np.ones((3, 3), np.float32))
    np.testing.assert_array_equal(only(session, np.ones((2, 3), np.float32)), np.full((2, 3), 2.0))


def test_no_rows_give_no_rows(files):
    session = load(files / "mlp.tflite")
    assert only(session, np.empty((0, 8), np.float32)).shape == (0, 3)


def test_arrays_need_not_be_contiguous(files):
    session = load(files / "mlp.tflite")
    rows = np.load(files / "mlp_rows.npy")
    wide = np.asfortranarray(rows)
    np.testing.assert_array_equal(only(session, wide), only(session, rows))


def test_a_recurrent_network_forgets_the_caller_before(files):
    session = load(files / "lstm.tflite")
    rows = np.load(files / "lstm_rows.npy")
    first = only(session, rows[:1])
    only(session, rows[1:2] * 100)
    np.testing.assert_array_equal(only(session, rows[:1]), first)


THREADS = """
import os, sys
from pathlib import Path
import numpy as np
from modelworks.core.seams import EngineOptions
from modelworks.ext.engines.litert import LiteRtEngine
count = lambda: len(os.listdir("/proc/self/task"))
rows, before = np.ones((64, 2400), np.float32), count()
for threads in (1, 3):
    session = LiteRtEngine().load(Path(sys.argv[1]), EngineOptions(threads=threads))
    session.infer({"a": rows})
    print(count() - before)
    session.close()
"""


def test_threads_are_honoured(files):
    command = [sys.executable, "-c", THREADS, files / "heavy.tflite"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["0", "2"]


def test_the_answer_is_the_callers_own(files):
    session = load(files / "mlp.tflite")
    rows = np.load(files / "mlp_rows.npy")
    first = only(session, rows[:4])
    kept = first.copy()
    only(session, rows[4:8])
    np.testing.assert_array_equal(first, kept)


def test_a_closed_session_says_so(files):
    session = load(files / "mlp.tflite")
    session.close()
    with pytest.raises(UnavailableError):
        only(session, np.ones((1, 8), np.float32))


# -- hostile files: the generated writer of the format makes them


def changed(files, name, into, change):
    """A file of the framework's with one thing changed by hand."""
    from ai_edge_litert import schema_py_generated as schema

    data = (files / f"{name}.tflite").read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data))
    change(model)
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    path = into / "changed.tflite"
    path.write_bytes(builder.Output())
    return path


def weights(model):
    """The first tensor with a constant of its own."""
    return next(t for t in model.subgraphs[0].tensors if model.buffers[t.buffer].data is not None)


def giant(model):
    model.subgraphs[0].tensors[0].shape = np.array([1 << 20, 1 << 20], np.int32)
    model.subgraphs[0].tensors[0].shapeSignature = None


def no_tensor(model):
    model.subgraphs[0].operators[0].inputs = np.array([0, 99, 1], np.int32)


def left_out(model):
    model.subgraphs[0].operators[-1].inputs = np.array([-1], np.int32)


def no_code(model):
    model.subgraphs[0].operators[0].opcodeIndex = 99


def no_buffer(model):
    weights(model).buffer = 4000


def short_weights(model):
    buffer = model.buffers[weights(model).buffer]
    buffer.data = buffer.data[:-4]


def weights_outside(model):
    buffer = model.buffers[weights(model).buffer]
    buffer.data, buffer.offset, buffer.size = None, 1 << 40, 64


def negative(model):
    model.subgraphs[0].tensors[0].shape = np.array([-7, 8], np.int32)


def two_shapes(model):
    model.subgraphs[0].tensors[0].shapeSignature = np.array([-1, 1 << 30], np.int32)


def no_graph(model):
    model.subgraphs = []


def other_schema(model):
    model.version = 2


def signature_elsewhere(model):
    model.signatureDefs[0].subgraphIndex = 9


def signature_of_others(model):
    model.signatureDefs[0].inputs[0].tensorIndex = 3


def damaged_name(model):
    model.signatureDefs[0].inputs[0].name = b"a\nb"


def custom(model):
    model.operatorCodes[0].builtinCode = 32
    model.operatorCodes[0].deprecatedBuiltinCode = 32
    model.operatorCodes[0].customCode = b"Evil"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (giant, "needs"), (no_tensor, "tensor that is not there"), (left_out, "not there"),
        (no_code, "no code"), (no_buffer, "no buffer"), (short_weights, "bytes and has"),
        (weights_outside, "outside of the file"), (negative, "shape"),
        (two_shapes, "contradict"), (no_graph, "no graph"), (other_schema, "schema version 2"),
        (signature_elsewhere, "not there"), (signature_of_others, "not those of the graph"),
        (damaged_name, "name"), (custom, "custom operator Evil"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_never_reaches_the_interpreter(files, tmp_path, change, said):
    with pytest.raises(InvalidError, match=said) as caught:
        load(changed(files, "mlp", tmp_path, change))
    assert one_line(caught.value)


def test_text_constants_are_looked_into(tmp_path, files):
    def change(model):
        tensor = weights(model)
        buffer = model.buffers[tensor.buffer]
        tensor.type = 5
        buffer.data = np.frombuffer(
            np.array([1, 12, 1 << 30], "<i4").tobytes(), np.uint8
        )  # fmt: skip

    with pytest.raises(InvalidError, match="texts are damaged"):
        load(changed(files, "mlp", tmp_path, change))


def test_a_file_that_refers_to_itself_over_and_over_is_given_up(tmp_path):
    """One operator's table, named over and over: small on disk, endless to read."""
    many = 150_000
    from ai_edge_litert import schema_py_generated as schema

    builder = flatbuffers.Builder(8 * many)
    name = builder.CreateString("x" * 1000)
    schema.OperatorCodeStart(builder)
    schema.OperatorCodeAddCustomCode(builder, name)
    code = schema.OperatorCodeEnd(builder)
    schema.ModelStartOperatorCodesVector(builder, many)
    for _ in range(many):
        builder.PrependUOffsetTRelative(code)
    codes = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddOperatorCodes(builder, codes)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    path = tmp_path / "bomb.tflite"
    path.write_bytes(builder.Output())
    with pytest.raises(InvalidError, match="more than"):
        load(path)


FUZZ = """
import random, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
from modelworks.core.errors import ModelworksError
from modelworks.ext.formats import tflite
source, work = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
read = refused = 0
for seed in range(200):
    chance = random.Random(seed)
    data = bytearray(source)
    for _ in range(chance.choice([1, 2, 8])):
        place = chance.randrange(len(data) // 4) * 4
        word = chance.choice([0, 1, 4, 2**32 - 1, 2**31, chance.randrange(2**32)])
        data[place : place + 4] = word.to_bytes(4, "little")
    work.write_bytes(data)
    try:
        tflite.read(work)
        read += 1
    except ModelworksError as error:
        assert "\\n" not in error.message
        refused += 1
print(read, refused)
"""


@pytest.mark.parametrize("name", ["mlp", "two", "text"])
def test_damage_anywhere_is_an_error_of_ours_or_harmless(files, tmp_path, name):
    command = [sys.executable, "-c", FUZZ, files / f"{name}.tflite", tmp_path / "damaged.tflite"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-800:]
    read, refused = map(int, done.stdout.split())
    assert refused > 25
    assert read + refused == 200


def test_sessions_on_threads_do_not_disturb_each_other(files):
    rows, said = np.load(files / "mlp_rows.npy"), np.load(files / "mlp_said.npy")
    wrong: list[BaseException] = []

    def work(size):
        session = load(files / "mlp.tflite")
        try:
            for start in range(32 - size):
                found = only(session, rows[start : start + size])
                np.testing.assert_allclose(found, said[start : start + size], atol=1e-5)
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(size,)) for size in (1, 3, 8, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_custom_operators_are_refused_by_name(files):
    with pytest.raises(RefusedError, match="Betainc"):
        load(files / "custom.tflite")
    with pytest.raises(ModelworksError, match="StringLower"):
        load(files / "flex.tflite")
