"""New shares of a route's arms, with as few callers moved as can be.

From 5 % to 10 % moves the 5 % that are new to the arm and nobody else: an arm that shrinks gives
buckets, one that grows takes them, and no bucket changes hands between two that do neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, isfinite
from typing import Final

from modelworks.core.errors import InvalidError
from modelworks.core.routes import BUCKETS, Span

_SLACK: Final = 1e-6  # of the sum of shares: what decimal fractions leave


@dataclass(slots=True)
class _Piece:
    """A span while it is cut."""

    first: int
    end: int
    arm: str


def spans(before: Sequence[Span], shares: Mapping[str, float]) -> tuple[Span, ...]:
    """Spans that give each arm its share, nearest to those before.

    Shares are rounded to buckets by largest remainder, ties in the mapping's order, so that the
    same shares give the same counts always.

    Args:
        before: of all buckets, in order; empty = nobody has any yet.
        shares: arm -> 0 to 1, 1 together; arms that are missing get nothing.

    Raises:
        InvalidError: shares that are none, or that are not 1 together; spans with gaps.
    """
    wanted = _counts(shares)
    if not before:
        return _laid_out(wanted)
    pieces = [_Piece(span.first, span.end, span.arm) for span in before]
    if [0, *(piece.end for piece in pieces)] != [*(piece.first for piece in pieces), BUCKETS]:
        raise InvalidError(
            f"spans: they do not cover 0 to {BUCKETS} in order, without gaps", field="spans"
        )
    surplus = {piece.arm: 0 for piece in pieces} | {arm: -count for arm, count in wanted.items()}
    for piece in pieces:
        surplus[piece.arm] += piece.end - piece.first
    while any(surplus.values()):
        _move(pieces, surplus)
    return _joined(pieces)


def _counts(shares: Mapping[str, float]) -> dict[str, int]:
    """Arm -> buckets, by largest remainder."""
    for arm, share in shares.items():
        if not (isfinite(share) and 0 <= share <= 1):
            raise InvalidError(f"shares.{arm}: 0 to 1 is wanted, not {share}", field="shares")
    total = sum(shares.values())
    if abs(total - 1) > _SLACK:
        raise InvalidError(f"shares: together they are {total:g}, not 1", field="shares")
    exact = {arm: share / total * BUCKETS for arm, share in shares.items()}
    counts = {arm: floor(share + _SLACK) for arm, share in exact.items()}
    rest = sorted(exact, key=lambda arm: counts[arm] - exact[arm])  # stable: ties in order
    for arm in rest[: BUCKETS - sum(counts.values())]:
        counts[arm] += 1
    return counts


def _laid_out(counts: Mapping[str, int]) -> tuple[Span, ...]:
    made, first = [], 0
    for arm, count in counts.items():
        if count:
            made.append(Span(first, first + count, arm))
            first += count
    return tuple(made)


def _move(pieces: list[_Piece], surplus: dict[str, int]) -> None:
    """Hand some buckets from one that has too many to one that has too few.

    A border between the two is moved where there is one: the number of spans stays small. Each
    step satisfies one of them or uses up a piece, so there are few.
    """
    for at in range(len(pieces) - 1, 0, -1):
        left, right = pieces[at - 1], pieces[at]
        if surplus[left.arm] > 0 > surplus[right.arm]:
            count = min(surplus[left.arm], -surplus[right.arm], left.end - left.first)
            left.end -= count
            right.first -= count
        elif surplus[right.arm] > 0 > surplus[left.arm]:
            count = min(surplus[right.arm], -surplus[left.arm], right.end - right.first)
            left.end += count
            right.first += count
        else:
            continue
        _settled(pieces, surplus, left.arm, right.arm, count)
        return
    giver = next(piece for piece in reversed(pieces) if surplus[piece.arm] > 0)
    taker = next(arm for arm, count in surplus.items() if count < 0)
    count = min(surplus[giver.arm], -surplus[taker], giver.end - giver.first)
    giver.end -= count
    pieces.insert(pieces.index(giver) + 1, _Piece(giver.end, giver.end + count, taker))
    _settled(pieces, surplus, giver.arm, taker, count)


def _settled(
    pieces: list[_Piece], surplus: dict[str, int], one: str, other: str, count: int
) -> None:
    giver, taker = (one, other) if surplus[one] > 0 else (other, one)
    surplus[giver] -= count
    surplus[taker] += count
    pieces[:] = [piece for piece in pieces if piece.end > piece.first]


def _joined(pieces: Sequence[_Piece]) -> tuple[Span, ...]:
    made: list[Span] = []
    for piece in pieces:
        if made and made[-1].arm == piece.arm:
            made[-1] = Span(made[-1].first, piece.end, piece.arm)
        else:
            made.append(Span(piece.first, piece.end, piece.arm))
    return tuple(made)
