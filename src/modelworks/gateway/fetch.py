"""Snapshots from a control plane by long-poll, written to the file that workers follow.

What is asked: `GET URL?after=GENERATION&wait=SECONDS`, with `If-None-Match: "GENERATION"` and, with
a key, `Authorization: Bearer KEY`. What is answered: 200 with a whole snapshot (JSON) as soon as
there is one of another generation, or 304 when the wait is over. The file is the cache as well: a
gateway that starts while the control plane is away goes by the last one that it was given.
"""

import http.client
import logging
import random
import ssl
import threading
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.files import replace_text
from modelworks.gateway.follow import parse_snapshot, read_snapshot
from modelworks.protocol.routes import check

_log = logging.getLogger(__name__)
WAIT_S: Final = 25.0
_SLACK_S: Final = 10.0  # that an answer may come later than was asked for
_MOST: Final = 256 * 1024 * 1024
_FIRST_S: Final = 0.25
_LONGEST_S: Final = 15.0
_END_S: Final = 1.0
NONE: Final = -1
"""Generation of who has no snapshot yet."""


class Fetcher:
    """Polls one address from a thread.

    Args:
        url: of the snapshot, `http://127.0.0.1:7000/api/v1/routes/snapshot`.
        path: of the file.
        key: API key; empty = none.
        wait_s: that the control plane may hold an answer.
        ca: file of authorities (PEM) that it is trusted by; empty = the system's.

    Attributes:
        problem: why the last poll failed; empty = it did not.
        heard: when the control plane last answered and the file said the same, seconds since
            1970; 0 = never.

    Raises:
        InvalidError: no address.
    """

    def __init__(
        self, url: str, path: Path, key: str = "", wait_s: float = WAIT_S, ca: str = ""
    ) -> None:
        try:
            self._parts = urlsplit(url)
            _ = self._parts.port
        except ValueError as error:
            raise InvalidError(f"'{url}' is no address: {error}", field="snapshot") from error
        if self._parts.scheme not in {"http", "https"} or not self._parts.hostname:
            raise InvalidError(
                f"'{url}': a file, or http://HOST:PORT/api/v1/routes/snapshot, is wanted",
                field="snapshot",
            )
        self._path = path
        self._key = key
        self._wait_s = wait_s
        self._ca = ca or None
        self._generation = self._cached()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshot", daemon=True)
        self._connection: http.client.HTTPConnection | None = None
        self.problem = ""
        self.heard = 0.0

    def start(self) -> None:
        """Poll."""
        self._thread.start()

    def first(self, seconds: float) -> None:
        """Wait until there is a file to go by; called after `start`.

        What an earlier run left counts when the control plane was asked whether it still holds.

        Args:
            seconds: at most, where the control plane is away. One that is there and has not told
                its first routes yet is waited for as long as it makes us wait.
        """
        begin = time.monotonic()
        while not self._over.is_set():
            waited = time.monotonic() - begin
            if self.heard or (self.problem and self._generation != NONE):
                return
            if waited > (seconds if self.problem else seconds + self._wait_s):
                return
            time.sleep(0.02)

    def close(self) -> None:
        """Poll no longer; a poll that is under way is left alone."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(_END_S)
        else:
            self._close()

    def _cached(self) -> int:
        """The generation of the file that an earlier run has left."""
        try:
            snapshot = read_snapshot(self._path)
            check(snapshot)
        except ModelworksError:
            return NONE
        return snapshot.generation

    def _run(self) -> None:
        rest = _FIRST_S
        while not self._over.is_set():
            try:
                self.poll()
            except (OSError, http.client.HTTPException, ModelworksError) as error:
                self._close()
                message = error.message if isinstance(error, ModelworksError) else str(error)
                if self.problem != message:
                    _log.warning("no routes from the control plane, the last stay: %s", message)
                self.problem = message
                self._over.wait(rest * (0.5 + random.random()))  # noqa: S311 - spreads gateways
                rest = min(2 * rest, _LONGEST_S)
            else:
                if self.problem:
                    _log.info("the control plane answers again")
                self.problem, rest = "", _FIRST_S
        self._close()

    def poll(self) -> bool:
        """Ask once; whether a new snapshot was written.

        Raises:
            OSError: nobody answers, or the file cannot be written.
            http.client.HTTPException: what answers speaks no HTTP.
            InvalidError: what it answers is no snapshot.
        """
        parts = self._parts
        # Whether the file of an earlier run still holds is known at once, not with the next change.
        at_once = not self.heard and self._generation != NONE
        asked = {"after": self._generation, "wait": "0" if at_once else f"{self._wait_s:g}"}
        target = f"{parts.path or '/'}?{parts.query + '&' if parts.query else ''}{urlencode(asked)}"
        headers = {"Accept": "application/json", "Connection": "keep-alive"}
        if self._generation != NONE:
            headers["If-None-Match"] = f'"{self._generation}"'
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        connection = self._connected()
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        body = answer.read(_MOST + 1)
        if answer.status == 304:
            self.heard = time.time()
            return False
        if answer.status != 200 or len(body) > _MOST:
            said = body[:200].decode("utf-8", "replace")
            raise InvalidError(f"{parts.geturl()} answers {answer.status}: {said}")
        snapshot = parse_snapshot(body)
        check(snapshot)
        if snapshot.generation == self._generation:  # it has not waited: we do
            self.heard = time.time()
            self._over.wait(1.0)
            return False
        replace_text(self._path, body.decode())
        self._generation = snapshot.generation
        self.heard = time.time()  # after the file: who waits for it goes by the file
        return True

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            host, port = self._parts.hostname or "", self._parts.port
            limit = self._wait_s + _SLACK_S
            if self._parts.scheme == "https":
                context = ssl.create_default_context(cafile=self._ca)
                made: http.client.HTTPConnection = http.client.HTTPSConnection(
                    host, port, timeout=limit, context=context
                )
            else:
                made = http.client.HTTPConnection(host, port, timeout=limit)
            self._connection = made
        return self._connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
