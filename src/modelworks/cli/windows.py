"""Windows of time as people type them."""

import re
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.core.ids import parse_time

_AGO: Final = re.compile(r"(\d{1,9})(m|h|d|w)")
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def moment(text: str, now_ns: int, option: str) -> int:
    """A moment, UTC nanoseconds.

    Args:
        text: `30m`, `2h`, `7d`, `4w` ago, or a time: `2026-10-03T14:00`.
        now_ns: UTC.
        option: that it was given by, for errors.

    Raises:
        InvalidError: neither.
    """
    if found := _AGO.fullmatch(text):
        return max(0, now_ns - int(found[1]) * _SECONDS[found[2]] * 1_000_000_000)
    try:
        return max(0, parse_time(text))
    except (InvalidError, OverflowError) as error:
        raise InvalidError(
            f"{option}: '{text}' is no time: write 2h, 7d or 2026-10-03T14:00", field=option
        ) from error
