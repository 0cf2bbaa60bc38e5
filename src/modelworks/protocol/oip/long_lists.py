"""The one long list of numbers of a JSON body, read straight into an array.

Measured for an image of 150,528 numbers (one core): a Python object for every number and `struct`
take 7.8 to 13.4 ms, by the length of the numbers' text; simdjson's own buffer and a cast 2.8 to
5.8. Short lists gain nothing: see docs/decisions/0015-json-numbers.md.
"""

import math
from typing import Any, Final, cast

import numpy as np
import orjson
import simdjson

from modelworks.core.tensor import Datatype
from modelworks.protocol.tensors import DTYPES, Array

LONG: Final = 16 * 1024  # bytes of body; below, the general way is as fast
_KEY: Final = b'"data"'
_STAND_IN: Final = 271_828_182_845  # in the list's place while the text around it is read
_KEYS: Final = frozenset({"name", "shape", "datatype", "data"})
_DTYPES: Final = {kind.value: DTYPES[kind] for kind in (Datatype.FP32, Datatype.FP64)}


def with_long_list(body: bytes) -> dict[str, Any] | None:
    """The body's document; `data` of its only input, a flat list of numbers, is an array.

    The numbers are checked as strictly as JSON asks, and are those that a parser of Python objects
    gives: read as FP64, then rounded to the input's datatype.

    Returns:
        None for every body that is not exactly that: the general way then says what is wrong, if
        anything is.
    """
    found = _cut_out(body)
    if found is None:
        return None
    rest, numbers = found
    try:
        document = orjson.loads(rest)
        [entry] = document["inputs"]
        fits = entry.keys() == _KEYS and entry["data"] == [_STAND_IN]
        dtype = _DTYPES[entry["datatype"]]
        size = math.prod(entry["shape"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if not fits or size != numbers.size:
        return None
    with np.errstate(over="ignore"):
        array = numbers.astype(dtype)
    if not np.isfinite(array).all():
        return None  # beyond the datatype's range
    entry["data"] = array
    return cast("dict[str, Any]", document)


def _cut_out(body: bytes) -> tuple[bytes, Array] | None:
    """The body with a stand-in where the list was, and the list as FP64."""
    key = body.find(_KEY)
    if key < 0 or body.find(_KEY, key + len(_KEY)) >= 0:
        return None
    start = body.find(b"[", key)
    stop = body.find(b"]", start) + 1
    if start < 0 or not stop or body.find(b"[", start + 1, stop) >= 0:
        return None
    rest = body[:start] + b"[%d]" % _STAND_IN + body[stop:]
    if b"true" in rest or b"false" in rest:
        return None
    try:
        # A parser of its own: one that is kept holds memory for the longest text it has seen.
        parsed = cast("simdjson.Array", simdjson.Parser().parse(memoryview(body)[start:stop]))
        numbers = np.frombuffer(parsed.as_buffer(of_type="d"), np.float64)
    except (ValueError, TypeError, RuntimeError):
        return None
    return rest, numbers
