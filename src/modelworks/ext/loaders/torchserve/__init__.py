"""Runs a TorchServe handler as it is: the bytes of requests in, the bytes of answers out."""

import importlib.util
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from modelworks.core.errors import CrashedError, InvalidError, ModelworksError
from modelworks.core.native import NativeModel
from modelworks.core.tensor import Tensors
from modelworks.ext.importers.usercode import failure, module_of, told
from modelworks.ext.loaders.torchserve import modules
from modelworks.ext.loaders.torchserve.context import Metrics

_MANIFEST = "MAR-INF/MANIFEST.json"
Handle = Callable[[list[dict[str, Any]], Any], Any]


class TorchserveLoader:
    """Calls `handle(data, context)` of the archive's handler, at most its batch size at a time."""

    name: ClassVar[str] = "torchserve"
    extra: ClassVar[str] = "torch"
    experimental: ClassVar[bool] = False

    def load(self, folder: Path, model: NativeModel) -> Callable[[Tensors], Tensors]:
        """As `core.seams.Loader.load`.

        Raises:
            InvalidError: the handler cannot be imported or does not start; file and line are named.
        """
        if "ts" not in sys.modules and importlib.util.find_spec("ts") is None:
            modules.install()
        source = (folder / model.source).resolve()
        manifest = json.loads((source / _MANIFEST).read_bytes())
        size = int(model.settings.get("batch", "1"))
        config = json.loads(model.settings.get("config", "{}"))
        context = _context(source, manifest, size, config)
        handle = _started(model.settings["handler"], source, context)

        def answer(inputs: Tensors) -> Tensors:
            (bodies,) = inputs.values()
            found: list[bytes] = []
            for start in range(0, len(bodies), size):
                found += _answered(handle, list(bodies[start : start + size]), context, source)
            texts = np.empty(len(found), dtype=object)
            texts[:] = found
            return {model.signature.outputs[0].name: texts}

        return answer


def _context(folder: Path, manifest: dict[str, Any], size: int, config: dict[str, Any]) -> Any:
    context = sys.modules.get("ts.context") or importlib.import_module("ts.context")
    made = context.Context(
        manifest["model"].get("modelName", ""), str(folder), manifest, size, None, "0.12.0"
    )
    made.metrics = Metrics()
    made.model_yaml_config = config
    return made


def _started(handler: str, folder: Path, context: Any) -> Handle:
    """The handler's function or method, after its own initialization."""
    name, _, function = handler.partition(":")
    name = name.removesuffix(".py").rpartition("/")[2]
    if (folder / f"{name}.py").is_file():
        module = module_of(folder, name)
    elif f"ts.torch_handler.{name}" in sys.modules:
        module = sys.modules[f"ts.torch_handler.{name}"]
    else:
        raise InvalidError(f"the handler {handler[:80]} is not in the archive")
    if str(folder) not in sys.path:  # of a default handler: the model's class is there
        sys.path.insert(0, str(folder))
    try:
        entry = getattr(module, function or "handle", None)
        if callable(entry):
            entry(None, context)
            found: Handle = entry
            return found
        instance = _only_class(module)()
        instance.initialize(context)
        method: Handle = instance.handle
    except MemoryError:
        raise
    except ModelworksError:
        raise
    except Exception as error:
        raise InvalidError(f"the handler does not start: {told(error, folder)}") from error
    return method


def _only_class(module: Any) -> Any:
    """As TorchServe: the one class that the handler's file defines."""
    found = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and each.__module__ == module.__name__
    ]
    if len(found) != 1 or not hasattr(found[0], "handle"):
        raise InvalidError(
            f"{module.__name__}.py: a function handle(data, context), or one class with it, is "
            f"wanted; it has {len(found)} classes"
        )
    return found[0]


def _answered(handle: Handle, bodies: list[Any], context: Any, folder: Path) -> list[bytes]:
    """One batch of requests.

    Raises:
        InvalidError: the handler refuses one of them.
        CrashedError: it failed, or does not answer each.
    """
    processors = [sys.modules["ts.context"].RequestProcessor({}) for _ in bodies]
    context.request_ids = {at: str(at) for at in range(len(bodies))}
    context.request_processor = processors
    try:
        found = handle([{"body": _body(bytes(body))} for body in bodies], context)
    except MemoryError:
        raise
    except Exception as error:
        raise _failure(error, folder) from error
    if not isinstance(found, list) or len(found) != len(bodies):
        many = len(found) if isinstance(found, list) else f"a {type(found).__name__}"
        raise CrashedError(
            f"the handler answered {many} to {len(bodies)} requests: a list of one each is wanted"
        )
    for processor in processors:
        _check_status(processor)
    return [_bytes(each) for each in found]


def _body(data: bytes) -> Any:
    """As TorchServe hands JSON and other contents over."""
    if data[:1] in {b"{", b"["}:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            return bytearray(data)
    return bytearray(data)


def _bytes(found: Any) -> bytes:
    if isinstance(found, bytes | bytearray):
        return bytes(found)
    if isinstance(found, str):
        return found.encode()
    if hasattr(found, "detach"):
        import torch  # noqa: PLC0415 - the handler has it

        file = io.BytesIO()
        torch.save(found, file)
        return file.getvalue()
    if hasattr(found, "tolist"):
        found = found.tolist()
    return json.dumps(found, ensure_ascii=False, default=str).encode()


def _check_status(processor: Any) -> None:
    """A status that the handler set for one request ends the whole batch."""
    code = processor.get_response_status_code()
    if code is not None and code >= 400:
        words = f"the handler answers {code} {processor.get_response_status_phrase() or ''}".strip()
        raise InvalidError(words) if code < 500 else CrashedError(words)


def _failure(error: Exception, folder: Path) -> ModelworksError:
    code = getattr(error, "error_code", None)  # of TorchServe's PredictionException
    if isinstance(code, int):
        words = f"the handler answers {code}: {' '.join(str(error)[:1000].split())[:300]}"
        return InvalidError(words) if 400 <= code < 500 else CrashedError(words)
    return failure(error, folder)
