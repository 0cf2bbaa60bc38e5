"""OpenVINO against the engine contract, and what is its own: datatypes, states, hostile XML."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import environments
from modelworks.core.errors import InvalidError, RefusedError, UnavailableError
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.plugins import load as plugins
from modelworks.testing.engines import EngineCase, EngineContract, one_line

pytestmark = [pytest.mark.contract, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def files():
    return environments.made_here("openvino_files.py")


def load(path, **options):
    return plugins.load("engines", "openvino")().load(path, EngineOptions(**options))


def only(session, rows):
    [output] = session.infer({session.signature.inputs[0].name: rows})
    return output


def pair(folder, name, change, source):
    """A copy of a pair with its XML changed."""
    (folder / f"{name}.xml").write_text(change((source.with_suffix(".xml")).read_text()))
    (folder / f"{name}.bin").write_bytes(source.with_suffix(".bin").read_bytes())
    return folder / f"{name}.xml"


class TestOpenVino(EngineContract):
    @pytest.fixture
    def case(self, tmp_path, files):
        whole = (files / "mlp.xml").read_bytes()
        broken = {
            "empty": b"",
            "truncated": whole[: len(whole) // 2],
            "foreign": b"PK\x03\x04 this is a zip file and no model" * 10,
            "other xml": b"<?xml version='1.0'?><html><body/></html>",
            "no weights": whole,
        }
        paths = {}
        for what, data in broken.items():
            paths[what] = tmp_path / f"{what}.xml"
            paths[what].write_bytes(data)
        paths["missing"] = tmp_path / "nowhere.xml"
        (tmp_path / "folder").mkdir()
        paths["folder without a model"] = tmp_path / "folder"
        paths["four bits"] = files / "kind_i4.xml"
        return EngineCase(
            engine=plugins.load("engines", "openvino")(),
            model=files / "mlp.xml",
            inputs=lambda rows: {
                "features": np.random.default_rng(rows).random((rows, 8), dtype=np.float32)
            },
            broken=paths,
            weighty=Weighty(files / "heavy.xml"),
        )


class Weighty(type(Path())):
    """A pair whose size, for the suite, is that of its weights."""

    def stat(self, **more):
        return Path(self).with_suffix(".bin").stat(**more)


@pytest.mark.parametrize(("name", "near"), [("mlp", 1e-5), ("mlp_half", 5e-3), ("cnn", 1e-5)])
def test_it_says_what_numpy_says(files, name, near):
    rows, said = np.load(files / f"{name[:3]}_rows.npy"), np.load(files / f"{name[:3]}_said.npy")
    session = load(files / f"{name}.xml")
    found = session.infer({session.signature.inputs[0].name: rows})
    np.testing.assert_allclose(found[0], said, atol=near)


def test_names_are_the_same_every_time(files):
    names = {tuple(s.name for s in load(files / "mlp.xml").signature.outputs) for _ in range(5)}
    assert names == {("probabilities", "logits")}
    assert load(files / "nameless.xml").signature.inputs[0].name == "given"


VALUES = {
    "boolean": np.array([[True, False]]),
    "u8": np.array([[0, 255]], np.uint8),
    "u16": np.array([[0, 65535]], np.uint16),
    "u32": np.array([[0, 2**32 - 1]], np.uint32),
    "u64": np.array([[0, 2**63]], np.uint64),
    "i8": np.array([[-128, 127]], np.int8),
    "i16": np.array([[-(2**15), 2**15 - 1]], np.int16),
    "i32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "i64": np.array([[-(2**63), 2**63 - 1]], np.int64),
    "f16": np.array([[1.5, np.nan]], np.float16),
    "f32": np.array([[1.5, -np.inf]], np.float32),
    "f64": np.array([[1e300, -0.5]], np.float64),
    "bf16": np.array([[0x3F80, 0x7FC0]], np.uint16),
    "string": np.array([["é".encode(), b"a\0b"]], object),
}


@pytest.mark.parametrize("kind", VALUES)
def test_every_datatype_comes_back_as_it_went_in(files, kind):
    session = load(files / f"kind_{kind}.xml")
    for rows in (0, 1, 3):
        given = np.repeat(VALUES[kind], rows, axis=0)
        given.setflags(write=False)
        found = only(session, given)
        assert found.dtype == given.dtype
        assert found.shape == (rows, 2)
        np.testing.assert_array_equal(found, given)


def test_both_of_numpys_int64_are_taken(files):
    session = load(files / "kind_i64.xml")
    for kind in ("l", "q"):
        np.testing.assert_array_equal(only(session, np.array([[1, -1]], kind)), [[1, -1]])


def test_text_that_would_change_is_refused(files):
    session = load(files / "kind_string.xml")
    with pytest.raises(InvalidError, match="zero byte") as caught:
        only(session, np.array([[b"a\0", b""]], object))
    assert caught.value.field == session.signature.inputs[0].name
    with pytest.raises(InvalidError, match="BYTES"):
        only(session, np.array([[1, 2]], object))


def test_free_axes_beside_the_batch(files):
    session = load(files / "cnn.xml")
    assert session.signature.inputs == (TensorSpec("image", Datatype.FP32, (None, 3, None, None)),)
    for shape in ((1, 3, 8, 9), (4, 3, 20, 5)):
        assert only(session, np.ones(shape, np.float32)).shape == (shape[0], 4)
    with pytest.raises(InvalidError, match="shape"):
        only(session, np.ones((1, 4, 8, 8), np.float32))


def test_what_the_model_refuses_is_the_callers_and_harms_nothing(files):
    session = load(files / "columns.xml")
    two, three = np.ones((2, 1), np.float32), np.ones((3, 1), np.float32)
    with pytest.raises(InvalidError, match="refuses this input") as caught:
        session.infer({"a": two, "b": three})
    assert one_line(caught.value)
    np.testing.assert_array_equal(session.infer({"a": two, "b": two})[0], two + two)


def test_an_earlier_request_leaves_no_trace(files):
    session = load(files / "state.xml")
    one = np.ones((1, 2), np.float32)
    for _ in range(3):
        np.testing.assert_array_equal(only(session, one), one)


def test_the_answer_is_the_callers_own(files):
    session = load(files / "kind_f32.xml")
    first = only(session, np.array([[1, 2]], np.float32))
    only(session, np.array([[3, 4]], np.float32))
    np.testing.assert_array_equal(first, [[1, 2]])


def test_float32_is_computed_in_float32(files):
    """Where the processor has bfloat16, OpenVINO would take that of its own."""
    rows = np.load(files / "mlp_rows.npy")
    exact = load(files / "mlp.xml").infer({"features": rows})[0]
    np.testing.assert_allclose(exact, np.load(files / "mlp_said.npy"), atol=1e-5)
    coarse = load(files / "mlp.xml", extra=(("precision", "bf16"),)).infer({"features": rows})[0]
    np.testing.assert_allclose(coarse, exact, atol=0.1)
    with pytest.raises(InvalidError, match="f8"):
        load(files / "mlp.xml", extra=(("precision", "f8"),))


def test_sizes_that_come_often_are_compiled_for_and_say_the_same(files):
    free = load(files / "cnn.xml")
    session = load(files / "cnn.xml", extra=(("reshape", "1x8x9, 4x20x5"),))
    for shape in ((1, 3, 8, 9), (4, 3, 20, 5), (2, 3, 8, 9)):
        rows = np.random.default_rng(0).random(shape, dtype=np.float32)
        np.testing.assert_allclose(only(session, rows), only(free, rows), rtol=1e-5)
    assert only(session, np.ones((0, 3, 8, 9), np.float32)).shape == (0, 4)
    session.close()
    with pytest.raises(UnavailableError):
        only(session, np.ones((1, 3, 8, 9), np.float32))


def test_a_fixed_size_answers_by_itself(files):
    """The model for one row alone is really the one that answers: its own failure is seen."""
    session = load(files / "kind_f32.xml", extra=(("reshape", "1"),))
    session._fixed = dict.fromkeys(session._fixed)
    with pytest.raises(AttributeError):
        only(session, np.ones((1, 2), np.float32))
    assert only(session, np.ones((2, 2), np.float32)).shape == (2, 2)


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        ("mlp", "1x2"),
        ("cnn", "1"),
        ("mlp", "0"),
        ("mlp", "one"),
        ("mlp", "1,"),
        ("mlp", "99999"),
        ("fixed", "1"),
        ("mlp", ",".join("123456789")),
    ],
)
def test_sizes_that_cannot_be_are_refused(files, model, sizes):
    with pytest.raises(InvalidError) as caught:
        load(files / f"{model}.xml", extra=(("reshape", sizes),))
    assert caught.value.field == "reshape"
    assert one_line(caught.value)


def test_groups_of_activations_are_known_or_refused(files):
    rows = np.load(files / "mlp_rows.npy")
    session = load(files / "mlp.xml", extra=(("dynamic_quantization", "64"),))
    exact = session.infer({"features": rows})[0]  # no weight of it is compressed
    np.testing.assert_allclose(exact, np.load(files / "mlp_said.npy"), atol=1e-5)
    with pytest.raises(InvalidError, match="7") as caught:
        load(files / "mlp.xml", extra=(("dynamic_quantization", "7"),))
    assert caught.value.field == "dynamic_quantization"


def test_a_closed_session_says_so(files):
    session = load(files / "kind_f32.xml")
    session.close()
    with pytest.raises(UnavailableError):
        only(session, np.ones((1, 2), np.float32))


ALONE = """
import os, socket, sys
from pathlib import Path
calls = []
sys.addaudithook(lambda event, _: calls.append(event) if event.startswith("socket.") else None)
import numpy as np
from modelworks.core.seams import EngineOptions
from modelworks.ext.engines.openvino import OpenVinoEngine
session = OpenVinoEngine().load(Path(sys.argv[1]), EngineOptions(threads=int(sys.argv[2])))
session.infer({"a": np.ones((64, 1000), np.float32)})
print([m for m, found in sys.modules.items() if m.startswith("openvino_telemetry") and found])
print(calls)
print(sorted(str(p) for p in Path.home().rglob("*")))
print(session._request.get_compiled_model().get_property("INFERENCE_NUM_THREADS"))
"""


def test_nobody_is_told_and_nothing_is_kept(files, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    command = [sys.executable, "-c", ALONE, files / "heavy.xml", "2"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120, cwd=work,
        env={"HOME": str(work), "PATH": os.defpath},
    )  # fmt: skip
    assert done.stdout.splitlines() == ["[]", "[]", "[]", "2"]
    assert done.stderr == ""
    assert list(work.iterdir()) == []


# -- XML of strangers


LAUGHS = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>"""
OUTSIDE = '<?xml version="1.0"?>\n<!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
FIRST = '<layer id="0" name="features" type="Parameter" version="opset1">'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.replace('<?xml version="1.0"?>', LAUGHS).replace("<dim>8", "<dim>&c;"), "ent"),
        (lambda t: t.replace('<?xml version="1.0"?>', OUTSIDE), "document type"),
        (lambda t: t.replace("<dim>8", "<dim>&nobody;"), "undefined entity"),
        (lambda t: t.replace('version="opset1"', 'version="extension"', 1), "library"),
        (lambda t: t.replace('version="opset1"', 'version="custom_opset"', 1), "library"),
        (lambda t: t.replace('type="ReLU"', 'type="Teleport"'), "Teleport"),
        (lambda t: t.replace("<dim>8", "<dim>99999999999"), "more than"),
        (lambda t: t.replace('offset="0"', 'offset="99999"'), "cut short"),
        (lambda t: t.replace('offset="0"', 'offset="-4"'), "negative"),
        (lambda t: t.replace('shape="8, 32"', 'shape="8000, 32"'), "bytes of weights"),
        (lambda t: t.replace('<net name="mlp" version="11"', '<net version="5"'), "IR version 5"),
        (lambda t: t.replace(FIRST, "<a>" * 300 + "</a>" * 300 + FIRST), "too deeply"),
        (lambda t: t.replace('to-layer="2"', 'to-layer="77"'), "load"),
    ],
)  # fmt: skip
def test_xml_of_strangers_is_refused_in_one_line(files, tmp_path, change, said):
    source = files / "mlp.xml"
    text = source.read_text()
    assert change(text) != text
    with pytest.raises(InvalidError, match=f"(?i){said}") as caught:
        load(pair(tmp_path, "hostile", change, source))
    assert one_line(caught.value)


def test_weights_that_are_cut_short_are_told(files, tmp_path):
    path = pair(tmp_path, "short", str, files / "mlp.xml")
    weights = path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(InvalidError, match=r"short\.bin is cut short"):
        load(path)


def test_a_library_is_never_asked_for(files, tmp_path):
    with pytest.raises(RefusedError, match="code"):
        load(pair(tmp_path, "x", lambda t: t.replace("opset1", "extension", 1), files / "mlp.xml"))


def test_ir_of_version_10(files, tmp_path):
    """What OpenVINO before 2022 wrote: no tensor names, results without names."""
    path = pair(
        tmp_path, "old",
        lambda t: t.replace('version="11"', 'version="10"', 1).replace(' output_names="y"', ""),
        files / "heavy.xml",
    )  # fmt: skip
    session = load(path)
    assert only(session, np.ones((2, 1000), np.float32)).shape == (2, 1000)


FUZZ = """
import random, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
from modelworks.core.errors import ModelworksError
from modelworks.ext.formats import ir
source, work = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
work.with_suffix(".bin").write_bytes(Path(sys.argv[1]).with_suffix(".bin").read_bytes())
read = refused = 0
for seed in range(400):
    chance = random.Random(seed)
    data = bytearray(source)
    for _ in range(chance.choice([1, 2, 8])):
        place = chance.randrange(len(data))
        data[place] = chance.choice([*b'<>&"9-0', chance.randrange(256)])
    work.write_bytes(data)
    try:
        ir.read(work)
        read += 1
    except ModelworksError as error:
        assert "\\n" not in error.message
        refused += 1
print(read, refused)
"""


def test_damage_anywhere_is_an_error_of_ours_or_harmless(files, tmp_path):
    command = [sys.executable, "-c", FUZZ, files / "mlp.xml", tmp_path / "damaged.xml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-800:]
    read, refused = map(int, done.stdout.split())
    assert refused > 100
    assert read + refused == 400
