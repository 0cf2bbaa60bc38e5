"""What every engine asks before it runs: options it knows, the signature registered, its inputs."""

import ctypes
import sys
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.core.seams import EngineOptions
from modelworks.core.tensor import Signature, Tensors, TensorSpec
from modelworks.protocol.tensors import DTYPES

_LONGEST_REASON: Final = 240


def one_line(error: BaseException) -> str:
    """A library's message in one short line."""
    text = " ".join(str(error)[: _LONGEST_REASON * 8].split()) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 3] + "..."


def refuse_unknown(engine: str, options: EngineOptions, known: tuple[str, ...]) -> dict[str, str]:
    """The engine's own settings.

    Raises:
        InvalidError: a key that the engine does not have.
    """
    extra = dict(options.extra)
    unknown = sorted(extra.keys() - set(known))
    if unknown:
        has = f"known are {', '.join(known)}" if known else "it has none"
        raise InvalidError(f"{engine} has no option '{unknown[0]}'; {has}", field=unknown[0])
    return extra


def agree(
    wanted: Signature, own: Signature, source: str = "the file", *, shapes: bool = False
) -> None:
    """The registered signature against the model's: same inputs, its outputs among the model's.

    Args:
        wanted: as registered.
        own: as `source` has it.
        source: what says so.
        shapes: they must be equal too; else datatypes alone are compared.

    Raises:
        InvalidError: they differ; `field` is the tensor.
    """
    for side, registered, found in (
        ("input", wanted.inputs, own.inputs),
        ("output", wanted.outputs, own.outputs),
    ):
        told = {spec.name: _told(spec, shapes=shapes) for spec in found}
        for spec in registered:
            said, has = _told(spec, shapes=shapes), told.get(spec.name, "none of that name")
            if said != has:
                raise InvalidError(
                    f"{side} '{spec.name}' is registered as {said} and {source} has {has}",
                    field=spec.name,
                )
    missing = {spec.name for spec in own.inputs} - {spec.name for spec in wanted.inputs}
    if missing:
        raise InvalidError(
            f"{source} wants input '{min(missing)}', which is not in the registered signature",
            field=min(missing),
        )


def _told(spec: TensorSpec, *, shapes: bool) -> str:
    if not shapes:
        return str(spec.datatype)
    return f"{spec.datatype}{[-1 if size is None else size for size in spec.shape]}"


def conform(inputs: Tensors, signature: Signature) -> dict[str, Any]:
    """The inputs as contiguous arrays, one for each that the signature names.

    Raises:
        InvalidError: one is missing or unknown, or has another datatype or shape.
    """
    names = {spec.name for spec in signature.inputs}
    unknown = sorted(inputs.keys() - names)
    if unknown:
        raise InvalidError(f"the model has no input '{unknown[0]}'", field=unknown[0])
    given = {}
    for spec in signature.inputs:
        if spec.name not in inputs:
            raise InvalidError(f"input '{spec.name}' is missing", field=spec.name)
        array = inputs[spec.name]
        if array.dtype != DTYPES[spec.datatype]:
            raise InvalidError(
                f"input '{spec.name}' is {spec.datatype}, not {array.dtype}", field=spec.name
            )
        fits = len(array.shape) == len(spec.shape) and all(
            size is None or size == length
            for size, length in zip(spec.shape, array.shape, strict=True)
        )
        if not fits:
            wanted = [-1 if size is None else size for size in spec.shape]
            raise InvalidError(
                f"input '{spec.name}' has shape {list(array.shape)}; the model wants {wanted}",
                field=spec.name,
            )
        given[spec.name] = np.asarray(array, order="C")  # ascontiguousarray gives scalars an axis
    return given


def nothing(given: dict[str, Any], signature: Signature) -> list[Any]:
    """No rows in, no rows out: a model's kernels need not know what to do.

    Raises:
        InvalidError: it cannot be told what the outputs of empty inputs look like.
    """
    known = all(s.shape[:1] == (None,) and None not in s.shape[1:] for s in signature.outputs)
    if not known or any(array.shape[:1] != (0,) for array in given.values()):
        raise InvalidError("the model refuses empty inputs", field=next(iter(given)))
    return [np.empty((0, *spec.shape[1:]), DTYPES[spec.datatype]) for spec in signature.outputs]


def trim() -> None:
    """Ask glibc to give its free pages back; other C libraries have no such call."""
    if _TRIM is not None:
        _TRIM(0)


def _found() -> Any:
    """The C library's call; looked up once, for every look-up leaves types behind."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


_TRIM: Final = _found()  # None on musl
