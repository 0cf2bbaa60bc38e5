"""Which bucket a caller falls into: the one hash of all data planes.

blake2b of 64 bits over salt, a zero byte and the key, read as a big-endian number, modulo the
number of buckets. `testing/buckets.py` holds golden vectors for whoever writes it again.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from modelworks.core.routes import BUCKETS

_BYTES: Final = 8


def bucket_of(salt: str, key: bytes) -> int:
    """The bucket of a caller's key, 0 to `BUCKETS - 1`.

    Args:
        salt: of the route; another one parts callers anew. Has no zero byte.
        key: as it came.
    """
    return hashed(salt)(key)


def hashed(salt: str) -> Callable[[bytes], int]:
    """`bucket_of` for one salt, which is prepared once."""
    begin = salt.encode() + b"\0"

    def bucket(key: bytes) -> int:
        digest = blake2b(begin + key, digest_size=_BYTES).digest()
        return int.from_bytes(digest, "big") % BUCKETS

    return bucket
