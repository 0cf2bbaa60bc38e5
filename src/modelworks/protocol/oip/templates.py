"""What repeats from request to request is compared and copied, not parsed and built again.

Clients send the same JSON again and again with other numbers in it, and get the same JSON with
other numbers back. A template keeps the text around the numbers; whatever does not fit exactly
goes the general way (`decode_request`, `encode_response`), so a template never decides what is
legal. Measured with 30 floats, of the general way: a request takes 0.5, an answer in a batch of 64
0.15 of the time.
"""

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson

from modelworks.core.tensor import Datatype, Signature
from modelworks.protocol.oip.request import InferRequest, decode_request
from modelworks.protocol.tensors import BINARY_ONLY, CODES, DTYPES

_KEPT: Final = 4  # templates a model
_PATIENCE: Final = 16  # requests between two attempts to learn
_LONGEST: Final = 4096  # bytes of text around the numbers
_MOST: Final = 4096  # elements; beyond, the text around the numbers is not what costs


class _RequestTemplate:
    """The text before and behind the one list of numbers of a request."""

    __slots__ = ("_dtype", "_name", "_pack", "_rows", "_shape", "_start", "_stop", "head", "tail")

    def __init__(self, head: bytes, tail: bytes, name: str, array: Any, code: str) -> None:
        self.head = head
        self.tail = tail
        self._start = len(head)
        self._stop = -len(tail)
        self._name = name
        self._shape = array.shape
        self._rows = array.shape[0]
        self._dtype = array.dtype
        self._pack = struct.Struct(f"<{array.size}{code}").pack

    def read(self, body: bytes) -> InferRequest | None:
        """The request, when what stands between head and tail is a flat list of numbers."""
        numbers = body[self._start : self._stop]
        if b"r" in numbers or b"l" in numbers:  # true and false pass as numbers; null does not
            return None
        try:
            raw = self._pack(*orjson.loads(numbers))
        except (ValueError, TypeError, OverflowError, struct.error):
            return None
        return InferRequest({self._name: np.ndarray(self._shape, self._dtype, raw)}, self._rows)


class RequestReader:
    """Decodes the requests of one model, by template where one fits.

    Args:
        signature: of the model.
    """

    __slots__ = ("_code", "_learn_at", "_seen", "_signature", "_templates")

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._templates: list[_RequestTemplate] = []
        self._seen = 0
        self._learn_at = 1
        # More than one input, or one that is no plain number, always goes the general way; a
        # model with an output that has no JSON form has to look at every request.
        inputs = signature.inputs
        plain = len(inputs) == 1 and not any(o.datatype in BINARY_ONLY for o in signature.outputs)
        self._code = CODES.get(inputs[0].datatype, "") if plain else ""

    def read(self, body: bytes, header_length: int | None) -> InferRequest:
        """Decode; see `decode_request`, whose results and errors are the same."""
        if header_length is None and self._code:
            for template in self._templates:
                if body.startswith(template.head) and body.endswith(template.tail):
                    request = template.read(body)
                    if request is not None:
                        return request
            request = decode_request(body, None, self._signature)
            self._seen += 1
            if self._seen >= self._learn_at:
                self._learn_at = self._seen + _PATIENCE
                self._learn(body, request)
            return request
        return decode_request(body, header_length, self._signature)

    def _learn(self, body: bytes, request: InferRequest) -> None:
        """Keep the text around the numbers, if taking the numbers out leaves just that."""
        key = body.find(b'"data"')
        if key < 0 or body.count(b'"data"') != 1:
            return
        start = body.find(b"[", key)
        while body[start + 1 : start + 2] in b"[ \n\r\t" and start + 1 < len(body):
            start += 1  # nested lists: the innermost one counts, if it is the only one
        start = body.rfind(b"[", key, start + 1)
        stop = body.find(b"]", start) + 1
        head, tail = body[:start], body[stop:]
        spec = self._signature.inputs[0]
        array = request.inputs[spec.name]
        if len(head) + len(tail) > _LONGEST or not 0 < array.size <= _MOST or not array.ndim:
            return
        template = _RequestTemplate(head, tail, spec.name, array, self._code)
        if template.read(body) is None or not _nothing_else(head, tail):
            return
        self._templates = [template, *self._templates[: _KEPT - 1]]


def _nothing_else(head: bytes, tail: bytes) -> bool:
    """Whether the text is one input and nothing beside: no id, outputs or parameters."""
    try:
        document = orjson.loads(b"%b[]%b" % (head, tail))
    except orjson.JSONDecodeError:
        return False
    if document.keys() != {"inputs"} or len(document["inputs"]) != 1:
        return False
    entry = document["inputs"][0]
    if entry.keys() != {"name", "shape", "datatype", "data"}:
        return False
    data = entry["data"]
    while isinstance(data, list) and len(data) == 1:
        data = data[0]
    return bool(data == [])


class AnswerWriter:
    """Writes the plain JSON answers to a whole batch at once.

    Args:
        model: name as answered.
        version: as answered.
        signature: of the model.
    """

    __slots__ = ("_dtypes", "_frames", "_head", "_signature", "_usual", "_usual_frame")

    def __init__(self, model: str, version: str, signature: Signature) -> None:
        self._signature = signature
        names = orjson.dumps({"model_name": model, "model_version": version})
        self._head = names[:-1] + b',"outputs":['
        kinds = [spec.datatype for spec in signature.outputs]
        plain = all(kind in CODES or kind is Datatype.BOOL for kind in kinds)
        self._dtypes = [DTYPES[kind] for kind in kinds] if plain else []
        self._frames: dict[tuple[int, ...], bytes] = {}
        self._usual: list[tuple[int, ...]] = []  # shape of a row of each output, as it was last
        self._usual_frame = b""

    @staticmethod
    def takes(request: InferRequest) -> bool:
        """Whether an answer is plain: every output, as JSON, without an id."""
        return request.outputs is None and not request.binary_output and not request.id

    def write(self, results: Sequence[Any], rows: Sequence[int]) -> list[bytes] | None:
        """The bodies of a batch's answers; None where only the general way can write them.

        Args:
            results: one array an output, of all members together.
            rows: of each member, in order.

        Returns:
            Bodies equal to those of `encode_response`, one a member.
        """
        if not self._dtypes:
            return None
        total = sum(rows)
        columns: list[list[bytes]] = []
        for array, dtype in zip(results, self._dtypes, strict=True):
            column = _row_texts(array, dtype, total)
            if column is None:
                return None
            columns.append(column)
        trailing = [array.shape[1:] for array in results]
        if total == len(rows):  # one row each, the usual case
            if trailing != self._usual:
                self._usual, self._usual_frame = trailing, self._frame(1, trailing)
            frame = self._usual_frame
            return [frame % texts for texts in zip(*columns, strict=True)]
        bodies = []
        start = 0
        for count in rows:
            end = start + count
            texts = tuple([b",".join(column[start:end]) for column in columns])
            bodies.append(self._frame(count, trailing) % texts)
            start = end
        return bodies

    def _frame(self, rows: int, trailing: Sequence[tuple[int, ...]]) -> bytes:
        """An answer with `%b` in the place of each output's numbers."""
        key = (rows, *(axis for shape in trailing for axis in shape))
        frame = self._frames.get(key)
        if frame is None:
            entries = []
            for spec, shape in zip(self._signature.outputs, trailing, strict=True):
                entry = {"name": spec.name, "datatype": spec.datatype, "shape": (rows, *shape)}
                entries.append(orjson.dumps(entry)[:-1].replace(b"%", b"%%") + b',"data":[%b]}')
            frame = self._head.replace(b"%", b"%%") + b",".join(entries) + b"]}"
            if len(self._frames) >= 256:  # shapes are the callers' choice
                self._frames.clear()
            self._frames[key] = frame
        return frame


def _row_texts(array: Any, dtype: Any, rows: int) -> list[bytes] | None:
    """The numbers of each row as JSON writes them in a list, without brackets."""
    shape = array.shape
    if not shape or shape[0] != rows or not array.size:
        return None
    if array.dtype != dtype or not array.flags.c_contiguous:
        array = np.ascontiguousarray(array, dtype)
    if len(shape) == 1:
        return orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
    if len(shape) > 2:
        array = array.reshape(rows, -1)
    return orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].split(b"],[")
