"""Answers that are kept and given again: what one model is told of it. See docs/cache.md."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from modelworks.core.errors import InvalidError

PROCESS: Final = "process"
_SCHEMES: Final = ("redis", "rediss")
_BOUNDS: Final = {
    "max_bytes": (4096, 1 << 40),
    "ttl_s": (0, 31_536_000),
    "timeout_ms": (1, 1000),
}


@dataclass(frozen=True, slots=True)
class AnswerCache:
    """How answers of one model are kept.

    Attributes:
        max_bytes: of a worker's memory, what it costs to keep them included.
        ttl_s: an answer older than this is computed again; 0 = only room decides.
        backend: `process`: in each worker's memory alone; `redis://[user:password@]host[:port][/db]`
            (`rediss://` with TLS): looked for there too, and shared by all who serve the version.
        timeout_ms: the longest that a request waits for Redis before it is computed.
    """

    max_bytes: int = 64 << 20
    ttl_s: float = 0.0
    backend: str = PROCESS
    timeout_ms: float = 20.0

    @property
    def shared(self) -> bool:
        """Whether answers are looked for in Redis too."""
        return self.backend != PROCESS

    def check(self, where: str = "cache") -> None:
        """Refuse what cannot be.

        Args:
            where: stands before the field's name in errors (`models[0].cache`).

        Raises:
            InvalidError: a value out of its bounds, or no backend; `field` names it.
        """
        for name, (lowest, highest) in _BOUNDS.items():
            value = getattr(self, name)
            if not lowest <= value <= highest:  # NaN is out of all bounds
                raise _wrong(where, name, f"{value} is not from {lowest} to {highest}")
        if not self.shared:
            return
        try:
            url = urlsplit(self.backend)
            found = url.scheme in _SCHEMES and bool(url.hostname)
            found = found and (url.port is None or url.port > 0)
            found = found and not url.query and not url.fragment
            found = found and (url.path in {"", "/"} or url.path[1:].isdecimal())
        except ValueError:
            found = False
        if not found:
            # The text may hold a password: it is not said again.
            raise _wrong(where, "backend", "it is neither process nor redis://host[:port][/db]")
        if not self.ttl_s:
            raise _wrong(where, "ttl_s", "Redis keeps answers for a time: give ttl_s, such as 3600")


def _wrong(where: str, name: str, why: str) -> InvalidError:
    path = f"{where}.{name}".lstrip(".")
    return InvalidError(f"{path}: {why}", field=path)
