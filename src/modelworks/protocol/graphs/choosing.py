"""Which branch a row goes to: by its value, or by weight."""

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Final, TypeAlias

import numpy as np

from modelworks.core.graphs import When
from modelworks.core.tensor import Datatype
from modelworks.protocol.graphs.typed import Typed, axes, refuse
from modelworks.protocol.routes.buckets import begun

Choose: TypeAlias = Callable[[Any, int], Any]
"""The deciding tensor (None where chance decides) and rows -> a branch a row, or one for all."""
_TWO: Final = 2
_ORDER: Final = ("<", "<=", ">", ">=")


def by_value(on: Typed, whens: Sequence[When], where: str) -> Choose:
    """The first test that a row's value passes; one more than the last = none.

    Raises:
        InvalidError: a test that no value of this kind can pass.
    """
    _one_a_row(on, f"{where}.on")
    tests = [
        _test(on.datatype, when, f"{where}.cases[{place}].when") for place, when in enumerate(whens)
    ]
    count = len(tests)

    def choose(array: Any, rows: int) -> Any:
        values = array.reshape(-1)
        if rows == 1:  # the usual request: no arrays are made
            value = values[0]
            return next((place for place, test in enumerate(tests) if test(value)), count)
        found = np.full(rows, count, dtype=np.int64)
        for place in range(count - 1, -1, -1):
            found[tests[place](values)] = place
        return found

    return choose


def by_weight(key: Typed | None, salt: str, weights: Sequence[float], where: str) -> Choose:
    """By weight: rows of equal keys go the same way, a request without keys goes one way."""
    total = sum(weights)
    ends = [end / total for end in accumulate(weights)]
    last = len(weights) - 1
    if key is None:
        return lambda _, __: min(bisect_right(ends, random.random()), last)  # noqa: S311 - no secret
    _one_a_row(key, f"{where}.key")
    whole = key.datatype is Datatype.BYTES
    if not whole and ("INT" not in key.datatype and key.datatype is not Datatype.BOOL):
        words = f"{key.datatype} is no key: texts (BYTES), whole numbers and truth values are"
        refuse(words, f"{where}.key")
    state = begun(salt)

    def place(value: Any) -> int:
        mine = state.copy()
        mine.update(value if whole else str(int(value)).encode())
        return min(bisect_right(ends, int.from_bytes(mine.digest(), "big") / 2.0**64), last)

    def choose(array: Any, rows: int) -> Any:
        values = array.reshape(-1)
        if rows == 1:
            return place(values[0])
        return np.fromiter((place(value) for value in values), np.int64, rows)

    return choose


def _one_a_row(typed: Typed, where: str) -> None:
    shape = typed.shape
    if len(shape) > _TWO or (len(shape) == _TWO and shape[1] not in {1, None}):
        words = f"{axes(shape)} has more than one value a row: select a column, or reshape it"
        refuse(words, where)


def _test(datatype: Datatype, when: When, where: str) -> Callable[[Any], Any]:
    test, value = when.test, when.value
    if datatype is Datatype.BF16:
        refuse("BF16 is not compared", where)
    if test == "in":
        each = [_test(datatype, When("==", one), where) for one in value]

        def among(values: Any) -> Any:
            found = each[0](values)
            for one in each[1:]:
                found = found | one(values)
            return found

        return among
    wanted = _comparable(datatype, value, where)
    if datatype is Datatype.BYTES and test in _ORDER:
        refuse(f"texts have no order: '{when}' takes numbers", where)
    return _COMPARE[test](wanted)


def _comparable(datatype: Datatype, value: Any, where: str) -> Any:
    text = isinstance(value, str)
    if datatype is Datatype.BYTES:
        return (value if text else _plain(value)).encode()
    if text:
        refuse(f"'{value[:40]}' is a text, and {datatype} has none", where)
    if datatype is Datatype.BOOL and not (isinstance(value, bool) or value in {0, 1}):
        refuse(f"{value} is neither true nor false", where)
    return value


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_COMPARE: Final[dict[str, Callable[[Any], Callable[[Any], Any]]]] = {
    "<": lambda wanted: lambda values: values < wanted,
    "<=": lambda wanted: lambda values: values <= wanted,
    ">": lambda wanted: lambda values: values > wanted,
    ">=": lambda wanted: lambda values: values >= wanted,
    "==": lambda wanted: lambda values: values == wanted,
    "!=": lambda wanted: lambda values: values != wanted,
}
