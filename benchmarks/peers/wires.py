"""How a row becomes a request and an answer becomes arrays, one function a wire format."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

JSON = "application/json"
OCTETS = "application/octet-stream"
OIP_TYPES = {"float32": "FP32", "int64": "INT64"}
NUMPY_TYPES = {
    "FP32": np.float32,
    "FP64": np.float64,
    "INT64": np.int64,
    "INT32": np.int32,
}
HEADER_LENGTH = "Inference-Header-Content-Length"

Row = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Wire:
    """One way to ask a server.

    Attributes:
        path: of the URL.
        encode: one row (each array [1, ...]) -> headers and body.
        decode: headers (lower case) and body of an answer -> arrays by name.
    """

    path: str
    encode: Callable[[Row], tuple[dict[str, str], bytes]]
    decode: Callable[[Mapping[str, str], bytes], Row]


def oip_json(path, _model, *, named=None, extra=None):
    """Open Inference Protocol, JSON; `extra` are members that a server wants beside `inputs`."""

    def encode(row):
        inputs = [
            {
                "name": name,
                "shape": list(value.shape),
                "datatype": OIP_TYPES[value.dtype.name],
                "data": numbers(value.ravel()),
            }
            for name, value in row.items()
        ]
        return {"Content-Type": JSON}, json.dumps({**(extra or {}), "inputs": inputs}).encode()

    return Wire(path, encode, partial(oip_answer, named))


def oip_binary(path, model, *, named=None, extra=None):
    """Open Inference Protocol with binary tensors both ways."""
    asked = [{"name": name, "parameters": {"binary_data": True}} for name in model.answers[0]]

    def encode(row):
        inputs = [
            {
                "name": name,
                "shape": list(value.shape),
                "datatype": OIP_TYPES[value.dtype.name],
                "parameters": {"binary_data_size": value.nbytes},
            }
            for name, value in row.items()
        ]
        head = json.dumps({**(extra or {}), "inputs": inputs, "outputs": asked}).encode()
        headers = {"Content-Type": OCTETS, HEADER_LENGTH: str(len(head))}
        return headers, head + b"".join(value.tobytes() for value in row.values())

    return Wire(path, encode, partial(oip_answer, named))


def oip_answer(named, headers, body):
    """The tensors of an answer, whether JSON or binary; `named` renames them."""
    length = headers.get(HEADER_LENGTH.lower())
    head = body if length is None else body[: int(length)]
    rest = b"" if length is None else body[int(length) :]
    found = {}
    for tensor in json.loads(head)["outputs"]:
        kind = NUMPY_TYPES[tensor["datatype"]]
        size = (tensor.get("parameters") or {}).get("binary_data_size")
        if size is None:
            values = np.array(tensor["data"], kind).ravel()
        else:
            values, rest = np.frombuffer(rest[:size], kind), rest[size:]
        name = (named or {}).get(tensor["name"], tensor["name"])
        found[name] = values.reshape(tensor["shape"])
    return found


def plain_json(path, _model, *, key="inputs", answer=None, batched=False):
    """A server's own JSON: `{"inputs": {name: values}}`, an object of arrays back.

    Args:
        path: of the URL.
        key: the member that holds the row; None sends the arrays themselves.
        answer: the member of the answer that holds the outputs; None: the answer itself.
        batched: values are sent and answered with their first axis of one.
    """

    def encode(row):
        values = {name: numbers(v if batched else v[0]) for name, v in row.items()}
        return {"Content-Type": JSON}, json.dumps(values if key is None else {key: values}).encode()

    def decode(_headers, body):
        found = json.loads(body)
        found = found if answer is None else found[answer]
        return {name: np.array(v if batched else [v]) for name, v in found.items()}

    return Wire(path, encode, decode)


def raw(path, model, *, kind=OCTETS):
    """The inputs' bytes one after the other as content type `kind`, the outputs' bytes back."""

    def encode(row):
        return {"Content-Type": kind}, b"".join(value.tobytes() for value in row.values())

    def decode(_headers, body):
        found = {}
        for name, like in model.answers[0].items():
            part, body = body[: like.nbytes], body[like.nbytes :]
            found[name] = np.frombuffer(part, like.dtype).reshape(like.shape)
        return found

    return Wire(path, encode, decode)


def base64_json(path, model, *, key="bytes", rows=False):
    """The bytes of `raw` as base64 in a member of JSON, both ways: for servers that take no bytes.

    Args:
        path: of the URL.
        model: for the answer's shapes.
        key: the member.
        rows: the member is a list of one row, the answer such a list alone.
    """
    plain = raw(path, model)

    def encode(row):
        words = base64.b64encode(plain.encode(row)[1]).decode()
        return {"Content-Type": JSON}, json.dumps({key: [words] if rows else words}).encode()

    def decode(headers, body):
        found = json.loads(body)
        return plain.decode(headers, base64.b64decode(found[0] if rows else found[key]))

    return Wire(path, encode, decode)


def numbers(values):
    """Nested lists, in the shortest decimal form that gives the same float32 again."""
    if values.dtype != np.float32:
        return values.tolist()
    shortest = np.char.mod("%s", values).astype(np.float64)
    return shortest.tolist()
