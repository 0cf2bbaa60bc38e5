"""What the names of endpoints stand for: asked by a thread each, the last good answer kept.

A name whose directory cannot say anything keeps its addresses. One of which the directory says
that nothing is there keeps them for ten seconds more: a directory that has just begun, and knows
nobody yet, must not empty every arm.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from modelworks.core.discovery import Finder, Named, is_named, named_of
from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.routes import Endpoint, Snapshot

_log = logging.getLogger(__name__)
MOST: Final = 256
"""Names of one gateway."""
EMPTY_S: Final = 10.0
"""For so long it must be said that a name has no address until that is believed."""
FIRST_S: Final = 4.5
"""That the first answer for a name is waited for."""
_LEAST_S: Final = 0.5  # between two questions for one name
_LONGEST_S: Final = 15.0  # between two questions while a directory does not answer
_END_S: Final = 1.0


class _Watch:
    """One name, followed by a thread.

    Attributes:
        addresses: as they were last told of.
        asked: it was asked for once, whatever came of it.
        problem: why the last question has brought nothing; empty = it has.
    """

    def __init__(self, named: Named, finder: Finder, changed: Callable[[], None]) -> None:
        self._named = named
        self._finder = finder
        self._changed = changed
        self._over = threading.Event()
        self._empty_since = 0.0
        self._mark = ""
        self.addresses: tuple[tuple[str, int], ...] = ()
        self.asked = threading.Event()
        self.problem = ""
        threading.Thread(target=self._run, name=f"find {named.name}", daemon=True).start()

    def close(self) -> None:
        """Follow it no longer; a question that is under way is left alone."""
        self._over.set()

    def _run(self) -> None:
        rest = _LEAST_S
        while not self._over.is_set():
            began = time.monotonic()
            try:
                found = self._finder.find(self._named, self._mark)
            except ModelworksError as error:
                self._fail(error.message)
            except Exception as error:  # noqa: BLE001 - a directory's whim is not to end the watch
                _log.exception("looking up %s failed", self._named.name)
                self._fail(f"{self._named.name} cannot be looked up: {error!r}")
            else:
                rest = _LEAST_S
                self._mark = found.mark
                self._take(found.addresses)
                self.asked.set()
                taken = time.monotonic() - began
                again = min(found.again_s, _LONGEST_S) if self._empty_since else found.again_s
                self._over.wait(max(again, _LEAST_S - taken))
                continue
            self.asked.set()
            self._mark = ""
            self._over.wait(rest * (0.5 + random.random()))  # noqa: S311 - spreads gateways
            rest = min(2 * rest, _LONGEST_S)

    def _take(self, addresses: tuple[tuple[str, int], ...]) -> None:
        now = time.monotonic()
        self.problem = ""
        if addresses:
            self._empty_since = 0.0
        elif self.addresses:
            self._empty_since = self._empty_since or now
            self.problem = f"{self._named.name} has no address now"
            self._mark = ""  # asked again soon, not when there is news
            if now - self._empty_since < EMPTY_S:
                return
        if addresses != self.addresses:
            _log.info("%s: %d addresses", self._named.name, len(addresses))
            self.addresses = addresses
            self._changed()

    def _fail(self, problem: str) -> None:
        if problem != self.problem:
            _log.warning("%s; its %d addresses stay", problem, len(self.addresses))
        self.problem = problem


class Names:
    """All names of one gateway's snapshot.

    Args:
        find: makes the finder of a directory, `dns` or `consul`.

    Attributes:
        version: another one whenever a name stands for something else.
    """

    def __init__(self, find: Callable[[str], Finder]) -> None:
        self._find = find
        self._finders: dict[str, Finder] = {}
        self._watches: dict[str, _Watch] = {}
        self._lock = threading.Lock()
        self.version = 0

    def follow(self, snapshot: Snapshot, wait_s: float = FIRST_S) -> None:
        """Follow the names of this snapshot, and no others; new ones are waited for a little.

        Raises:
            InvalidError: a malformed name, or too many.
            ModelworksError: what finds names cannot be used.
        """
        wanted = {
            endpoint.url
            for route in snapshot.routes
            for arm in route.arms
            for endpoint in arm.endpoints
            if is_named(endpoint.url)
        }
        if len(wanted) > MOST:
            raise InvalidError(
                f"{len(wanted)} names of endpoints: at most {MOST} are followed", field="routes"
            )
        new = {url: named_of(url) for url in wanted - self._watches.keys()}
        finders = {named.directory: self._finder(named.directory) for named in new.values()}
        for url, named in new.items():
            self._watches[url] = _Watch(named, finders[named.directory], self._changed)
        end = time.monotonic() + wait_s
        for url in new:
            self._watches[url].asked.wait(max(0.0, end - time.monotonic()))

    def forget_others(self, snapshot: Snapshot) -> None:
        """Follow no name any more that this snapshot has not: it is in force."""
        wanted = {e.url for route in snapshot.routes for arm in route.arms for e in arm.endpoints}
        for url in [url for url in self._watches if url not in wanted]:
            self._watches.pop(url).close()

    def expand(self, endpoints: Iterable[Endpoint]) -> list[Endpoint]:
        """Endpoints with what their names stand for in place of the names, each URL once."""
        found: dict[str, Endpoint] = {}
        for endpoint in endpoints:
            watch = self._watches.get(endpoint.url)
            if watch is None:
                found.setdefault(endpoint.url, endpoint)
                continue
            tls = named_of(endpoint.url).tls
            for host, port in watch.addresses:
                at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                url = f"https://{at}#{tls}" if tls else f"http://{at}"
                found.setdefault(url, Endpoint(url, endpoint.zone))
        return list(found.values())

    def told(self) -> list[dict[str, Any]]:
        """What the state tells."""
        return [
            {
                "name": url,
                "addresses": [f"{host}:{port}" for host, port in watch.addresses],
                "problem": watch.problem or None,
            }
            for url, watch in list(self._watches.items())
        ]

    def close(self) -> None:
        """Follow none."""
        for watch in self._watches.values():
            watch.close()

    def _finder(self, directory: str) -> Finder:
        if directory not in self._finders:
            self._finders[directory] = self._find(directory)
        return self._finders[directory]

    def _changed(self) -> None:
        with self._lock:
            self.version += 1
