"""Answers of one version that lie in Redis: asked with a bound, and passed by while it is away."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from math import inf
from time import time
from typing import Any, Final, TypeAlias

import orjson

from modelworks.core import codec
from modelworks.core.served import ServedModel
from modelworks.core.tensor import Signature
from modelworks.serving.cache.numbers import CacheCounts
from modelworks.serving.cache.packed import pack, unpack
from modelworks.serving.cache.redis import Redis

Found: TypeAlias = Callable[[tuple[tuple[Any, ...], float] | None], None]
_LARGEST: Final = 4 << 20
_FORM: Final = "1"  # of keys and values; another one finds nothing that this one wrote


class Shared:
    """What one version has in Redis.

    Args:
        redis: the connection; it is closed with this.
        served: the version: its digest, form, engine and tenant make the keys.
        signature: of the answers.
        ttl_s: how long an answer is kept.
        counts: of what fails.
    """

    def __init__(
        self,
        redis: Redis,
        served: ServedModel,
        signature: Signature,
        ttl_s: float,
        counts: CacheCounts,
    ) -> None:
        self._redis = redis
        self._prefix = prefix_of(served, signature)
        self._specs = signature.outputs
        self._ttl_ms = round(1000 * ttl_s)
        self._counts = counts

    def get(self, key: bytes, found: Found) -> None:
        """Look for an answer.

        Args:
            key: of the question.
            found: called once, at once or within the time-out: the outputs and for how many
                seconds they are good, or None.
        """

        def took(data: bytes | None) -> None:
            found(None if data is None else self._read(data))

        self._redis.get(self._prefix + key, took)

    def put(self, key: bytes, outputs: Sequence[Any]) -> None:
        """Keep an answer there; nobody waits for it."""
        if sum(_size(array) for array in outputs) > _LARGEST:
            return
        data = pack(self._specs, outputs, int(1000 * time()) + self._ttl_ms)
        if data is not None:
            self._redis.put(self._prefix + key, data, self._ttl_ms)

    def close(self) -> None:
        """Let go of the connection."""
        self._redis.close()

    def _read(self, data: bytes) -> tuple[tuple[Any, ...], float] | None:
        try:
            outputs, until_ms = unpack(self._specs, data)
        except (ValueError, TypeError):
            self._counts.failed()  # somebody else wrote it
            return None
        left = until_ms / 1000 - time() if until_ms else inf
        return (outputs, left) if left > 0 else None


def _size(array: Any) -> int:
    """Bytes of its elements: of texts too, of which the array itself has pointers only."""
    return sum(map(len, array.ravel().tolist())) if array.dtype.hasobject else int(array.nbytes)


def prefix_of(served: ServedModel, signature: Signature) -> bytes:
    """What the keys of one version begin with: nothing that answers otherwise shares it."""
    told = {
        "form": _FORM,
        "tenant": served.tenant,
        "digest": served.digest,
        "format": served.format,
        "engine": served.engine,
        "options": served.engine_options,
        "variant": served.variant,
        "signature": codec.encode(signature),
    }
    digest = sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return f"modelworks:answer:{digest[:40]}:".encode()
