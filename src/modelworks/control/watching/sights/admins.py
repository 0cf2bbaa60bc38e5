"""Asks the admin addresses of gateways, each within a few seconds."""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import urlencode

import urllib3

from modelworks.control.bounded import body_of

_DEADLINE_S: Final = 3.0
_MOST: Final = 64 << 20
_GATEWAYS: Final = 64
_AT_ONCE: Final = 8
_ROUTES: Final = 64  # that are asked for by name: a request's head is bounded


class Admins:
    """Fulfils `gateways.Telling`.

    Args:
        urls: of all gateways that are known.
    """

    def __init__(self, urls: Callable[[], Iterable[str]]) -> None:
        self._urls = urls
        self._pool = urllib3.PoolManager(num_pools=_GATEWAYS, maxsize=1, retries=False)

    def metrics(self, routes: Sequence[str]) -> list[tuple[str, str]]:
        """See `Telling`."""
        asked = urlencode([("route", name) for name in routes])
        return self._all(f"/metrics?{asked}" if len(routes) <= _ROUTES else "/metrics")

    def states(self) -> list[tuple[str, dict[str, Any]]]:
        """See `Telling`."""
        found = []
        for url, text in self._all("/-/state"):
            try:
                state = json.loads(text)
            except ValueError:
                continue  # somebody else is there
            if isinstance(state, dict):
                found.append((url, state))
        return found

    def _all(self, path: str) -> list[tuple[str, str]]:
        urls = list(self._urls())[:_GATEWAYS]
        if not urls:
            return []
        with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(urls))) as askers:
            texts = list(askers.map(lambda url: self._get(url + path), urls))
        return [(url, text) for url, text in zip(urls, texts, strict=True) if text]

    def _get(self, url: str) -> str:
        """The body of a 200 answer; empty = there was none."""
        return (body_of(self._pool, url, _MOST, _DEADLINE_S) or b"").decode(errors="replace")
