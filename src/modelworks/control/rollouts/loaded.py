"""Which servers carry the routes of roll-outs, and whether they have a version loaded and warm."""

from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote

import urllib3

from modelworks.client.endpoints import listed
from modelworks.core.home import Home

_DEADLINE_S: Final = 3.0


def carriers(home: Home) -> list[str]:
    """Addresses of the servers that follow our routes: those of `up`, not those of `serve`."""
    return [endpoint.url for endpoint in listed(home) if endpoint.kind == "up"]


class Loaded:
    """Asks servers.

    Args:
        urls: of all that carry the routes.
    """

    def __init__(self, urls: Callable[[], Iterable[str]]) -> None:
        self._urls = urls
        # Certificates are not looked at: servers of this machine are asked what is open to all.
        self._pool = urllib3.PoolManager(retries=False, cert_reqs="CERT_NONE")

    def __call__(self, model: str, version: str) -> bool:
        """Whether all say so; nobody is there = no."""
        urls = list(self._urls())
        path = f"/v2/models/{quote(model, safe='')}/versions/{quote(version, safe='')}/ready"
        return bool(urls) and all(self._ready(url + path) for url in urls)

    def _ready(self, url: str) -> bool:
        try:
            found = self._pool.request("GET", url, timeout=urllib3.Timeout(total=_DEADLINE_S))
        except (urllib3.exceptions.HTTPError, OSError):
            return False
        return found.status == 200
