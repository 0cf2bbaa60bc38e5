"""A `ModelInferRequest`: bytes to named arrays, held to the same rules as one that came as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, Signature
from modelworks.protocol.oip.raw import Raw
from modelworks.protocol.oip.request import InferRequest, read_document
from modelworks.protocol.oip_grpc.inference import CODEC
from modelworks.protocol.tensors import DTYPES, Array, bytes_array, pack, shown

REQUEST: Final = "inference.ModelInferRequest"
_MOST_TENSORS: Final = 4096  # more than any model takes; each makes some objects
_MOST_AXES: Final = 64
FIELDS: Final = {
    Datatype.BOOL: "bool_contents",
    Datatype.INT8: "int_contents",
    Datatype.INT16: "int_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.UINT8: "uint_contents",
    Datatype.UINT16: "uint_contents",
    Datatype.UINT32: "uint_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}
"""Where typed elements stand; FP16 and BF16 have no such field and come raw only."""


class _Parts(Raw):
    """Raw tensors that lie apart from each other."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[Any]) -> None:
        super().__init__(memoryview(b""))
        self._parts = iter(parts)

    def take(self, name: str, size: Any, where: str) -> memoryview:
        """The next one."""
        del name, size, where
        return memoryview(next(self._parts))


def decode_message(message: bytes, signature: Signature) -> InferRequest:
    """Decode the bytes of a `ModelInferRequest`.

    Args:
        message: arrays may be views of it.
        signature: of the model; one object a model.

    Returns:
        The request; `binary_output` says that it came raw, and is to be answered so.

    Raises:
        InvalidError: anything wrong with it; `field` is the path (`inputs[0].shape`).
        UnsupportedError: shared memory.
    """
    given = CODEC.decode(REQUEST, message)
    inputs = given.get("inputs", [])
    raws = given.get("raw_input_contents", [])
    if max(len(inputs), len(raws)) > _MOST_TENSORS:
        raise InvalidError(f"more than {_MOST_TENSORS} tensors in one request", field="inputs")
    if raws and len(raws) != len(inputs):
        raise InvalidError(
            f"there are {len(inputs)} inputs and {len(raws)} raw_input_contents: one for each, or "
            "none at all, is wanted",
            field="raw_input_contents",
        )
    entries: list[dict[str, Any]] = []
    parts: list[Any] = []
    for at, entry in enumerate(inputs):
        where = f"inputs[{at}]"
        contents = entry.get("contents") or {}
        if raws:
            if any(len(values) for values in contents.values()):
                raise InvalidError(
                    f"input '{entry.get('name', '')}' has contents beside raw_input_contents",
                    field=f"{where}.contents",
                )
            parts.append(raws[at])
        else:
            parts.append(_raw(entry, contents, where))
        entries.append(
            {
                "name": entry.get("name", ""),
                "datatype": entry.get("datatype", ""),
                "shape": _shape(entry, where),
                "parameters": {
                    **scalars(entry.get("parameters", {}), f"{where}.parameters"),
                    "binary_data_size": len(parts[-1]),
                },
            }
        )
    document: dict[str, Any] = {"inputs": entries, "id": given.get("id", "")}
    if "parameters" in given:
        document["parameters"] = scalars(given["parameters"], "parameters")
    if "outputs" in given:
        document["outputs"] = [
            {
                "name": entry.get("name", ""),
                "parameters": scalars(entry.get("parameters", {}), f"outputs[{at}].parameters"),
            }
            for at, entry in enumerate(given["outputs"])
        ]
    request = read_document(document, _Parts(parts), signature)
    # Without a tensor there is nothing to tell the form by: raw is what clients read best.
    request.binary_output = bool(raws) or not inputs
    return request


def scalars(parameters: Mapping[str, Mapping[str, Any]], where: str) -> dict[str, Any]:
    """A map of `InferParameter` as plain values.

    Raises:
        InvalidError: one has no value.
    """
    found = {}
    for key, value in parameters.items():
        if not value:
            raise InvalidError(f"parameter {shown(key)} has no value", field=f"{where}.{key}")
        (found[key],) = value.values()
    return found


def _shape(entry: Mapping[str, Any], where: str) -> list[int]:
    shape = entry.get("shape", ())
    if len(shape) > _MOST_AXES:
        raise InvalidError(f"a shape of {len(shape)} axes", field=f"{where}.shape")
    return [int(axis) for axis in shape]


def _raw(entry: Mapping[str, Any], contents: Mapping[str, Any], where: str) -> bytes:
    """Typed elements as the raw tensor that they stand for."""
    name, datatype = entry.get("name", ""), entry.get("datatype", "")
    where = f"{where}.contents"
    try:
        kind = Datatype(datatype)
    except ValueError:
        return b""  # the datatype is refused for itself
    field = FIELDS.get(kind)
    if field is None:
        raise InvalidError(
            f"input '{name}': {kind} has no typed contents: send raw_input_contents", field=where
        )
    for other, values in contents.items():
        if other != field and len(values):
            raise InvalidError(
                f"input '{name}': elements of {kind} belong into {field}, not into {other}",
                field=where,
            )
    values = contents.get(field, ())
    if kind is Datatype.BYTES:
        return pack(kind, bytes_array([bytes(item) for item in values]))
    return _narrowed(name, kind, values, where).tobytes() if len(values) else b""


def _narrowed(name: str, kind: Datatype, values: Array, where: str) -> Array:
    """32-bit elements as those of a narrower datatype, where they fit."""
    narrow = values.astype(DTYPES[kind])
    if narrow.dtype.itemsize < values.dtype.itemsize and (narrow != values).any():
        at = int((narrow != values).argmax())
        raise InvalidError(
            f"input '{name}': {values[at]} is out of {kind}'s range", field=f"{where}[{at}]"
        )
    return narrow
