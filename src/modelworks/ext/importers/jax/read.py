"""Runs the owner's factory, converts the JAX function that it gives, and keeps it to compare with.

Imported in the sandbox only, by the owner's word.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import onnx
from jax2onnx import to_onnx

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.imports import Imported, ImportOptions
from modelworks.core.scans import Danger, Finding, Scan
from modelworks.core.tensor import Datatype, Tensors, TensorSpec
from modelworks.ext.importers import layouts
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.usercode import told

jax.config.update("jax_platforms", "cpu")
MODEL = "model.onnx"
_FACTORY = "build"
_OPSET = 21
_TOLERANCE = (1e-4, 1e-3)  # absolute, relative: sums of thousands of float32 in another order
_TYPES = {
    Datatype.BOOL: np.bool_, Datatype.UINT8: np.uint8, Datatype.INT8: np.int8,
    Datatype.INT32: np.int32, Datatype.UINT32: np.uint32,
    Datatype.FP16: np.float16, Datatype.FP32: np.float32,
}  # fmt: skip
Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Source:
    """The model as the owner's function.

    Attributes:
        flat: arrays in the order of the inputs -> arrays in the order of `outputs`.
        outputs: names.
    """

    flat: Function
    outputs: tuple[str, ...]


def read(path: Path, into: Path, options: ImportOptions) -> Imported:
    """Trace and convert; see `core.seams.Importer.read`."""
    if not path.is_file():
        raise InvalidError(f"{path.name}: one Python file is wanted", field="file")
    if not options.inputs:
        raise InvalidError(
            "a function does not say what it takes: --input x:FP32[-1,8] for each of its arguments",
            field="inputs",
        )
    shapes = _shapes(options.inputs)
    function, where, name = _built(path, options.factory)
    source = _source(function, shapes, where)
    _convert(source, shapes, options.inputs, into)
    own = layouts.seen_by("onnxruntime", into)
    signature, sample = layouts.arrange(own, None, options.sample)
    jitted = jax.jit(source.flat)
    names = tuple(spec.name for spec in options.inputs)

    def predict(tensors: Tensors) -> dict[str, Any]:
        given = [tensors[name] for name in names]
        return dict(zip(source.outputs, map(np.asarray, jitted(*given)), strict=True))

    return Imported(
        format="onnx",
        source_format="jax-function",
        signature=signature,
        predict=predict,
        environment={name: version(name) for name in ("jax", "jaxlib", "jax2onnx", "onnx")},
        notes=(f"the function that {name} of {path.name} returned, converted by jax2onnx",),
        tolerance=_TOLERANCE,
        kind="network",
        sample=sample,
        scan=Scan(
            Danger.UNKNOWN,
            (Finding(f"{path.stem}.{name}", Danger.UNKNOWN),),
            scanners={"nobody": "(it is source code)"},
            opened=True,
        ),
    )


def _built(path: Path, factory: str) -> tuple[Function, Path, str]:
    """What the factory returned, the folder that its code believes to lie in, and its name.

    What runs is the private copy of the file; `__file__` is where the owner keeps it, so that it
    finds its weights beside it.
    """
    named, _, name = factory.rpartition(":")
    file = Path(named) if named else path
    text = path.read_bytes()
    if file != path and file.read_bytes() != text:
        raise InvalidError(
            f"--factory names {file.name}, and the file to import is another: {path.name}",
            field="factory",
        )
    name = name or _FACTORY
    module = ModuleType(path.stem)
    module.__file__ = str(file)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(file.parent))
    sys.dont_write_bytecode = True
    try:
        exec(compile(text, str(file), "exec"), module.__dict__)  # noqa: S102 - by the owner's word
        build = getattr(module, name, None)
        function = build() if callable(build) else None
    except Exception as error:
        raise InvalidError(
            f"{path.name} failed: {told(error, file.parent)}", field="file"
        ) from error
    if not callable(function):
        has = f"returned a {type(function).__name__}" if callable(build) else "is not there"
        raise InvalidError(
            f"{path.name}: the function {name} {has}; it must return the model, a function of "
            "arrays (--factory FILE.py:FUNCTION names another)",
            field="factory",
        )
    return function, file.parent, name


def _shapes(inputs: tuple[TensorSpec, ...]) -> list[Any]:
    """The inputs for tracing: the first axes share one symbol, other free ones have their own."""
    scope = jax.export.SymbolicScope()
    shapes = []
    for place, spec in enumerate(inputs):
        if spec.datatype not in _TYPES:
            raise UnsupportedError(
                f"input '{spec.name}' is {spec.datatype}; JAX functions take "
                f"{', '.join(_TYPES)} here"
            )
        axes = [
            str(size) if size is not None else ("batch" if axis == 0 else f"free_{place}_{axis}")
            for axis, size in enumerate(spec.shape)
        ]
        shape = jax.export.symbolic_shape(", ".join(axes), scope=scope) if axes else ()
        shapes.append(jax.ShapeDtypeStruct(shape, _TYPES[spec.datatype]))
    return shapes


def _source(function: Function, shapes: list[Any], where: Path) -> Source:
    """The function with arrays only going in and out, tried without being computed."""
    try:
        result = jax.eval_shape(function, *shapes)
    except Exception as error:
        raise InvalidError(
            f"the function cannot be traced with these inputs: {told(error, where)}", field="inputs"
        ) from error
    leaves, tree = jax.tree_util.tree_flatten(result)
    if not leaves:
        raise InvalidError("the function returns no array", field="file")
    names: tuple[str, ...] = tuple(f"output_{place}" for place in range(len(leaves)))
    if len(leaves) == 1 and not isinstance(result, dict):
        names = ("output",)
    elif isinstance(result, dict) and len(leaves) == len(result):
        names = tuple(str(key) for key in sorted(result))

    def flat(*arrays: Any) -> tuple[Any, ...]:
        return tuple(jax.tree_util.tree_leaves(function(*arrays)))

    if tree.num_leaves != len(names):
        raise InvalidError("the function returns something that is no tree of arrays", field="file")
    return Source(flat, names)


def _convert(source: Source, shapes: list[Any], inputs: tuple[TensorSpec, ...], into: Path) -> None:
    try:
        model = to_onnx(
            source.flat,
            shapes,
            model_name="model",
            opset=_OPSET,
            input_names=[spec.name for spec in inputs],
            output_names=list(source.outputs),
        )
    except (MemoryError, OSError):
        raise
    except NotImplementedError as error:
        raise UnsupportedError(
            f"jax2onnx does not convert this function: {reason(error)}"
        ) from error
    except Exception as error:  # its own errors have no base
        raise UnsupportedError(f"jax2onnx fails on this function: {reason(error)}") from error
    onnx.save(model, into / MODEL)
