"""ONNX files come in through the sandbox: what is kept, repaired and refused."""

import json
import os

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelworks.core import codec
from modelworks.core.errors import InvalidError, ModelworksError, RefusedError
from modelworks.core.imports import ImportOptions
from modelworks.core.model import Verdict
from modelworks.core.tensor import Datatype, Layout, Role
from modelworks.ext.importers.onnx import OnnxImporter
from modelworks.intake.service import bring_in
from modelworks.sandbox.jobs import Warm

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def warm():
    modules = ("modelworks.intake.job", "modelworks.ext.importers.onnx.check")
    with Warm((*modules, "modelworks.ext.engines.onnxruntime")) as host:
        yield host


@pytest.fixture
def bring(warm, tmp_path):
    def call(file, **options):
        work = tmp_path / f"work{len(list(tmp_path.iterdir()))}"
        return bring_in(file, ImportOptions(**options), work, runner=warm.run)

    return call


def save(path, nodes, inputs, outputs, constants=(), opsets=(("", 17), ("ai.onnx.ml", 3))):
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(constants))
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid(*o) for o in opsets], ir_version=8
    )
    onnx.save(model, path)
    return path


def value(name, kind=TensorProto.FLOAT, shape=("n", 3)):
    return helper.make_tensor_value_info(name, kind, shape)


def doubled(path, **more):
    node = helper.make_node("Add", ["x", "x"], ["y"])
    return save(path, [node], [value("x")], [value("y")], **more)


def kinds(candidate):
    return {evidence.kind: evidence for evidence in candidate.evidence}


def test_a_plain_file_is_kept_byte_for_byte(bring, tmp_path):
    file = doubled(tmp_path / "twice.onnx")
    candidate = bring(file)
    assert (candidate.folder / "model.onnx").read_bytes() == file.read_bytes()
    assert (candidate.format, candidate.source_format) == ("onnx", "onnx")
    assert candidate.source_name == "twice.onnx"
    assert candidate.signature.layout is Layout.MATRIX
    assert candidate.signature.batch_axis
    evidence = kinds(candidate)
    assert evidence["parity"].verdict is Verdict.PASSED
    assert evidence["parity"].detail["batchable"]
    assert "no conversion" in evidence["parity"].summary
    assert "opset" in str(evidence["signature"].detail) or "operators" in str(
        evidence["signature"].detail
    )
    assert "onnx" in candidate.environment
    json.dumps(codec.encode(candidate), allow_nan=False)


def test_rows_that_influence_each_other_are_told(bring, tmp_path):
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "m"], ["y"]),
    ]
    file = save(tmp_path / "m.onnx", nodes, [value("x")], [value("y")])
    parity = kinds(bring(file))["parity"]
    assert not parity.detail["batchable"]
    assert "influence" in parity.summary


def test_zipmap_is_removed(bring, tmp_path):
    from skl2onnx import to_onnx
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    x, y = load_iris(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    model = to_onnx(LogisticRegression(max_iter=300).fit(x, names), x[:1].astype(np.float32))
    file = tmp_path / "iris.onnx"
    file.write_bytes(model.SerializeToString())
    candidate = bring(file)
    assert candidate.signature.classes == ("a", "b", "c")
    assert candidate.signature.output(Role.LABEL).datatype is Datatype.BYTES
    assert candidate.signature.output(Role.PROBABILITIES).shape == (None, 3)
    assert any("ZipMap" in note for note in kinds(candidate)["signature"].detail["notes"])
    session = onnxruntime.InferenceSession(candidate.folder / "model.onnx")
    label, probabilities = session.run(None, {"X": x[:5].astype(np.float32)})
    assert probabilities.shape == (5, 3)
    assert (np.array(["a", "b", "c"])[probabilities.argmax(1)] == label).all()


def test_a_fixed_batch_axis_is_kept(bring, tmp_path):
    node = helper.make_node("Add", ["x", "x"], ["y"])
    fixed = [value("x", shape=(4, 3))], [value("y", shape=(4, 3))]
    candidate = bring(save(tmp_path / "fixed.onnx", [node], *fixed))
    assert candidate.signature.inputs[0].shape == (4, 3)
    assert not candidate.signature.batch_axis
    assert any("fixed" in note for note in kinds(candidate)["signature"].detail["notes"])


def test_a_sample_names_the_features(bring, tmp_path):
    file = doubled(tmp_path / "m.onnx")
    (tmp_path / "s.csv").write_text("a,b,c\n1,2,3\n4,5,6\n")
    candidate = bring(file, sample=tmp_path / "s.csv")
    assert candidate.signature.features == ("a", "b", "c")
    assert candidate.sample_digest.startswith("sha256:")
    assert kinds(candidate)["sample"].detail["rows"] == 2


def external(folder, location="weights.bin", length=None):
    tensor = numpy_helper.from_array(np.ones(3, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", "0"), ("length", str(length or 12))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, text
    folder.mkdir()
    node = helper.make_node("Add", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", [value("x")], [value("y")], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    (folder / "weights.bin").write_bytes(np.ones(3, np.float32).tobytes())
    return folder


def test_external_data_inside_the_folder_comes_along(bring, tmp_path):
    folder = external(tmp_path / "net")
    candidate = bring(folder)
    assert sorted(p.name for p in candidate.folder.iterdir()) == ["model.onnx", "weights.bin"]
    with pytest.raises(InvalidError, match="import the folder"):
        bring(folder / "net.onnx")


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../secret", "..\\secret"])
def test_external_data_outside_the_folder_is_refused(bring, tmp_path, location):
    with pytest.raises(RefusedError, match="outside of the model's folder"):
        bring(external(tmp_path / "net", location))


def test_external_data_that_is_missing_or_short_is_told(bring, tmp_path):
    with pytest.raises(InvalidError, match="missing"):
        bring(external(tmp_path / "one", "other.bin"))
    with pytest.raises(InvalidError, match="cut short"):
        bring(external(tmp_path / "two", length=4000))
    folder = external(tmp_path / "three")
    (folder / "weights.bin").unlink()
    (folder / "weights.bin").symlink_to("/etc/passwd")
    with pytest.raises(RefusedError, match="symbolic links"):
        bring(folder)


def refused(bring, file, reason, **options):
    with pytest.raises(ModelworksError, match=reason) as caught:
        bring(file, **options)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) <= 500


def test_bad_files_give_one_line(bring, tmp_path):
    file = doubled(tmp_path / "m.onnx")
    data = file.read_bytes()
    cut = tmp_path / "cut.onnx"
    for size in (1, 7, len(data) // 2, len(data) - 1):
        cut.write_bytes(data[:size])
        refused(bring, cut, "cut.onnx")
    empty = tmp_path / "empty.onnx"
    empty.touch()
    refused(bring, empty, "empty file")
    text = tmp_path / "notes.onnx"
    text.write_text("this is no model")
    refused(bring, text, "not an ONNX file")
    foreign = tmp_path / "photo.jpg"
    foreign.write_bytes(b"\xff\xd8\xff\xe0" + os.urandom(2000))
    refused(bring, foreign, "no model file that is understood")
    refused(bring, tmp_path / "nothing.onnx", "no such file")
    (tmp_path / "folder").mkdir()
    refused(bring, tmp_path / "folder", "empty folder")
    link = tmp_path / "link.onnx"
    link.symlink_to(file)
    refused(bring, link, "symbolic links")
    fifo = tmp_path / "fifo.onnx"
    os.mkfifo(fifo)
    refused(bring, fifo, "neither a file nor a folder")


def test_graphs_that_cannot_run_are_refused(bring, tmp_path):
    custom = helper.make_node("Magic", ["x"], ["y"], domain="com.example")
    opsets = (("", 17), ("com.example", 1))
    file = save(tmp_path / "c.onnx", [custom], [value("x")], [value("y")], opsets=opsets)
    refused(bring, file, "Magic")
    wrong = helper.make_node("Add", ["x", "nowhere"], ["y"])
    refused(bring, save(tmp_path / "w.onnx", [wrong], [value("x")], [value("y")]), "nowhere")
    refused(bring, doubled(tmp_path / "m.onnx"), "layout", layout=Layout.COLUMNS)
    refused(bring, doubled(tmp_path / "m2.onnx"), "no plug-in 'nope'", importer="nope")


def test_too_large_is_refused_before_anything_is_copied(tmp_path, warm):
    file = doubled(tmp_path / "m.onnx")
    with pytest.raises(InvalidError, match="10 are allowed"):
        bring_in(file, ImportOptions(), tmp_path / "w", runner=warm.run, largest=10)


def test_the_source_is_not_touched_and_cold_works_too(tmp_path):
    file = doubled(tmp_path / "m.onnx")
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    lines = []
    candidate = bring_in(file, ImportOptions(trust=True), tmp_path / "w", lines.append)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert len(lines) == 3
    evidence = kinds(candidate)
    assert evidence["trust"].verdict is Verdict.ACCEPTED
    assert evidence["trust"].detail["digest"] == candidate.source_digest
    assert evidence["sandbox"].detail["isolation"].keys() >= {"network", "files", "reasons"}
    assert evidence["sandbox"].detail["limits"]["memory_bytes"] == 8 << 30


def test_sniffing(tmp_path):
    importer = OnnxImporter()
    assert importer.sniff(doubled(tmp_path / "any.bin")).confidence == 100
    (tmp_path / "x.onnx").write_text("text")
    assert importer.sniff(tmp_path / "x.onnx").confidence == 50
    (tmp_path / "x.bin").write_bytes(b"\x08\x03")
    assert importer.sniff(tmp_path / "x.bin") is None
    assert importer.sniff(tmp_path / "missing") is None
    assert importer.sniff(tmp_path) is None or importer.sniff(tmp_path).format == "onnx"
