"""Amounts as Kubernetes writes them back: what differs only in form would look like a change."""

from typing import Final

_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi")
_DECIMAL: Final = ("", "k", "M", "G", "T", "P")


def cores(number: float) -> str:
    """`2`, `500m`. Finer than a thousandth is not to be had."""
    thousandths = round(number * 1000)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def size(number: int) -> str:
    """Bytes: `1Gi`, `1536Mi`, `5M`."""
    binary, decimal = _reduced(number, 1024, _BINARY), _reduced(number, 1000, _DECIMAL)
    return binary if not binary.isdecimal() else decimal


def _reduced(number: int, by: int, units: tuple[str, ...]) -> str:
    power = 0
    while number and number % by == 0 and power < len(units) - 1:
        number //= by
        power += 1
    return f"{number}{units[power]}"
