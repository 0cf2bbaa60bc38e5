"""Golden vectors of the sticky hash: whoever computes it elsewhere compares himself with these.

blake2b of 64 bits over salt (UTF-8), a zero byte and the key, as a big-endian number modulo 10,000.
"""

from typing import Final

BUCKETS_OF: Final[tuple[tuple[str, bytes, int], ...]] = (
    ("fraud", b"", 2102),
    ("fraud", b"a", 6402),
    ("fraud", b"joe@example.com", 4515),
    ("fraud", b"\xe7\x8e\x8b", 8111),
    ("fraud", b"\x00\xff", 9219),
    ("fraud", b"0123456789" * 20, 913),
    ("fraud-2", b"joe@example.com", 979),
    ("", b"joe@example.com", 8736),
    ("盐", b"user-1", 8819),
)
"""Salt, key, bucket."""
