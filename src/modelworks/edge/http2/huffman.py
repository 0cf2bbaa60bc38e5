"""The Huffman code of HPACK (RFC 7541, 5.2 and appendix B), read four bits at a time.

The code is canonical, so that the lengths of its words are all there is to know: words of one
length follow each other in the order of their symbols.
"""

from typing import Final

LENGTHS: Final = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c"
    "060a0a0c0d06080b0a0a080b080606060505050606060606060607080f060c0a"
    "0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c"
    "1416141416161617161717171717181718181617181717171715161716171718"
    "1615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b"
    "14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a"
    "1e"
)
"""Bits of each symbol's word; the last one, 256, ends a string and never stands in one."""
_END: Final = 256
_ENDS_WELL: Final = 7  # bits of padding at most
_KEPT: Final = 512
_KEPT_BYTES: Final = 256


class HuffmanError(ValueError):
    """These bytes are no string in that code."""


def words() -> list[tuple[int, int]]:
    """Word and its bits, by symbol."""
    found = [(0, 0)] * len(LENGTHS)
    word = bits = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(LENGTHS)):
        word <<= length - bits
        bits = length
        found[symbol] = (word, bits)
        word += 1
    return found


def _tables() -> tuple[list[tuple[int, int]], list[bool]]:
    """The machine that reads: of each state and four bits the next one and what is written.

    A state is a place inside a word. What is written is a symbol, or -1; the next state is -1
    where the word is that of the end. The second list says in which states a string may end.
    """
    tree: list[list[int]] = [[0, 0]]  # below 0: -1 - symbol; above: another place
    ends = [True]
    depth = [0]
    for symbol, (word, bits) in enumerate(words()):
        place, ones = 0, True
        for bit in range(bits - 1, -1, -1):
            turn = word >> bit & 1
            ones = ones and bool(turn)
            if not bit:
                tree[place][turn] = -1 - symbol
            elif not tree[place][turn]:
                tree[place][turn] = len(tree)
                tree.append([0, 0])
                depth.append(depth[place] + 1)
                ends.append(ones and depth[-1] <= _ENDS_WELL)
            place = max(tree[place][turn], 0)
    moves = []
    for state in range(len(tree)):
        for four in range(16):
            place, written = state, -1
            for bit in (3, 2, 1, 0):
                place = tree[place][four >> bit & 1]
                if place < 0:  # at most one word ends within four bits: the shortest has five
                    written, place = -1 - place, 0
            moves.append((-1, -1) if written == _END else (place, written))
    return moves, ends


_MOVES, _ENDS = _tables()
_known: dict[bytes, bytes] = {}


def decode(data: bytes) -> bytes:
    """The string.

    Raises:
        HuffmanError: it holds the word for the end, or is padded with anything but the first bits
            of it, or with more than seven of them.
    """
    known = _known.get(data)
    if known is not None:
        return known
    moves = _MOVES
    written = bytearray()
    state = 0
    for byte in data:
        state, symbol = moves[state << 4 | byte >> 4]
        if symbol >= 0:
            written.append(symbol)
        if state < 0:
            raise HuffmanError("the end within a string")
        state, symbol = moves[state << 4 | byte & 15]
        if symbol >= 0:
            written.append(symbol)
        if state < 0:
            raise HuffmanError("the end within a string")
    if not _ENDS[state]:
        raise HuffmanError("a string with broken padding")
    found = bytes(written)
    if len(data) <= _KEPT_BYTES:  # names and values come again and again
        if len(_known) >= _KEPT:
            _known.clear()
        _known[data] = found
    return found
