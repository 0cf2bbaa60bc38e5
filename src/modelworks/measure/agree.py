"""Whether two answers to the same request say the same: exactly, but for a float's last bits."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.measure.exchange import Answer
from modelworks.protocol.oip.caller import read_response

_RELATIVE: Final = 1e-3  # kernels differ by batch size in the last bits, as the server's own check
_ABSOLUTE: Final = 1e-5
_ASIDE: Final = frozenset({"id", "request_id", "took_ms"})


def wrong_answers(
    first: Sequence[Answer], samples: Sequence[tuple[int, int, int, bytes]]
) -> tuple[int, str]:
    """How many sampled answers differ from the first answer to their request, and the first one.

    Args:
        first: the answer to each request, by turn.
        samples: (turn, status, JSON length, body); those of a bad status are counted elsewhere.
    """
    count, words = 0, ""
    for turn, status, json_length, body in samples:
        if not 200 <= status < 300:
            continue
        if not agree(first[turn], Answer(status, body, json_length)):
            count += 1
            words = words or f"request {turn}: {body[:120]!r}, at first {first[turn].body[:120]!r}"
    return count, words


def agree(left: Answer, right: Answer) -> bool:
    """Whether both answers say the same."""
    if left.body == right.body:
        return True
    if left.json_length >= 0 or right.json_length >= 0:
        return _same_tensors(left, right)
    try:
        return _same(json.loads(left.body), json.loads(right.body))
    except ValueError:
        return False


def _same_tensors(left: Answer, right: Answer) -> bool:
    try:
        ours, theirs = (
            read_response(one.body, one.json_length if one.json_length >= 0 else None).outputs
            for one in (left, right)
        )
    except InvalidError:
        return False
    if ours.keys() != theirs.keys():
        return False
    return all(_same_array(array, theirs[name]) for name, array in ours.items())


def _same_array(left: Any, right: Any) -> bool:
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    if left.dtype.kind == "f":
        return bool(np.allclose(left, right, _RELATIVE, _ABSOLUTE, equal_nan=True))
    return bool(np.array_equal(left, right))


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        keys = left.keys() - _ASIDE
        return keys == right.keys() - _ASIDE and all(_same(left[k], right[k]) for k in keys)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, float) or isinstance(right, float):
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        return numbers and math.isclose(left, right, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return bool(left == right)
