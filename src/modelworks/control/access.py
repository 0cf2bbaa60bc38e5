"""Who may use the control plane: API keys by header, and browsers by a session."""

import secrets
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from modelworks.core.errors import ForbiddenError
from modelworks.core.keys import Key, Role
from modelworks.edge.key_ring import KeyRing

COOKIE: Final = "modelworks-session"
"""What holds a browser's session."""
SESSION_S: Final = 12 * 3600
"""Seconds after which a browser has to show its key again."""
MOST: Final = 1000
"""Sessions at once; the oldest one ends for a new one."""


class Access:
    """Checks what requests bring.

    A session is a random word that a browser holds in place of its key. It lives in this process
    alone, ends with its key, and only ever reads: whatever another site's page makes a browser
    send, nothing can be changed by it.

    Args:
        ring: the keys.
        clock: monotonic seconds.
    """

    def __init__(self, ring: KeyRing, clock: Callable[[], float] = time.monotonic) -> None:
        self._ring = ring
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[str, tuple[str, float]] = {}  # in the order of their beginning

    def require(self, authorization: bytes | None, session: str, role: Role) -> Key:
        """Who asks, when he may.

        Args:
            authorization: the header; None = none, then the session counts.
            session: of a browser; empty = none.
            role: that is needed.

        Raises:
            UnauthenticatedError: nobody who is known.
            ForbiddenError: the role does not cover it.
        """
        keys = self._ring.keys
        if authorization is None and (key := self._of_session(session)) is not None:
            if not Role.READ.covers(role):
                raise ForbiddenError(
                    "a browser's session only looks: send an API key to change something",
                    field="Authorization",
                )
            return key
        if keys.find(authorization) is None:
            self._ring.refused(authorization)
        return keys.require(authorization, role)

    def begin(self, key: str) -> str | None:
        """A new session for who holds this key; None where the key may not look."""
        found = self._ring.keys.of(key.encode(errors="replace"))
        if found is None or not found.role.covers(Role.READ):
            self._ring.refused(b"bearer")
            return None
        session = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._sessions) >= MOST:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[_hashed(session)] = (found.digest, self._clock() + SESSION_S)
        return session

    def end(self, session: str) -> None:
        """End a session; one that is none is quiet."""
        with self._lock:
            self._sessions.pop(_hashed(session), None)

    def _of_session(self, session: str) -> Key | None:
        """Whose session it is, as long as the key is good."""
        if not session:
            return None
        digest, ends = self._sessions.get(_hashed(session), ("", 0.0))
        if not digest or self._clock() > ends:
            self.end(session)
            return None
        found = self._ring.keys.holder(digest)
        return found if found is not None and found.role.covers(Role.READ) else None


def _hashed(session: str) -> str:
    """Sessions are found by their hash, whose look-up tells nothing about them."""
    return sha256(session.encode(errors="replace")).hexdigest()
