"""Tensors for `infer`: arrays into a binary request, a binary answer into arrays."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelworks.core.errors import CrashedError, InvalidError, ModelworksError
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.protocol.tensors import DTYPES, from_binary, pack

HEADER = "Inference-Header-Content-Length"


def specs(metadata: Sequence[Mapping[str, Any]]) -> dict[str, TensorSpec]:
    """Tensors of the model's metadata document, by name."""
    return {
        entry["name"]: TensorSpec(
            entry["name"],
            Datatype(entry["datatype"]),
            tuple(None if axis == -1 else axis for axis in entry["shape"]),
        )
        for entry in metadata
    }


def request(inputs: Mapping[str, Any], wanted: Mapping[str, TensorSpec]) -> tuple[bytes, int]:
    """Body and length of its JSON header; every tensor is sent as raw bytes.

    Args:
        inputs: name -> array, or what numpy makes an array of.
        wanted: the model's inputs; values are cast to their datatypes where nothing is lost but
            precision.

    Raises:
        InvalidError: a missing or unknown input, or values of another kind; `field` is its name.
    """
    names = ", ".join(wanted)
    for name in wanted.keys() - inputs.keys():
        raise InvalidError(f"input '{name}' is missing: the model takes {names}", field=name)
    entries, raws = [], []
    for name, value in inputs.items():
        if name not in wanted:
            raise InvalidError(f"there is no input '{name}': the model takes {names}", field=name)
        spec = wanted[name]
        array = _cast(spec, value)
        raw = pack(spec.datatype, array)
        entries.append(
            {
                "name": name,
                "shape": list(array.shape),
                "datatype": spec.datatype.value,
                "parameters": {"binary_data_size": len(raw)},
            }
        )
        raws.append(raw)
    document = {"inputs": entries, "parameters": {"binary_data_output": True}}
    head = json.dumps(document).encode()
    return head + b"".join(raws), len(head)


def answer(body: bytes, header_length: str | None) -> dict[str, Any]:
    """Output name -> array; text stays an object array of bytes.

    Raises:
        CrashedError: no answer of an inference server.
    """
    length = int(header_length) if header_length and header_length.isdecimal() else len(body)
    found: dict[str, Any] = {}
    try:
        outputs = json.loads(body[:length])["outputs"]
        position = length
        for entry in outputs:
            spec = TensorSpec(entry["name"], Datatype(entry["datatype"]), ())
            shape = tuple(entry["shape"])
            size = entry.get("parameters", {}).get("binary_data_size")
            if size is None:
                found[spec.name] = _from_json(spec, entry["data"], shape)
                continue
            raw = memoryview(body)[position : position + size]
            found[spec.name] = from_binary(spec, raw, shape, spec.name)
            position += size
    except (ValueError, KeyError, TypeError, ModelworksError) as error:
        raise CrashedError(f"the answer is no inference response: {error}") from error
    return found


def _from_json(spec: TensorSpec, data: Any, shape: tuple[int, ...]) -> Any:
    if spec.datatype is Datatype.BYTES:
        flat = np.asarray(data, dtype=object).ravel().tolist()
        data = [item.encode() if isinstance(item, str) else item for item in flat]
    return np.asarray(data, dtype=DTYPES[spec.datatype]).reshape(shape)


def _cast(spec: TensorSpec, value: Any) -> Any:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidError(f"input '{spec.name}' is no array: {error}", field=spec.name) from error
    if spec.datatype is Datatype.BYTES:
        if array.dtype.kind not in "OSU":
            raise InvalidError(
                f"input '{spec.name}' takes text, got {array.dtype}", field=spec.name
            )
        return array.astype(object)
    if spec.datatype is Datatype.BF16 and array.dtype.kind == "f" and array.dtype.itemsize > 2:
        # The upper half of a float32, rounded to nearest even.
        bits = array.astype(np.float32).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    dtype = DTYPES[spec.datatype]
    if array.dtype.kind in "iu" and dtype.kind in "iu" and array.size:
        limits = np.iinfo(dtype)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise InvalidError(
                f"input '{spec.name}': values beyond {spec.datatype.value}", field=spec.name
            )
        return array.astype(dtype)
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise InvalidError(
            f"input '{spec.name}' is {spec.datatype.value}, got {array.dtype}: convert it first",
            field=spec.name,
        )
    return array.astype(dtype)
