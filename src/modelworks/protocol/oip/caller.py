"""The client's side of the Open Inference Protocol: arrays to a request, an answer to arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from modelworks.core.errors import InvalidError
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.protocol.oip.parameters import parameters_of
from modelworks.protocol.oip.raw import Raw
from modelworks.protocol.tensors import (
    BINARY_ONLY,
    DTYPES,
    Array,
    Form,
    bytes_array,
    from_binary,
    from_json,
    pack,
    shown,
)

Headers = tuple[tuple[bytes, bytes], ...]
_BY_DTYPE = {
    dtype: datatype
    for datatype, dtype in DTYPES.items()
    if datatype not in {Datatype.BF16, Datatype.BYTES}
}


@dataclass(frozen=True, slots=True)
class InferAnswer:
    """A decoded answer.

    Attributes:
        model: name, as the server said it.
        version: of it.
        id: as sent.
        outputs: name -> array, in the server's order.
    """

    model: str
    version: str
    id: str
    outputs: dict[str, Array]


def datatype_of(array: Array) -> Datatype:
    """The datatype of a numpy array; text and objects are BYTES. BF16 cannot be told from UINT16.

    Raises:
        InvalidError: a dtype that the protocol lacks.
    """
    if array.dtype.kind in "OSU":
        return Datatype.BYTES
    found = _BY_DTYPE.get(array.dtype.newbyteorder("<"))
    if found is None:
        raise InvalidError(f"numpy's {array.dtype} is no datatype of the protocol: convert it")
    return found


def build_request(
    inputs: Mapping[str, Array],
    *,
    datatypes: Mapping[str, Datatype] | None = None,
    outputs: Sequence[str] = (),
    binary: bool = True,
    request_id: str = "",
    parameters: Mapping[str, Any] | None = None,
) -> tuple[bytes, bytes, Headers]:
    """Encode an inference request.

    Args:
        inputs: name -> array.
        datatypes: where the array's own dtype is not what the model wants said (BF16).
        outputs: asked for; none = all.
        binary: raw bytes for inputs and outputs; False = JSON.
        request_id: echoed by the server.
        parameters: of the request.

    Returns:
        Body, content type, further headers.

    Raises:
        InvalidError: a dtype without a datatype, or FP16/BF16 as JSON.
    """
    entries, raws = [], []
    for name, array in inputs.items():
        datatype = (datatypes or {}).get(name) or datatype_of(array)
        entry: dict[str, Any] = {"name": name, "shape": array.shape, "datatype": str(datatype)}
        if binary:
            raw = pack(datatype, array)
            raws.append(raw)
            entry["parameters"] = {"binary_data_size": len(raw)}
        else:
            entry["data"] = _plain(name, datatype, array)
        entries.append(entry)
    told = dict(parameters or {})
    if binary:
        told["binary_data_output"] = True
    document: dict[str, Any] = {"inputs": entries}
    if request_id:
        document["id"] = request_id
    if told:
        document["parameters"] = told
    if outputs:
        document["outputs"] = [{"name": name} for name in outputs]
    head = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if not binary:
        return head, b"application/json", ()
    length = b"%d" % len(head)
    headers = ((b"Inference-Header-Content-Length", length),)
    return b"".join([head, *raws]), b"application/octet-stream", headers


def _plain(name: str, datatype: Datatype, array: Array) -> Any:
    if datatype in BINARY_ONLY:
        raise InvalidError(f"input '{name}': {datatype} has no JSON form: send it as binary")
    if datatype is not Datatype.BYTES:
        return np.ascontiguousarray(array, DTYPES[datatype]).ravel()
    items = array.ravel().tolist()
    try:
        return [item if isinstance(item, str) else bytes(item).decode() for item in items]
    except UnicodeDecodeError:
        raise InvalidError(f"input '{name}' is not UTF-8 text: send it as binary") from None


def read_response(body: bytes, header_length: int | None) -> InferAnswer:
    """Decode an inference answer.

    Args:
        body: of the HTTP answer. Arrays may be views of it.
        header_length: of `Inference-Header-Content-Length`; None = all JSON.

    Raises:
        InvalidError: this is no answer of the protocol.
    """
    end = len(body) if header_length is None else header_length
    if end > len(body):
        raise InvalidError(f"the answer is truncated: its JSON has {end} bytes")
    try:
        document = orjson.loads(body[:end])
        entries = document["outputs"]
        raw = Raw(memoryview(body)[end:])
        outputs = dict(_read(entry, f"outputs[{i}]", raw) for i, entry in enumerate(entries))
        return InferAnswer(
            model=str(document["model_name"]),
            version=str(document.get("model_version", "")),
            id=str(document.get("id", "")),
            outputs=outputs,
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InvalidError(f"the answer is none of the protocol: {shown(error)}") from error


def _read(entry: dict[str, Any], where: str, raw: Raw) -> tuple[str, Array]:
    name = str(entry["name"])
    try:
        datatype = Datatype(entry["datatype"])
    except ValueError as error:
        raise InvalidError(f"output '{name}': unknown datatype", field=where) from error
    spec = TensorSpec(name, datatype, (None,) * len(entry["shape"]))
    shape = Form(spec).shape(entry["shape"], where)
    size = parameters_of(entry.get("parameters"), where).get("binary_data_size")
    if size is not None:
        return name, from_binary(spec, raw.take(name, size, where), shape, f"{where}.data")
    if datatype is Datatype.BYTES:
        return name, bytes_array([str(item).encode() for item in entry["data"]]).reshape(shape)
    return name, from_json(spec, entry["data"], shape, f"{where}.data")
