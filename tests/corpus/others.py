"""Hostile Keras, TensorFlow, OpenVINO, LiteRT, MLflow and TorchServe files, made by hand."""

import base64
import io
import json
import marshal
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from corpus.archives import with_pickle
from corpus.gadgets import commands
from corpus.kinds import Hostile, of_bytes
from corpus.opcodes import name, whole
from modelworks.core.errors import ModelworksError

KERAS, OTHERS = "Keras and TensorFlow", "Other containers"
_REFUSED = (ModelworksError,)


def _zip(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return file.getvalue()


def _keras(config: dict | bytes) -> bytes:
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    metadata = b'{"keras_version": "3.12.0", "date_saved": "2026-01-01"}'
    return _zip({"metadata.json": metadata, "config.json": text, "model.weights.h5": _hdf5()})


def _hdf5() -> bytes:
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as store:
        store.create_group("layers")
    return file.getvalue()


def _sequential(layer: dict) -> dict:
    shape = {"batch_shape": [None, 3], "dtype": "float32", "name": "x"}
    first = {"module": "keras.layers", "class_name": "InputLayer", "config": shape,
             "registered_name": None}  # fmt: skip
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "s", "layers": [first, layer]},
        "registered_name": "Sequential",
    }


def _layer(module: str, kind: str, **config: object) -> dict:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def _lambda(canary: Path) -> bytes:
    """A Lambda layer with the code object of a function."""
    code = compile(commands(canary)[1], "lambda", "exec")
    function = {
        "class_name": "__lambda__",
        "config": {"code": base64.b64encode(marshal.dumps(code)).decode(), "defaults": None},
    }
    return _keras(_sequential(_layer("keras.layers", "Lambda", function=function, name="l")))


def _named_function(module: str, function: str) -> Callable[[Path], bytes]:
    """A Lambda layer around a function by its name."""
    called = {"module": module, "class_name": "function", "config": function,
              "registered_name": function}  # fmt: skip
    return lambda canary: _keras(
        _sequential(_layer("keras.layers", "Lambda", function=called, name="l"))
    )


def _foreign(module: str, kind: str) -> Callable[[Path], bytes]:
    """An object of any class, made from the configuration."""
    return lambda canary: _keras(_sequential(_layer(module, kind, args=commands(canary)[0])))


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _length(len(data)) + data


def _length(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _saved(operation: bytes) -> Callable[[Path, Path], Path]:
    """A SavedModel whose graph has one operation."""

    def make(folder: Path, canary: Path) -> Path:
        made = folder / "model"
        made.mkdir()
        node = _field(1, b"n") + _field(2, operation)
        graph = _field(1, node)
        meta = _field(1, _field(4, b"serve")) + _field(2, graph)
        (made / "saved_model.pb").write_bytes(b"\x08\x01" + _field(2, meta))
        return made

    return make


def keras_files() -> tuple[Hostile, ...]:
    """What Keras would believe."""

    def case(title: str, tries: str, data: Callable[[Path], bytes], says: str) -> Hostile:
        maker = of_bytes(f"{title}.keras", data)
        return Hostile(title, KERAS, tries, maker, says, error=_REFUSED, needs="h5py")

    def saved(operation: str) -> Hostile:
        return Hostile(
            f"saved-model-{operation}", KERAS, f"a graph that asks for {operation}",
            _saved(operation.encode()), operation, error=_REFUSED, needs="h5py",
        )  # fmt: skip

    return (
        case("keras-lambda", "a function by its code", _lambda, "Lambda"),
        case("keras-function", "os.system by its name", _named_function("os", "system"),
             r"system|Lambda"),
        case("keras-class", "subprocess.Popen as a layer", _foreign("subprocess", "Popen"),
             "Popen"),
        case("keras-custom", "a class of the author's", _foreign("my_package", "MyLayer"),
             "MyLayer"),
        case("keras-download", "keras.utils.get_file as a layer",
             _foreign("keras.utils", "get_file"), "get_file"),
        case("keras-deep", "a configuration 100,000 deep",
             lambda c: _keras(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), ""),
        case("keras-climbing", "a member called ../evil",
             lambda c: _zip({"metadata.json": b"{}", "config.json": b"{}", "../evil": b"x"}), ""),
        case("keras-bomb", "300 MiB of zeros",
             lambda c: _zip({"metadata.json": b"{}", "config.json": b"{}",
                             "model.weights.h5": bytes(300 << 20)}), ""),
        saved("ReadFile"),
        saved("WriteFile"),
        saved("PyFunc"),
        saved("MatchingFiles"),
    )  # fmt: skip


_ENTITIES = b"""<?xml version="1.0"?>
<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa">%s]>
<net name="&j;" version="11"><layers></layers><edges></edges></net>"""


def _entities(canary: Path) -> bytes:
    """Ten entities, each ten times the one before."""
    names = "abcdefghij"
    lines = [f'<!ENTITY {names[i + 1]} "{f"&{names[i]};" * 10}">' for i in range(9)]
    return _ENTITIES % "".join(lines).encode()


def _foreign_entity(canary: Path) -> bytes:
    text = '<!DOCTYPE net [<!ENTITY e SYSTEM "file:///etc/hostname">]>'
    return f'<?xml version="1.0"?>{text}<net name="&e;" version="11"><layers/></net>'.encode()


def _openvino(data: Callable[[Path], bytes]) -> Callable[[Path, Path], Path]:
    def make(folder: Path, canary: Path) -> Path:
        (folder / "model.bin").write_bytes(bytes(16))
        path = folder / "model.xml"
        path.write_bytes(data(canary))
        return path

    return make


def _mlflow(text: str, data: bytes = b"") -> Callable[[Path, Path], Path]:
    def make(folder: Path, canary: Path) -> Path:
        made = folder / "model"
        made.mkdir()
        (made / "MLmodel").write_text(text.replace("TOUCH", commands(canary)[0]))
        evil = data or whole(name("os", "system")(commands(canary)[0]))
        (made / "model.pkl").write_bytes(evil)
        return made

    return make


_FLAVOR = """flavors:
  sklearn:
    pickled_model: {file}
    serialization_format: {form}
    sklearn_version: 1.9.1
"""


def others() -> tuple[Hostile, ...]:
    """Formats that hold other files, or a text that a careless parser would run."""

    def case(title: str, tries: str, make: Callable[[Path, Path], Path], says: str) -> Hostile:
        return Hostile(title, OTHERS, tries, make, says, error=_REFUSED)

    mar = {"MAR-INF/MANIFEST.json": b"{}"}
    return (
        case("openvino-entities", "a billion laughs in XML", _openvino(_entities), ""),
        case("openvino-foreign-entity", "a file of the system in XML",
             _openvino(_foreign_entity), ""),
        case("openvino-deep", "XML 100,000 deep",
             _openvino(lambda c: b"<net><layers>" + b"<a>" * 100_000), ""),
        case("litert-cut", "a flat buffer without its tables",
             of_bytes("m.tflite", lambda c: b"\x1c\x00\x00\x00TFL3" + b"\xff" * 40), ""),
        case("litert-offsets", "offsets that lead outside",
             of_bytes("m.tflite", lambda c: b"\xff\xff\xff\x7fTFL3" + bytes(200)), ""),
        case("mlflow-yaml", "YAML that calls what it names",
             _mlflow("flavors: !!python/object/apply:os.system ['TOUCH']\n"), ""),
        case("mlflow-pickle", "a command in the model of the folder",
             _mlflow(_FLAVOR.format(file="model.pkl", form="pickle")), "system"),
        case("mlflow-climbing", "a model outside of the folder",
             _mlflow(_FLAVOR.format(file="../../../etc/hostname", form="pickle")), ""),
        case("mlflow-anchors", "a billion laughs in YAML", _mlflow(_laughs()), ""),
        case("mar-climbing", "a member called ../../evil",
             of_bytes("m.mar", lambda c: _zip(mar | {"../../evil": b"x"})), ""),
        case("mar-pickle", "a command in the serialized file",
             of_bytes("m.mar", lambda c: _mar(
                 with_pickle(whole(name("os", "system")(commands(c)[0]), 2)))), "system"),
        case("seven-zip", "an archive that only scanners open",
             of_bytes("m.7z", lambda c: b"7z\xbc\xaf\x27\x1c" + bytes(60)), "no model file"),
    )  # fmt: skip


def _mar(data: bytes) -> bytes:
    manifest = {
        "runtime": "python",
        "model": {"modelName": "m", "serializedFile": "m.pt", "handler": "image_classifier",
                  "modelVersion": "1.0"},
        "archiverVersion": "0.12.0",
    }  # fmt: skip
    return _zip({"MAR-INF/MANIFEST.json": json.dumps(manifest).encode(), "m.pt": data})


def _laughs() -> str:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    names = "abcdefghijkl"
    lines += [f"{y}: &{y} [{','.join([f'*{x}'] * 9)}]" for x, y in pairwise(names)]
    return "\n".join([*lines, _FLAVOR.format(file="model.pkl", form="pickle")])
