"""Time and identity: UTC nanoseconds and UUIDv7."""

import os
import time
from datetime import UTC, datetime

from modelworks.core.errors import InvalidError


def now_ns() -> int:
    """UTC now, int64 nanoseconds since the epoch."""
    return time.time_ns()


def uuid7() -> str:
    """A UUIDv7 (RFC 9562, section 5.7): sorts by its millisecond of birth."""
    millis = time.time_ns() // 1_000_000
    value = (millis & (2**48 - 1)) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def iso(at_ns: int) -> str:
    """`2026-10-03T14:00:00.000000Z`."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def parse_time(text: str) -> int:
    """ISO 8601 to UTC nanoseconds; without an offset, UTC is meant.

    Raises:
        InvalidError: not a date or a time.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidError(
            f"'{text}' is no time: write it as 2026-10-03T14:00 or 2026-10-03T14:00+02:00",
            field="at",
        ) from error
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return round(at.timestamp() * 1_000_000) * 1000
