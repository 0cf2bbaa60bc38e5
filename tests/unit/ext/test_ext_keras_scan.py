"""What hostile Keras files and SavedModels name is found by reading, without TensorFlow."""

import io
import json
import sys
import zipfile

import h5py
import numpy as np
import pytest

from modelworks.core.errors import InvalidError, MissingExtraError, ModelworksError, RefusedError
from modelworks.core.imports import ImportOptions
from modelworks.core.scans import Danger
from modelworks.ext.importers.keras import KerasImporter, config, graph, pins, scan
from modelworks.ext.importers.keras.lists import judge_object, judge_operation, savers
from modelworks.ext.importers.keras.proto import saved_model
from modelworks.sandbox import environments

pytestmark = pytest.mark.unit


def layer(name, module="keras.layers", registered=None, **settings):
    return {
        "module": module, "class_name": name, "config": {"name": name.lower(), **settings},
        "registered_name": registered,
    }  # fmt: skip


def model(*layers, **more):
    return {**layer("Sequential", "keras", layers=list(layers)), **more}


def weights():
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/dense/vars/0"] = np.ones((3, 2), np.float32)
    return buffer.getvalue()


def archive(path, content, *, raw=None, members=()):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", raw if raw is not None else json.dumps(content))
        file.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        file.writestr("model.weights.h5", weights())
        for name, data in members:
            file.writestr(name, data)
    return path


def hdf5(path, content, training=None):
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(content)
        file.attrs["keras_version"] = "3.15.1"
        if training is not None:
            file.attrs["training_config"] = json.dumps(training)
        file["model_weights/dense/kernel"] = np.ones((3, 2), np.float32)
    return path


DENSE = layer("Dense", units=2)
LAMBDA = layer("Lambda", function={"class_name": "__lambda__", "config": {"code": "4wAAAA=="}})
UNKNOWN = {
    "a Lambda": (model(LAMBDA), "lambda"),
    "a Lambda in wrappers": (
        model(layer("TimeDistributed", layer=layer("Bidirectional", layer=LAMBDA))),
        "timedistributed/bidirectional/lambda",
    ),
    "a Lambda in a model in a model": (model(model(model(LAMBDA))), "Lambda"),
    "a function without its layer": (
        model(layer("Dense", activation={"class_name": "__lambda__", "config": {}})), "Lambda",
    ),
    "a class of another package": (model(layer("Mine", "my_layers")), "my_layers.Mine"),
    "a class without a module": (model({"class_name": "Mine", "config": {}}), "Mine"),
    "a registered name over a known class": (
        model(layer("Dense", registered="evil>Dense")), "evil>Dense",
    ),
    "a function of the user's as activation": (
        model(layer("Dense", activation={
            "module": "builtins", "class_name": "function", "config": "mine",
            "registered_name": "function"})), "builtins.mine",
    ),
    "an initializer of the user's": (
        model(layer("Dense", kernel_initializer=layer("Mine", "my_module"))), "my_module.Mine",
    ),
    "a regularizer of the user's": (
        model(layer("Dense", kernel_regularizer=layer("Mine", "my_module"))), "my_module.Mine",
    ),
    "a loss of the user's": (
        model(DENSE, compile_config={"loss": {
            "module": "builtins", "class_name": "function", "config": "mine"}}), "builtins.mine",
    ),
    "a class of Keras that calls a function": (
        model(layer("Map", "keras.src.ops.core")), "keras.src.ops.core.Map",
    ),
    "a layer that is no layer": (model(layer("InputSpec")), "InputSpec"),
}  # fmt: skip
DANGEROUS = {
    "a download": (
        model(layer("Dense", activation={
            "module": "keras.utils", "class_name": "function", "config": "get_file",
            "registered_name": "function"})), "get_file",
    ),
    "a download by its inner name": (
        model(layer("Dense", activation={
            "module": "keras.src.utils.file_utils", "class_name": "function",
            "config": "get_file"})), "get_file",
    ),
    "a command": (
        model({"module": "os", "class_name": "function", "config": "system"}), "os.system",
    ),
    "a command as a class": (model(layer("Popen", "subprocess")), "subprocess.Popen"),
    "eval": (model({"module": "builtins", "class_name": "function", "config": "eval"}), "eval"),
    "eval without a module": (model({"class_name": "eval", "config": {}}), "eval"),
    "the guard turned off": (
        model({"module": "keras.config", "class_name": "function",
               "config": "enable_unsafe_deserialization"}), "enable_unsafe",
    ),
    "another model from a path": (model(layer("TFSMLayer", filepath="/x")), "TFSMLayer"),
    "an unpickled module": (model(layer("TorchModuleWrapper")), "TorchModuleWrapper"),
    "the same without a module": (model({"class_name": "TorchModuleWrapper"}), "TorchModule"),
    "a vocabulary that is a path": (
        model(layer("StringLookup", vocabulary="/etc/passwd")), "/etc/passwd",
    ),
    "a vocabulary in the compile part": (
        model(DENSE, compile_config={"x": {"vocabulary": "/etc/shadow"}}), "/etc/shadow",
    ),
    "TensorFlow's files by a lambda of Keras 2": (
        model(layer("TFOpLambda", "keras.layers", function="io.write_file")), "io.write_file",
    ),
    "TensorFlow's files by an operation of Keras 2": (
        model(layer("TensorFlowOpLayer", "", node_def=json.dumps({"op": "ReadFile"}))), "ReadFile",
    ),
    "Python by a lambda of Keras 2": (
        model(layer("TFOpLambda", "keras.layers", function="numpy_function")), "numpy_function",
    ),
}  # fmt: skip


@pytest.mark.parametrize("write", [archive, hdf5])
@pytest.mark.parametrize("case", UNKNOWN)
def test_what_no_list_knows_wants_the_owners_word(tmp_path, write, case):
    content, says = UNKNOWN[case]
    path = write(tmp_path / ("m.keras" if write is archive else "m.h5"), content)
    with pytest.raises(RefusedError) as caught:
        scan.look(path, trust=False)
    assert says in caught.value.message
    assert "--trust opens it" in caught.value.message
    assert "\n" not in caught.value.message
    found = scan.look(path, trust=True)
    assert found.scan.opened
    assert found.scan.danger is Danger.UNKNOWN


@pytest.mark.parametrize("write", [archive, hdf5])
@pytest.mark.parametrize("case", DANGEROUS)
@pytest.mark.parametrize("trust", [False, True])
def test_what_is_dangerous_is_opened_by_no_word(tmp_path, write, case, trust):
    content, says = DANGEROUS[case]
    path = write(tmp_path / ("m.keras" if write is archive else "m.h5"), content)
    with pytest.raises(RefusedError) as caught:
        scan.look(path, trust=trust)
    assert says in caught.value.message
    assert "--trust does not open it" in caught.value.message


def test_an_honest_model_is_clean(tmp_path):
    honest = model(
        layer("InputLayer", dtype={"module": "keras", "class_name": "DTypePolicy", "config": {}}),
        layer("Bidirectional", layer=layer("LSTM")),
        layer("StringLookup", vocabulary=["a", "b"]),
        layer("Multiply", "keras.src.ops.numpy"),
        layer("TFOpLambda", "keras.layers", function="math.multiply"),
        compile_config={
            "optimizer": layer("Adam", "keras.optimizers"), "loss": "mse",
            "metrics": [layer("AUC", "keras.metrics")],
        },
    )  # fmt: skip
    for path in (archive(tmp_path / "m.keras", honest), hdf5(tmp_path / "m.h5", honest)):
        found = scan.look(path, trust=False)
        assert found.scan.danger is Danger.CLEAN
        assert found.scan.findings
        assert all(finding.reason for finding in found.scan.findings)
        assert found.writer == {"keras": "3.15.1"}


def test_a_training_part_of_hdf5_counts(tmp_path):
    path = hdf5(tmp_path / "m.h5", model(DENSE), {"loss": {"class_name": "Mine", "config": {}}})
    with pytest.raises(RefusedError, match="Mine"):
        scan.look(path, trust=False)


def test_names_as_keras_2_registered_its_own(tmp_path):
    adam = {"optimizer_config": {"class_name": "Custom>Adam", "config": {"name": "Adam"}}}
    path = hdf5(tmp_path / "m.h5", model(DENSE), adam)
    assert scan.look(path, trust=False).scan.danger is Danger.CLEAN
    for name in ("Lambda", "Mine"):
        path = hdf5(tmp_path / f"{name}.h5", model(layer(f"Custom>{name}", "")))
        with pytest.raises(RefusedError, match=name):
            scan.look(path, trust=False)


def test_a_key_that_stands_twice(tmp_path):
    raw = '{"class_name": "Sequential", "config": {}, "config": {"layers": []}}'
    with pytest.raises(RefusedError, match="twice"):
        scan.look(archive(tmp_path / "m.keras", None, raw=raw), trust=True)


@pytest.mark.parametrize("depth", [150, 200_000])
def test_deep_nesting(tmp_path, depth):
    raw = '{"config": ' + "[" * depth + "]" * depth + "}"
    with pytest.raises(RefusedError, match="nested too deeply"):
        scan.look(archive(tmp_path / "m.keras", None, raw=raw), trust=True)


@pytest.mark.parametrize("name", ["../x", "/etc/cron.d/x", "assets/../../x", "a\\..\\x"])
def test_members_that_climb_out(tmp_path, name):
    path = archive(tmp_path / "m.keras", model(DENSE), members=[(name, b"x")])
    with pytest.raises(RefusedError, match="climbs out"):
        scan.look(path, trust=True)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")  # zipfile warns while writing
def test_members_that_stand_twice(tmp_path):
    path = archive(tmp_path / "m.keras", model(DENSE), members=[("config.json", b"{}")])
    with pytest.raises(RefusedError, match="stands twice"):
        scan.look(path, trust=True)


def test_a_link_in_the_archive(tmp_path):
    link = zipfile.ZipInfo("assets/vocabulary.txt")
    link.external_attr = 0o120777 << 16
    path = archive(tmp_path / "m.keras", model(DENSE), members=[(link, b"/etc/passwd")])
    with pytest.raises(RefusedError, match="is a link"):
        scan.look(path, trust=True)


def test_a_zip_bomb(tmp_path):
    path = archive(tmp_path / "m.keras", model(DENSE))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("assets/big", bytes(70 << 20))
    with pytest.raises(RefusedError, match="unpacks to"):
        scan.look(path, trust=True)


def weights_with(path, change):
    hdf5(path, model(DENSE))
    with h5py.File(path, "a") as file:
        change(file, path)
    return path


def outside(file, path):
    file["model_weights/x"] = h5py.ExternalLink("/etc/passwd", "/x")


def soft(file, path):
    file["model_weights/x"] = h5py.SoftLink("/model_weights/dense")


def stored_elsewhere(file, path):
    file.create_dataset("model_weights/x", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual(file, path):
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("model_weights/x", layout)


def bomb(file, path):
    file.create_dataset("model_weights/x", (1 << 30,), "f4", chunks=(1 << 20,))


def reference(file, path):
    file.create_dataset("model_weights/x", (1,), h5py.ref_dtype)


def deep(file, path):
    group = file
    for _ in range(80):
        group = group.create_group("g")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (outside, "link to another file"),
        (soft, "is a link"),
        (stored_elsewhere, "another file"),
        (virtual, "another file"),
        (bomb, "unpacks to"),
        (reference, "references"),
        (deep, "nested too deeply"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_hdf5_that_points_outside_or_is_a_bomb(tmp_path, change, says):
    path = weights_with(tmp_path / "m.h5", change)
    with pytest.raises(RefusedError, match=says):
        scan.look(path, trust=True)


def test_groups_in_a_circle_end(tmp_path):
    def circle(file, path):
        file["model_weights/again"] = file["model_weights"]

    assert scan.look(weights_with(tmp_path / "m.h5", circle), trust=False).scan.findings


def saved(folder, nodes=(), functions=(), **more):
    """A SavedModel whose signature leads to every node of the main graph in turn."""
    message = saved_model()()
    meta = message.meta_graphs.add()
    meta.info.tags.append("serve")
    meta.info.version = "2.21.0"
    last = ""
    for name, op, *inputs in nodes:
        meta.graph.nodes.add(name=name, op=op, inputs=[*inputs, *([last] if last else [])])
        last = name
    signature = meta.signatures.add(key="serving_default")
    entry = signature.value.outputs.add(key="y")
    entry.value.name = f"{more.get('output', last)}:0"
    for name, inner in functions:
        function = meta.graph.library.functions.add()
        function.about.name = name
        for node, op, *inputs in inner:
            function.nodes.add(name=node, op=op, inputs=inputs)
    for name in more.get("objects", ()):
        meta.objects.functions.add(key=name)
    for filename in more.get("assets", ()):
        meta.assets.add(filename=filename).tensor.name = "asset:0"
    meta.saver.restore = more.get("restore", "")
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(message.SerializeToString())
    return folder


@pytest.mark.parametrize(
    "op",
    [
        "ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc",
        "LoadDataset", "SaveDatasetV2", "TFRecordDatasetV2", "TextLineDataset", "ImmutableConst",
        "PrintV2", "DebugIdentityV3", "XlaCustomCallV2", "RpcCall", "SqlDataset", "Save",
        "WriteScalarSummary", "LoadAndRemapMatrix", "WholeFileReaderV2",
    ],
)  # fmt: skip
@pytest.mark.parametrize("inside", [False, True])
def test_operations_on_files_and_code(tmp_path, op, inside):
    functions = [("f", [("n", op)])] if inside else ()
    nodes = [("a", "Placeholder")] if inside else [("n", op)]
    with pytest.raises(RefusedError, match=f"{op} in 'graph'.*--trust does not open it"):
        scan.look(saved(tmp_path / "m", nodes, functions), trust=True)


def test_operations_that_no_list_knows(tmp_path):
    folder = saved(tmp_path / "m", [("n", "EvilCustomOp")])
    with pytest.raises(RefusedError, match="EvilCustomOp"):
        scan.look(folder, trust=False)
    assert scan.look(folder, trust=True).scan.opened


@pytest.mark.parametrize("op", ["SaveV2", "MergeV2Checkpoints", "RestoreV2"])
def test_savers_are_legal_where_nothing_leads_to_them(tmp_path, op):
    nodes = [("x", "Placeholder"), ("y", "Identity")]
    beside = [("__inference__traced_save_9", [("s", op)])]
    assert scan.look(saved(tmp_path / "ok", nodes, beside), trust=False).scan.findings
    with pytest.raises(RefusedError, match=op):
        scan.look(saved(tmp_path / "used", [*nodes, ("z", op)]), trust=True)
    called = [*nodes, ("z", "__inference__traced_save_9")]
    with pytest.raises(RefusedError, match=op):
        scan.look(saved(tmp_path / "called", called, beside), trust=True)
    with pytest.raises(RefusedError, match=op):  # run when the object is made or dropped
        scan.look(
            saved(tmp_path / "object", nodes, beside, objects=["__inference__traced_save_9"]),
            trust=True,
        )


def test_a_restore_that_writes(tmp_path):
    nodes = [("s", "SaveV2"), ("x", "Placeholder")]
    folder = saved(tmp_path / "m", nodes, restore="s", output="nowhere")
    with pytest.raises(RefusedError, match="SaveV2"):
        scan.look(folder, trust=True)


def test_a_table_is_read_from_an_asset_or_not_at_all(tmp_path):
    op = "InitializeTableFromTextFileV2"
    table = [("t", "HashTableV2")]
    good = [*table, ("init", op, "t", "asset")]
    assert scan.look(
        saved(tmp_path / "ok", (), [("f", good)], assets=["vocabulary.txt"]), trust=False
    ).scan.findings
    bad = [*table, ("path", "Const"), ("init", op, "t", "path:0")]
    with pytest.raises(RefusedError, match="none of the model's assets"):
        scan.look(saved(tmp_path / "bad", (), [("f", bad)]), trust=True)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a\\b"])
def test_assets_that_climb_out(tmp_path, name):
    with pytest.raises(RefusedError, match="climbs out"):
        scan.look(saved(tmp_path / "m", [("x", "Const")], assets=[name]), trust=True)


def test_two_graphs_in_one_folder(tmp_path):
    folder = saved(tmp_path / "m", [("x", "Const")])
    (folder / "saved_model.cpb").write_bytes(b"x")
    with pytest.raises(RefusedError, match="which one counts"):
        graph.look(folder)


@pytest.mark.parametrize("data", [b"", b"\x12\xff\xff\xff\xff\x0f", b"garbage" * 50])
def test_damaged_graphs(tmp_path, data):
    (tmp_path / "saved_model.pb").write_bytes(data)
    with pytest.raises(InvalidError):
        scan.look(tmp_path, trust=True)


def test_functions_in_a_circle_end(tmp_path):
    functions = [("f", [("a", "g")]), ("g", [("b", "f")])]
    found = scan.look(saved(tmp_path / "m", [("n", "f")], functions), trust=False)
    assert found.scan.danger is Danger.CLEAN


def test_damaged_files_of_every_kind_are_told_in_one_line(tmp_path):
    whole = archive(tmp_path / "m.keras", model(DENSE)).read_bytes()
    table = hdf5(tmp_path / "m.h5", model(DENSE)).read_bytes()
    for number, data in enumerate((whole, table)):
        for cut in range(8, len(data), 97):
            path = tmp_path / f"cut-{number}-{cut}{'.h5' if number else '.keras'}"
            path.write_bytes(data[:cut])
            with pytest.raises(ModelworksError) as caught:
                scan.look(path, trust=True)
            assert "\n" not in caught.value.message
            path.unlink()


def test_every_entry_has_a_reason_and_none_stands_on_two_lists():
    special = savers()
    assert judge_operation("MatMul").reason
    for name in ("ReadFile", "PyFunc", "EagerPyFunc", "MatchingFiles", "WriteFile"):
        assert judge_operation(name).danger is Danger.DANGEROUS
    for name in special.reading | special.writing | special.assets:
        assert judge_operation(name).danger is not Danger.CLEAN
    assert judge_object("keras.layers", "Dense").danger is Danger.CLEAN
    assert judge_object("keras.utils", "Dense").danger is Danger.DANGEROUS
    assert judge_object("tf_keras.utils", "get_file").danger is Danger.DANGEROUS


def test_names_are_shown_without_control_characters():
    named = config.names(model(layer("Mine\n\x1b[31m", "a\rb")), "m")
    assert all(text.isprintable() for item in named for text in (item.finding.name, item.path))


def test_the_pins_are_a_whole_list_of_exact_versions():
    lines = pins.requirements()
    assert environments.WHOLE in lines
    assert all("==" in line for line in lines if line != environments.WHOLE)
    assert environments.requirements(lines) in {
        environments.requirements(own) for own in KerasImporter.pinned
    }


def test_the_scan_comes_before_the_environment(tmp_path):
    importer = KerasImporter()
    with pytest.raises(RefusedError):
        importer.requirements(archive(tmp_path / "m.keras", model(LAMBDA)), ImportOptions())
    clean = archive(tmp_path / "n.keras", model(DENSE))
    assert importer.requirements(clean, ImportOptions()) == pins.requirements()
    with pytest.raises(MissingExtraError):  # TensorFlow is not among the development libraries
        importer.read(clean, tmp_path, ImportOptions())
    assert "tensorflow" not in sys.modules
