"""Series as promtool writes them: `0+1x10 _ stale`."""

import math
import re
from typing import Final

from modelworks.core.errors import InvalidError

_MOST: Final = 100_000
_NUMBER: Final = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?[Ii]nf|NaN"
_VALUE: Final = re.compile(rf"({_NUMBER})(?:([-+](?:\d+(?:\.\d*)?|\.\d+)))?(?:x(\d+))?")
_GAP: Final = re.compile(r"_(?:x(\d+))?")


def samples(text: str) -> list[float | None]:
    """One an interval; None = no sample.

    `1 2`, `5x3` = 5 5 5 5, `0+2x3` = 0 2 4 6, `9-3x2` = 9 6 3, `_` and `_x3` = one and three
    without a sample, `stale` = NaN: nothing is there any more.

    Raises:
        InvalidError: something else.
    """
    found: list[float | None] = []
    for word in text.split():
        gap = _GAP.fullmatch(word)
        value = _VALUE.fullmatch(word)
        if word == "stale":
            found.append(math.nan)
        elif gap is not None:
            found += [None] * int(gap[1] or 1)
        elif value is not None and (value[3] or not value[2]):
            first, slope, times = float(value[1]), float(value[2] or 0), int(value[3] or 0)
            found += [first + slope * n for n in range(min(times, _MOST) + 1)]
        else:
            raise InvalidError(
                f"'{word[:40]}' is no part of a series: 5, 5x3, 0+2x3, 9-3x2, _, _x3, stale",
                field="values",
            )
        if len(found) > _MOST:
            raise InvalidError(f"more than {_MOST:,} samples", field="values")
    return found
