"""Asks the admin addresses of gateways, each within a few seconds."""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import urlencode

import urllib3

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
        try:
            answer = self._pool.request(
                "GET",
                url,
                timeout=urllib3.Timeout(total=_DEADLINE_S),
                preload_content=False,
                redirect=False,
            )
            try:
                body = answer.read(_MOST + 1)
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            return ""
        good = answer.status == 200 and len(body) <= _MOST
        return body.decode(errors="replace") if good else ""
