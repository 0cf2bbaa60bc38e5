"""Which servers carry the routes of roll-outs, and whether they have a version loaded and warm."""

from collections.abc import Callable, Iterable
from typing import Final

import urllib3

from modelworks.client.endpoints import listed
from modelworks.control.exposition import values
from modelworks.core.home import Home

_DEADLINE_S: Final = 3.0
_READY: Final = "modelworks_model_ready"


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
        return bool(urls) and all(self._ready(url, model, version) for url in urls)

    def _ready(self, url: str, model: str, version: str) -> bool:
        """Whether all workers of a server say so, where it says it to all, with keys or without."""
        deadline = urllib3.Timeout(total=_DEADLINE_S)
        try:
            found = self._pool.request("GET", f"{url}/metrics", timeout=deadline)
        except (urllib3.exceptions.HTTPError, OSError):
            return False
        wanted = {"model": model, "version": version}
        text = found.data.decode(errors="replace") if found.status == 200 else ""
        return any(labels == wanted and value for _, labels, value in values(text, {_READY}))
