"""Which regular expressions a server may hold strangers' texts against: those that end soon.

Python's matcher tries every way to share a text among repeats. A repeat within a repeat has
exponentially many and is refused, harmless ones among them; repeats one after the other have about
n^k / k! for a text of n characters and k repeats, which bounds how long a text may be.
"""

import math
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

_FEW = 4  # turns of a repeat that count as none
_MOST_OPEN = 5
_WORK = 1_000_000  # ways to share one text, about 10 ms


def slow_pattern(pattern: str) -> str:
    """Why a text could keep this pattern busy for ever; empty = none can."""
    parsed = _parser.parse(pattern)
    trouble = _within(parsed, inside=False)
    if not trouble and repeats(pattern) > _MOST_OPEN:
        return f"more than {_MOST_OPEN} open repeats are refused; make some possessive: a*+"
    return trouble


def repeats(pattern: str) -> int:
    """Repeats, one after the other, whose number of turns a text decides; at least 1."""
    return max(1, _open(_parser.parse(pattern)))


def longest_text(pattern: str) -> int:
    """Characters that a text may have to be held against this pattern."""
    count = repeats(pattern)
    return min(10_000, round(math.pow(_WORK * math.factorial(count), 1 / count)))


def _open(parsed: Any) -> int:
    """Repeats whose number of turns a text decides."""
    found = 0
    for operator, argument in parsed:
        if operator in {_constants.MAX_REPEAT, _constants.MIN_REPEAT}:
            least, most, body = argument
            found += (most - least > _FEW) + _open(body) * min(int(most), _FEW)
        elif operator is _constants.BRANCH:
            found += max(_open(part) for part in argument[1])
        elif operator is _constants.SUBPATTERN:
            found += _open(argument[-1])
        elif operator in {_constants.ASSERT, _constants.ASSERT_NOT}:
            found += _open(argument[1])
    return found


def _within(parsed: Any, *, inside: bool) -> str:
    for operator, argument in parsed:
        found = _trouble(operator, argument, inside=inside)
        if found:
            return found
    return ""


def _trouble(  # noqa: PLR0911 - one line an operator
    operator: Any, argument: Any, *, inside: bool
) -> str:
    if operator in {_constants.GROUPREF, _constants.GROUPREF_EXISTS}:
        return "back-references are refused: a text could keep them busy for ever"
    if operator in {_constants.MAX_REPEAT, _constants.MIN_REPEAT}:
        least, most, body = argument
        if inside and least != most:
            return "a repeat within a repeat is refused: a text could keep it busy for ever"
        return _within(body, inside=inside or most > _FEW)
    if operator is _constants.BRANCH:
        if inside:
            return "alternatives within a repeat are refused: write a set, [ab]"
        return next((t for part in argument[1] if (t := _within(part, inside=False))), "")
    if operator is _constants.SUBPATTERN:
        return _within(argument[-1], inside=inside)
    if operator in {_constants.ASSERT, _constants.ASSERT_NOT}:
        return _within(argument[1], inside=inside)
    if operator is _constants.POSSESSIVE_REPEAT:
        return _within(argument[2], inside=True)
    if operator is _constants.ATOMIC_GROUP:
        return _within(argument, inside=inside)
    return ""
