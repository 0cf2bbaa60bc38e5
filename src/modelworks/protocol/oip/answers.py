"""Answers of a whole batch, written together: text or bytes of every output once for all.

Measured for 64 answers of two outputs: 0.15 of the time of `encode_response` for each.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
import orjson

from modelworks.core.tensor import Datatype, Signature
from modelworks.protocol.oip.request import InferRequest
from modelworks.protocol.oip.response import BINARY, JSON, Headers
from modelworks.protocol.tensors import CODES, DTYPES

Written: TypeAlias = tuple[bytes, bytes, Headers]
"""Body, content type, further headers."""

_FRAMES: Final = 256  # shapes and forms are the callers' choice


@dataclass(frozen=True, slots=True)
class Form:
    """How an answer is to look, where it can be written for a whole batch.

    Attributes:
        positions: of the outputs, in the order of the answer.
        binary: all of them raw behind the JSON; else all of them JSON.
    """

    positions: tuple[int, ...]
    binary: bool

    @staticmethod
    def of(request: InferRequest, outputs: int) -> "Form | None":
        """What a request to a model of so many outputs asks for; None = only it asks so."""
        if request.id:
            return None
        if request.outputs is None:
            return _form(range(outputs), request.binary_output)
        kinds = {item.binary for item in request.outputs}
        if len(kinds) != 1 or any(item.classification for item in request.outputs):
            return None
        return _form([item.position for item in request.outputs], kinds.pop())


@lru_cache(maxsize=_FRAMES)
def _interned(positions: tuple[int, ...], binary: bool) -> Form:  # noqa: FBT001 - a key
    return Form(positions, binary)


def _form(positions: Iterable[int], binary: bool) -> Form:  # noqa: FBT001 - a key
    """Mostly the same object for the same form, so that a batch can be told alike by identity."""
    return _interned(tuple(positions), binary)


class AnswerWriter:
    """Writes the answers to a whole batch of requests of one form.

    Args:
        model: name as answered.
        version: as answered.
        signature: of the model.
    """

    __slots__ = (
        *("_dtypes", "_frames", "_head", "_last_form", "_last_frame", "_last_shapes", "_names"),
        "_text",
    )

    def __init__(self, model: str, version: str, signature: Signature) -> None:
        names = orjson.dumps({"model_name": model, "model_version": version})
        self._head = names[:-1] + b',"outputs":['
        kinds = [spec.datatype for spec in signature.outputs]
        self._names = [(spec.name, spec.datatype) for spec in signature.outputs]
        self._text = [kind in CODES or kind is Datatype.BOOL for kind in kinds]
        self._dtypes = [DTYPES[kind] for kind in kinds]
        self._frames: dict[Any, Any] = {}
        self._last_form: Form | None = None  # of a batch of one
        self._last_shapes: list[tuple[int, ...]] = []
        self._last_frame = b""

    def write(
        self, form: Form, results: Sequence[Any], rows: Sequence[int]
    ) -> tuple[list[bytes], bytes, Sequence[Headers]] | None:
        """The answers of a batch.

        Args:
            form: of every one.
            results: one array an output, of all members together.
            rows: of each member, in order.

        Returns:
            Bodies equal to those of `encode_response`, one a member; their content type; headers
            of each. None where only the general way can write them.
        """
        total = sum(rows)
        places = form.positions
        if form.binary:
            return self._raw(places, results, rows, total)
        trailing = [results[place].shape[1:] for place in places]
        columns: list[list[bytes]] = []
        for place in places:
            if not self._text[place]:
                return None
            column = _row_texts(results[place], self._dtypes[place], total)
            if column is None:
                return None
            columns.append(column)
        if total == len(rows):  # one row each, the usual case
            frame = self._frame(places, 1, trailing)
            return [frame % texts for texts in zip(*columns, strict=True)], JSON, ()
        bodies = []
        start = 0
        for count in rows:
            end = start + count
            texts = tuple([b",".join(column[start:end]) for column in columns])
            bodies.append(self._frame(places, count, trailing) % texts)
            start = end
        return bodies, JSON, ()

    def write_one(self, form: Form, results: Sequence[Any], rows: int) -> Written | None:
        """The answer of a batch of one; see `write`."""
        if form.binary:
            found = self._raw(form.positions, results, (rows,), rows)
            return found and (found[0][0], found[1], found[2][0])
        arrays = []
        shapes = []
        for place in form.positions:
            array, dtype = results[place], self._dtypes[place]
            shape = array.shape
            if not (self._text[place] and array.size and shape and shape[0] == rows):
                return None
            if array.dtype != dtype or not array.flags.c_contiguous:
                array = np.ascontiguousarray(array, dtype)
            arrays.append(array.ravel())
            shapes.append(shape)
        if form is self._last_form and shapes == self._last_shapes:
            frame = self._last_frame
        else:
            frame = self._frame(form.positions, rows, [shape[1:] for shape in shapes])
            self._last_form, self._last_shapes, self._last_frame = form, shapes, frame
        text = orjson.dumps(arrays, option=orjson.OPT_SERIALIZE_NUMPY)
        return frame % tuple(text[2:-2].split(b"],[")), JSON, ()

    def _raw(
        self, places: tuple[int, ...], results: Sequence[Any], rows: Sequence[int], total: int
    ) -> tuple[list[bytes], bytes, Sequence[Headers]] | None:
        columns: list[tuple[bytes | memoryview, int]] = []
        for place in places:
            array, dtype = results[place], self._dtypes[place]
            if dtype.hasobject or not array.ndim or len(array) != total:
                return None
            if array.dtype != dtype or not array.flags.c_contiguous:
                array = np.ascontiguousarray(array, dtype)
            columns.append((array.tobytes(), array.nbytes // total))
        trailing = [results[place].shape[1:] for place in places]
        bodies: list[bytes] = []
        headers: list[Headers] = []
        start = 0
        for count in rows:
            end = start + count
            head, header = self._raw_head(places, count, trailing)
            parts = [data[start * width : end * width] for data, width in columns]
            bodies.append(b"".join([head, *parts]))
            headers.append(header)
            start = end
        return bodies, BINARY, headers

    def _frame(self, places: tuple[int, ...], rows: int, trailing: list[tuple[int, ...]]) -> bytes:
        """A JSON answer with `%b` in the place of each output's numbers."""
        key = (places, rows, *trailing)
        frame: bytes | None = self._frames.get(key)
        if frame is None:
            entries = []
            for place, shape in zip(places, trailing, strict=True):
                name, datatype = self._names[place]
                entry = {"name": name, "datatype": datatype, "shape": (rows, *shape)}
                entries.append(orjson.dumps(entry)[:-1].replace(b"%", b"%%") + b',"data":[%b]}')
            frame = self._head.replace(b"%", b"%%") + b",".join(entries) + b"]}"
            self._keep(key, frame)
        return frame

    def _raw_head(
        self, places: tuple[int, ...], rows: int, trailing: list[tuple[int, ...]]
    ) -> tuple[bytes, Headers]:
        """The JSON before the raw bytes, and the header that tells its length."""
        key = (places, -rows, *trailing)  # no other key has a negative number of rows
        known: tuple[bytes, Headers] | None = self._frames.get(key)
        if known is None:
            entries = []
            for place, shape in zip(places, trailing, strict=True):
                name, datatype = self._names[place]
                size = rows * int(np.prod(shape, dtype=np.int64)) * self._dtypes[place].itemsize
                entries.append(
                    orjson.dumps(
                        {
                            "name": name,
                            "datatype": datatype,
                            "shape": (rows, *shape),
                            "parameters": {"binary_data_size": size},
                        }
                    )
                )
            head = self._head + b",".join(entries) + b"]}"
            known = (head, ((b"Inference-Header-Content-Length", b"%d" % len(head)),))
            self._keep(key, known)
        return known

    def _keep(self, key: Any, frame: Any) -> None:
        if len(self._frames) >= _FRAMES:
            self._frames.clear()
        self._frames[key] = frame


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
