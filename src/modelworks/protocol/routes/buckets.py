"""Which bucket a caller falls into: the one hash of all data planes.

blake2b of 64 bits over salt, a zero byte and the key, read as a big-endian number, modulo the
number of buckets. `testing/buckets.py` holds golden vectors for whoever writes it again.
"""

from hashlib import blake2b
from typing import Any, Final

from modelworks.core.routes import BUCKETS

_BYTES: Final = 8


def begun(salt: str) -> Any:
    """The hash of a salt, to be copied for every key: that is cheaper than to begin anew."""
    return blake2b(salt.encode() + b"\0", digest_size=_BYTES)


def bucket_of(salt: str, key: bytes) -> int:
    """The bucket of a caller's key, 0 to `BUCKETS - 1`.

    Args:
        salt: of the route; another one parts callers anew. Has no zero byte.
        key: as it came.
    """
    state = begun(salt)
    state.update(key)
    return int.from_bytes(state.digest(), "big") % BUCKETS
