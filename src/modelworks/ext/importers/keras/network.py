"""Loads Keras models of both generations and makes one function of each."""

import re
import shutil
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from modelworks.core.errors import InvalidError, ModelworksError, UnsupportedError
from modelworks.core.imports import Ranges
from modelworks.core.tensor import Role
from modelworks.ext.importers.keras.files import Format
from modelworks.ext.importers.keras.framework import tf
from modelworks.ext.importers.keras.scan import Looked
from modelworks.ext.importers.keras.source import Port, Source, plain, port
from modelworks.ext.importers.reasons import reason
from modelworks.sandbox.report import out_of_space

_KEY = "serving_default"
_SUFFIXES = {Format.ARCHIVE: ".keras", Format.HDF5: ".h5"}
_TABLES = {"Embedding": "input_dim", "CategoryEncoding": "num_tokens"}


def load(path: Path, looked: Looked) -> Source:
    """A Keras file; those of Keras 2 are loaded by Keras 2.

    Raises:
        InvalidError: it does not load.
        UnsupportedError: it has no fixed inputs and outputs.
    """
    model, library = _model(path, looked)
    given = _inputs(path, model)
    inside = [f"in{i}" for i in range(len(given))]
    names = plain([_layer_of(t) for t in given], "input")
    inputs = tuple(port(i, n, t) for i, n, t in zip(inside, names, given, strict=True))
    order = _Order(model, library)
    signature = [
        tf.TensorSpec(t.shape, t.dtype, name=i) for i, t in zip(inside, given, strict=True)
    ]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def serve(*tensors: Any) -> dict[str, Any]:
        found = order.flat(model(order.packed(tensors), training=False))
        return {f"out{i}": tf.convert_to_tensor(tensor) for i, tensor in enumerate(found)}

    try:
        described = serve.get_concrete_function().structured_outputs
    except Exception as error:
        raise InvalidError(
            f"{path.name}: the model cannot be run ({reason(error)})", field="file"
        ) from error
    outputs = _outputs(order.names(len(described)), described)
    module = tf.Module()
    module.network, module.serve = model, serve

    def function(**tensors: Any) -> dict[str, Any]:
        found: dict[str, Any] = serve(*(tensors[name] for name in inside))
        return found

    return Source(
        inputs,
        outputs,
        function,
        _KEY,
        lambda folder: tf.saved_model.save(module, str(folder), signatures={_KEY: serve}),
        ranges=_ranges(model, given, names),
        network=module,
    )


def _model(path: Path, looked: Looked) -> tuple[Any, ModuleType]:
    """By the library that wrote it, and where that fails by the other one."""
    old = looked.writer.get("keras", "").startswith(("1.", "2."))
    troubles = []
    for library in (_library(old=old), _library(old=not old)):
        try:
            return _opened(path, looked, library), library
        except (ModelworksError, MemoryError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and out_of_space(error):
                raise
            troubles.append(reason(error))  # Keras raises whatever its layers raise
    wrote = looked.writer.get("keras", "unknown")
    raise InvalidError(
        f"{path.name}: Keras cannot load it (written by Keras {wrote}; {troubles[0]}); where the "
        "program that made it can, it comes in as a SavedModel: model.export(folder)",
        field="file",
    )


def _library(*, old: bool) -> ModuleType:
    if old:
        import tf_keras  # noqa: PLC0415 - Keras 2, for its own files only

        return tf_keras  # type: ignore[no-any-return]
    import keras  # noqa: PLC0415 - Keras 3

    return keras  # type: ignore[no-any-return]


def _opened(path: Path, looked: Looked, library: ModuleType) -> Any:
    """Keras judges by the file's name, so it gets one that fits."""
    suffix = _SUFFIXES[looked.format]
    with tempfile.TemporaryDirectory() as folder:
        file = path
        if path.suffix != suffix:
            file = Path(folder, f"model{suffix}")
            shutil.copyfile(path, file)
        return library.models.load_model(str(file), compile=False, safe_mode=not looked.scan.opened)


def _inputs(path: Path, model: Any) -> list[Any]:
    try:
        given = list(model.inputs or ())
    except (AttributeError, ValueError):
        given = []
    if not given:
        raise UnsupportedError(
            f"{path.name}: the model says nothing of its inputs (subclassed, or never built); "
            "export it as a SavedModel: model.export(folder)"
        )
    for tensor in given:
        if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False):
            raise UnsupportedError(f"{path.name}: sparse and ragged inputs are not served")
    return given


def _layer_of(tensor: Any) -> str:
    """Name of the layer that gives a tensor of the model."""
    history = getattr(tensor, "_keras_history", None)
    layer = getattr(history, "operation", None) or getattr(history, "layer", None)
    return str(getattr(layer, "name", None) or tensor.name).partition(":")[0]


class _Order:
    """How a model packs its inputs and outputs: a list, a dictionary, or one alone."""

    def __init__(self, model: Any, library: ModuleType) -> None:
        self._model = model
        self._struct = getattr(model, "_inputs_struct", None)
        if self._struct is None:  # Keras 2
            self._struct = getattr(model, "_nested_inputs", None)
        self._tree = getattr(library, "tree", None) or tf.nest

    def packed(self, tensors: tuple[Any, ...]) -> Any:
        if self._struct is None:
            return tensors[0] if len(tensors) == 1 else list(tensors)
        return self._tree.pack_sequence_as(self._struct, list(tensors))

    def flat(self, found: Any) -> list[Any]:
        return list(self._tree.flatten(found))

    def names(self, count: int) -> list[str]:
        """Of a dictionary its keys, else of the layers that the user named."""
        struct = getattr(self._model, "_outputs_struct", None)
        if struct is None:
            struct = getattr(self._model, "_nested_outputs", None)
        if isinstance(struct, dict) and len(struct) == count:
            return sorted(struct)  # as trees are flattened
        names = list(getattr(self._model, "output_names", None) or ())
        names = names or [_layer_of(tensor) for tensor in self._model.outputs]
        fresh = ["output"] if count == 1 else [f"output_{i}" for i in range(count)]
        if len(names) != count or len(set(names)) != count:
            return fresh
        kinds = {layer.name: type(layer).__name__ for layer in self._model.layers}
        pairs = zip(names, fresh, strict=True)
        return [new if _made_up(name, kinds.get(name, "")) else name for name, new in pairs]


def _made_up(name: str, kind: str) -> bool:
    """Whether Keras made up a layer's name from its class: `dense_2`."""
    if not kind:
        return True
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind).lower()
    plain_kind = re.sub(r"[^a-z0-9]", "", snake)
    return re.sub(r"(_\d+)+$", "", name).replace("_", "") == plain_kind


def _outputs(names: list[str], described: dict[str, Any]) -> tuple[Port, ...]:
    return tuple(
        port(f"out{i}", name, described[f"out{i}"], Role.SCORE) for i, name in enumerate(names)
    )


def _ranges(model: Any, given: list[Any], names: list[str]) -> dict[str, Ranges]:
    """Inputs that go straight into a table of so many rows."""
    found = {}
    tables = [layer for layer in model.layers if type(layer).__name__ in _TABLES]
    for layer in tables:
        rows = getattr(layer, _TABLES[type(layer).__name__], None)
        try:
            source = layer.input
        except (AttributeError, ValueError):
            continue
        for tensor, name in zip(given, names, strict=True):
            if source is tensor and isinstance(rows, int):
                found[name] = Ranges(0, rows - 1)
    return found
