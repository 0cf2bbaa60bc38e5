"""How long a caller still waits, as the header `X-Timeout-Ms` says it: milliseconds from now."""

from typing import Final

from modelworks.core.errors import InvalidError

TIMEOUT: Final = b"x-timeout-ms"
_LONGEST_MS: Final = 86_400_000  # a day: longer means the same
_DIGITS: Final = 12


def timeout_ms(value: bytes) -> int:
    """Milliseconds that a header's value gives; 0 = any, a day at most.

    Raises:
        InvalidError: it is no whole number.
    """
    if not (value.isdigit() and len(value) <= _DIGITS):
        said = value[:40].decode("latin-1")
        raise InvalidError(
            f"X-Timeout-Ms: '{said}' is no whole number of milliseconds", field="X-Timeout-Ms"
        )
    return min(int(value), _LONGEST_MS)
