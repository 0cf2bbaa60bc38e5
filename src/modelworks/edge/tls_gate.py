"""Who is let through a TLS port: the present context, the handshakes under way, their bounds."""

import asyncio
import logging
import ssl
import time
from typing import Protocol

from modelworks.core.errors import InvalidError
from modelworks.edge.tls import TlsFiles, load

_log = logging.getLogger(__name__)
_HURRIED_S = 1.0
_TELL_S = 60.0  # handshakes that failed are told of so often, not one by one


class Shaking(Protocol):
    """A connection whose handshake is under way, as the sweep sees it."""

    began: float

    def cut(self) -> None:
        """Abort."""
        ...


class TlsGate:
    """Shared by the TLS connections of one listener, on one loop.

    Args:
        files: certificate, key, client authorities; read at once.
        handshake_timeout_s: a handshake that takes longer is cut off.
        max_handshakes: under way at once; beyond it the oldest one is cut off.
        look_s: how often the files are looked at.
        http2: is offered to clients.

    Attributes:
        context: for the next handshake; replaced when the files have changed.

    Raises:
        InvalidError: the files cannot be used; `field` says which.
    """

    def __init__(
        self,
        files: TlsFiles,
        handshake_timeout_s: float = 10.0,
        max_handshakes: int = 256,
        look_s: float = 1.0,
        *,
        http2: bool = False,
    ) -> None:
        self._files = files
        self._timeout_s = handshake_timeout_s
        self._max = max_handshakes
        self._look_s = look_s
        self._http2 = http2
        self._marks = files.marks()
        self._under_way: dict[Shaking, None] = {}  # in the order of their beginning
        self._failed = 0
        self._last = ""
        self._told = time.monotonic() - _TELL_S
        self.context = self._load()

    @property
    def under_way(self) -> int:
        """Handshakes that have begun and not ended."""
        return len(self._under_way)

    def enter(self, shaking: Shaking) -> ssl.SSLContext:
        """A handshake begins; the oldest one makes room where there are too many."""
        if len(self._under_way) >= self._max:
            oldest = next(iter(self._under_way))
            self.leave(oldest)
            oldest.cut()
        self._under_way[shaking] = None
        return self.context

    def leave(self, shaking: Shaking) -> None:
        """It ended, whichever way. Twice is quiet."""
        self._under_way.pop(shaking, None)

    def failed(self, reason: str) -> None:
        """Count one that failed; told of in the log, seldom."""
        self._failed += 1
        self._last = reason

    def hurry(self) -> None:
        """Draining: what has begun may end, and no client is waited for long."""
        self._timeout_s = min(self._timeout_s, _HURRIED_S)

    def sweep(self, now: float) -> None:
        """Cut off what takes too long; `now` is `time.monotonic()`."""
        for shaking in list(self._under_way):
            if now - shaking.began <= self._timeout_s:
                break
            self.leave(shaking)
            shaking.cut()
            self.failed("the client took too long")
        if self._failed and now - self._told >= _TELL_S:
            _log.warning("%d TLS handshakes failed; the last one: %s", self._failed, self._last)
            self._failed, self._told = 0, now

    async def follow(self) -> None:
        """Look at the files for ever, and take what is new; ended by cancelling it."""
        while True:
            await asyncio.sleep(self._look_s)
            marks = await asyncio.to_thread(self._files.marks)
            if marks == self._marks:
                continue
            self._marks = marks
            try:
                self.context = await asyncio.to_thread(self._load)
            except InvalidError as error:
                _log.error("the changed TLS files are not used, the last ones stay: %s", error)
            else:
                _log.info("TLS files have changed: new handshakes use %s", self._files.certificate)

    def _load(self) -> ssl.SSLContext:
        context, warnings = load(self._files, http2=self._http2)
        for warning in warnings:
            _log.warning("%s", warning)
        return context
