"""Loads a PyTorch file of any kind as something that can be called with named tensors."""

import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.utils import _pytree as pytree

from modelworks.core.errors import InvalidError, RefusedError
from modelworks.core.scans import Danger, Scan
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.ext.importers.reasons import reason
from modelworks.ext.importers.torch import program as programs
from modelworks.ext.importers.torch.container import (
    DAMAGE,
    Found,
    check_archive,
    check_safetensors,
    kind_of,
    look,
)
from modelworks.ext.importers.torch.pickled import Opened, examine, open_pickled

DTYPES = {
    Datatype.BOOL: torch.bool,
    Datatype.UINT8: torch.uint8,
    Datatype.INT8: torch.int8,
    Datatype.INT16: torch.int16,
    Datatype.INT32: torch.int32,
    Datatype.INT64: torch.int64,
    Datatype.FP16: torch.float16,
    Datatype.FP32: torch.float32,
    Datatype.FP64: torch.float64,
    Datatype.BF16: torch.bfloat16,
}
DATATYPES = {dtype: datatype for datatype, dtype in DTYPES.items()}
_WRAPPED = ("state_dict", "model_state_dict", "model")
_PARALLEL = "module."


@dataclass(frozen=True, slots=True)
class Source:
    """A model that can be called.

    Attributes:
        format: of the file.
        call: positional tensors in the order of its inputs -> whatever the model returns.
        inputs: as the file says; empty = it does not.
        arguments: names of the forward method's arguments, as far as known.
        program: the exported program, where there is one.
        module: the module or script otherwise.
        notes: choices made.
        names: what the file asked for: classes, or operators.
        scan: of a pickle.
        code: Python files of the user's that the module is made of.
    """

    format: str
    call: Callable[..., Any]
    inputs: tuple[TensorSpec, ...] = ()
    arguments: tuple[str, ...] = ()
    program: Any = None
    module: Any = None
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    scan: Scan | None = None
    code: tuple[Path, ...] = ()


def load(path: Path, factory: str, *, trust: bool = False) -> Source:
    """Open the file; a factory builds the module for files that hold weights only.

    Args:
        path: the file.
        factory: `FILE.py:FUNCTION`, or the class of a pickled module.
        trust: the owner vouches for the file: a pickled module is opened.

    Raises:
        InvalidError: damaged, foreign, or a factory is missing or does not fit.
        RefusedError: it would run code, or is of a kind that is not read.
    """
    try:
        found = look(path)
    except DAMAGE as error:
        raise InvalidError(
            f"{path.name}: truncated or damaged ({reason(error)})", field="file"
        ) from error
    if found is None:
        raise InvalidError(f"{path.name}: no file of PyTorch", field="file")
    if found.format in {"torch-tar", "torch-old-export"}:
        raise RefusedError(
            f"{path.name}: a format that only old versions of PyTorch read; load it there and save "
            "it again with torch.export.save, or its state dict with torch.save",
            field="file",
        )
    if found.names:
        check_archive(path)
    if found.format == "torch-export":
        return _program(path, found)
    if found.format == "torch-script":
        return _script(path)
    return _weights(path, found, factory, trust=trust)


def _program(path: Path, found: Found) -> Source:
    names = programs.check(path, found)
    try:
        loaded = torch.export.load(path)
        specs = tuple(_placeholders(loaded))
        module = loaded.module(check_guards=False)
    except InvalidError:
        raise
    except Exception as error:
        raise InvalidError(
            f"{path.name}: PyTorch {torch.__version__} cannot open the program ({reason(error)})",
            field="file",
        ) from error

    def call(*tensors: torch.Tensor) -> Any:
        arguments, keywords = pytree.tree_unflatten(list(tensors), loaded.call_spec.in_spec)
        return module(*arguments, **keywords)

    return Source(found.format, call, specs, program=loaded, names=names)


def _placeholders(loaded: Any) -> Sequence[TensorSpec]:
    wanted = loaded.graph_signature.user_inputs
    values = {node.name: node.meta.get("val") for node in loaded.graph.nodes}
    specs = []
    for name in wanted:
        value = values.get(name) if isinstance(name, str) else None
        if not isinstance(value, torch.Tensor):
            raise InvalidError(f"argument {name!r} of the program is no tensor", field="file")
        if value.dtype not in DATATYPES:
            raise InvalidError(f"input {name} is of type {value.dtype}, which is not served")
        shape = tuple(int(n) if type(n) is int else None for n in value.shape)
        specs.append(TensorSpec(name, DATATYPES[value.dtype], shape))
    return specs


def _script(path: Path) -> Source:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated, and files of it remain
            module = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        named = module.forward.schema.arguments[1:]
    except Exception as error:
        raise InvalidError(
            f"{path.name}: PyTorch {torch.__version__} cannot open the script ({reason(error)})",
            field="file",
        ) from error
    names = tuple(argument.name for argument in named if not argument.has_default_value())
    return Source("torch-script", module, arguments=names, module=module)


def _weights(path: Path, found: Found, factory: str, *, trust: bool) -> Source:
    scan = None
    if found.format == "safetensors":
        check_safetensors(path)
    else:
        scan = examine(path, found)
    opened = None
    if scan is not None and scan.danger is Danger.UNKNOWN:
        opened = open_pickled(path, scan, factory, trust=trust)
        if isinstance(opened.value, torch.nn.Module):
            return _pickled(path, found, opened, factory)
    if not factory:
        raise InvalidError(
            f"{path.name}: holds weights only; say which module they are for: --factory "
            "FILE.py:FUNCTION --input x:FP32[-1,3,32,32] (FUNCTION returns the module; -1 is the "
            "batch)",
            field="factory",
        )
    state = opened.value if opened else _state(path, found)
    weights, notes = _unwrapped(path, state)
    module = _build(factory)
    try:
        module.load_state_dict(weights, strict=True)
    except Exception as error:
        raise InvalidError(
            f"{path.name}: the weights do not fit the module of {Path(factory).name} "
            f"({reason(error, 300)})",
            field="factory",
        ) from error
    module.eval()
    notes.append(
        f"The module was built by {Path(factory).name}, the user's own code, inside the sandbox."
    )
    return Source(
        found.format,
        module,
        arguments=_arguments(module),
        module=module,
        notes=tuple(notes),
        names=scan.names if scan else (),
        scan=scan,
    )


def _pickled(path: Path, found: Found, opened: Opened, factory: str) -> Source:
    module = opened.value.eval()
    kind = type(module)
    notes = [f"A pickled module of the class {kind.__qualname__}, opened by the owner's word."]
    if factory:
        file = Path(factory.rpartition(":")[0]).name
        notes.append(f"Its classes are those of {file} and its folder, run inside the sandbox.")
    return Source(
        kind_of(path, found),
        module,
        arguments=_arguments(module),
        module=module,
        notes=tuple(notes),
        scan=opened.scan,
        code=opened.code,
    )


def _state(path: Path, found: Found) -> Any:
    try:
        if found.format == "safetensors":
            return load_file(path)
        return torch.load(path, weights_only=True, map_location="cpu")
    except MemoryError as error:
        raise InvalidError(f"{path.name}: more weights than memory", field="file") from error
    except Exception as error:
        refused = "Unsupported" in str(error) or "WeightsUnpickler" in str(error)
        kind = RefusedError if refused else InvalidError
        raise kind(
            f"{path.name}: no plain weights: nothing was executed ({reason(error)})", field="file"
        ) from error


def _unwrapped(path: Path, state: Any) -> tuple[dict[str, Any], list[str]]:
    """The weights of a checkpoint, and how they were found."""
    notes = []
    for key in _WRAPPED:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            notes.append(f"The weights are those under '{key}' of a checkpoint.")
            state = state[key]
            break
    if not isinstance(state, dict) or not state:
        raise InvalidError(f"{path.name}: holds a {type(state).__name__}, no state dict")
    if all(str(name).startswith(_PARALLEL) for name in state):
        notes.append("The prefix 'module.' of DataParallel was taken off the names.")
        state = {name.removeprefix(_PARALLEL): tensor for name, tensor in state.items()}
    return state, notes


def _build(factory: str) -> torch.nn.Module:
    """Run the user's own factory; the sandbox is around it."""
    name, _, function = factory.rpartition(":")
    file = Path(name)
    if not name or not function.isidentifier() or not file.is_file():
        raise InvalidError(
            f"'{factory}' is no factory: FILE.py:FUNCTION is wanted, of a file that exists",
            field="factory",
        )
    spec = importlib.util.spec_from_file_location(f"modelworks_factory_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise InvalidError(f"{file.name} is no Python file", field="factory")
    loaded = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent))
    sys.modules[spec.name] = loaded
    try:
        spec.loader.exec_module(loaded)
        built = getattr(loaded, function)()
    except Exception as error:
        raise InvalidError(
            f"{file.name}:{function} failed ({reason(error)})", field="factory"
        ) from error
    finally:
        sys.path.remove(str(file.parent))
        del sys.modules[spec.name]
    if not isinstance(built, torch.nn.Module):
        raise InvalidError(
            f"{file.name}:{function} returned a {type(built).__name__}, not a torch.nn.Module",
            field="factory",
        )
    return built


def _arguments(module: torch.nn.Module) -> tuple[str, ...]:
    return tuple(
        name
        for name, parameter in inspect.signature(module.forward).parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
    )
