"""A `ModelInferResponse`: arrays to bytes, and bytes back to arrays.

The part before the raw bytes is the same for answers of the same shapes, and kept. Measured for
two outputs of one row: 1.6 us from such a frame, 18 without.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.protocol.oip.request import InferRequest
from modelworks.protocol.oip.response import classified
from modelworks.protocol.oip_grpc.inference import CODEC
from modelworks.protocol.oip_grpc.requests import FIELDS
from modelworks.protocol.oip_grpc.wire import LENGTH, tag, varint
from modelworks.protocol.tensors import BINARY_ONLY, DTYPES, Array, bytes_array, from_binary, pack

RESPONSE: Final = "inference.ModelInferResponse"
_ID: Final = tag(3, LENGTH)
_OUTPUT: Final = tag(5, LENGTH)
_RAW: Final = tag(6, LENGTH)
_FRAMES: Final = 256  # shapes are the callers' choice


class MessageWriter:
    """Writes the answers of one model.

    Args:
        model: name as answered.
        version: as answered.
        signature: of the model.
    """

    __slots__ = ("_all", "_dtypes", "_frames", "_head", "_signature")

    def __init__(self, model: str, version: str, signature: Signature) -> None:
        self._head = CODEC.encode(RESPONSE, {"model_name": model, "model_version": version})
        self._signature = signature
        self._all = tuple(range(len(signature.outputs)))
        self._dtypes = [DTYPES[spec.datatype] for spec in signature.outputs]
        self._frames: dict[Any, list[bytes]] = {}

    def write(self, request: InferRequest, outputs: Sequence[Any], own: str = "") -> bytes:
        """The answer to one request.

        Args:
            request: says which outputs, in which order, and whether raw.
            outputs: arrays in the order of the signature, of this request's rows only.
            own: the request's id; empty = it has none.
        """
        wanted = request.outputs
        places = self._all if wanted is None else tuple([item.position for item in wanted])
        plain = wanted is None or not any(item.classification for item in wanted)
        if not (plain and request.binary_output):
            return self._general(request, outputs, own)
        shapes = tuple([outputs[place].shape for place in places])
        frame = self._frames.get((places, shapes))
        if frame is None:
            frame = self._frame(places, shapes)
            if frame is None:
                return self._general(request, outputs, own)
        parts = [self._head]
        if own:
            data = own.encode()
            parts += (_ID, varint(len(data)), data)
        for before, place in zip(frame, places, strict=True):
            array, dtype = outputs[place], self._dtypes[place]
            if array.dtype != dtype:
                array = array.astype(dtype)
            parts += (before, array.tobytes())
        return b"".join(parts)

    def _frame(
        self, places: tuple[int, ...], shapes: tuple[tuple[int, ...], ...]
    ) -> list[bytes] | None:
        """What stands before the raw bytes of each output; None where their size varies."""
        metadata: list[bytes] = []
        before: list[bytes] = []
        for place, shape in zip(places, shapes, strict=True):
            dtype = self._dtypes[place]
            if dtype.hasobject:
                return None
            entry = self._entry(self._signature.outputs[place], shape)
            metadata += (_OUTPUT, varint(len(entry)), entry)
            before.append(_RAW + varint(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize))
        if before:
            before[0] = b"".join((*metadata, before[0]))
        if len(self._frames) >= _FRAMES:
            self._frames.clear()
        self._frames[places, shapes] = before
        return before

    def _entry(
        self, spec: TensorSpec, shape: tuple[int, ...], contents: dict[str, Any] | None = None
    ) -> bytes:
        told = {
            "name": spec.name,
            "datatype": str(spec.datatype),
            "shape": shape,
            "contents": contents,
        }
        return CODEC.encode(f"{RESPONSE}.InferOutputTensor", told)

    def _general(self, request: InferRequest, outputs: Sequence[Any], own: str) -> bytes:
        """Classes, texts, typed elements. All outputs are raw, or none is."""
        signature = self._signature
        found: list[tuple[TensorSpec, Array]] = []
        if request.outputs is None:
            found += zip(signature.outputs, outputs, strict=True)
        for item in request.outputs or ():
            spec, array = signature.outputs[item.position], outputs[item.position]
            if item.classification:
                spec, array = classified(spec, array, item, signature)
            found.append((spec, array))
        raw = request.binary_output or any(spec.datatype in BINARY_ONLY for spec, _ in found)
        parts = [self._head]
        if own:
            data = own.encode()
            parts += (_ID, varint(len(data)), data)
        for spec, array in found:
            entry = self._entry(spec, array.shape, None if raw else _typed(spec, array))
            parts += (_OUTPUT, varint(len(entry)), entry)
        for spec, array in found if raw else ():
            data = pack(spec.datatype, array)
            parts += (_RAW, varint(len(data)), data)
        return b"".join(parts)


def _typed(spec: TensorSpec, array: Array) -> dict[str, Any]:
    if spec.datatype is Datatype.BYTES:
        items = array.ravel().tolist()
        return {
            FIELDS[spec.datatype]: [
                item.encode() if isinstance(item, str) else bytes(item) for item in items
            ]
        }
    return {FIELDS[spec.datatype]: array.astype(DTYPES[spec.datatype], copy=False).ravel()}


def read_answer(message: bytes) -> tuple[str, list[tuple[TensorSpec, Array]]]:
    """The id of an answer, and its outputs: what each is, with the shape it has, and its array.

    Raises:
        InvalidError: this is no answer.
    """
    told = CODEC.decode(RESPONSE, message)
    raws = told.get("raw_output_contents", [])
    found = []
    for at, entry in enumerate(told.get("outputs", [])):
        kind = Datatype(entry["datatype"])
        shape = tuple(entry["shape"].tolist()) if "shape" in entry else ()
        spec = TensorSpec(entry.get("name", ""), kind, shape)
        if raws:
            array = from_binary(spec, raws[at], shape, f"outputs[{at}]")
        else:
            values = entry.get("contents", {}).get(FIELDS[kind], ())
            if kind is Datatype.BYTES:
                array = bytes_array([bytes(item) for item in values]).reshape(shape)
            else:
                array = np.asarray(values, DTYPES[kind]).reshape(shape)
        found.append((spec, array))
    return told.get("id", ""), found
