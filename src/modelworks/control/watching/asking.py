"""Which servers of this machine there are, and what they say they counted."""

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import urllib3

from modelworks.client.endpoints import listed
from modelworks.control.bounded import body_of
from modelworks.core.errors import ModelworksError
from modelworks.core.home import Home
from modelworks.core.plans import Status

_log = logging.getLogger(__name__)

DEADLINE_S = 3.0
MAX_BYTES = 64 << 20
MAX_SERVERS = 256
_TRIES = 4


@dataclass(frozen=True, slots=True)
class Server:
    """Somebody to ask.

    Attributes:
        url: where it answers.
        deployment: whose server it is; empty = of none.
        processes: that share the address: each counts for itself.
    """

    url: str
    deployment: str = ""
    processes: int = 1


class Looks(Protocol):
    """What is asked of deployments."""

    def all(self) -> list[Status]:
        """Every one."""
        ...


class Servers:
    """The servers of this machine, and those of deployments that answer from here.

    Args:
        home: whose endpoints.
        deployments: None = there are none.
    """

    def __init__(self, home: Home, deployments: Looks | None = None) -> None:
        self._home = home
        self._deployments = deployments
        # Certificates are not looked at: servers of this machine are asked what is open to all.
        self._pool = urllib3.PoolManager(
            num_pools=MAX_SERVERS, maxsize=1, retries=False, cert_reqs="CERT_NONE"
        )

    def close(self) -> None:
        """Close what is open. Twice is quiet."""
        self._pool.clear()

    def metrics(self) -> list[tuple[Server, str]]:
        """What each process says; who does not answer is left out."""
        servers = list(self._servers())[:MAX_SERVERS]
        if not servers:
            return []
        with ThreadPoolExecutor(max_workers=min(8, len(servers))) as askers:
            found = list(askers.map(self._ask, servers))
        return [
            (server, text) for server, texts in zip(servers, found, strict=True) for text in texts
        ]

    def of(self, urls: Iterable[str]) -> list[tuple[Server, str]]:
        """The same of some servers, each of one process or of several that count together."""
        return [(server, text) for server in map(Server, urls) for text in self._ask(server)]

    def _servers(self) -> Iterator[Server]:
        for endpoint in listed(self._home):
            yield Server(endpoint.url)
        try:
            statuses = self._deployments.all() if self._deployments is not None else []
        except ModelworksError as error:
            _log.warning("deployments cannot be asked for: %s", error.message)
            return
        for one in statuses:
            if one.url:
                yield Server(one.url.rstrip("/"), one.name, max(1, len(one.seen)))

    def _ask(self, server: Server) -> list[str]:
        """What the processes behind an address say: the kernel chooses who answers."""
        texts: dict[str, str] = {}
        for _ in range(1 if server.processes == 1 else _TRIES * server.processes):
            text = self._get(f"{server.url}/metrics")
            begun = [line for line in text.splitlines() if line.startswith("modelworks_start")]
            if begun:
                texts[begun[-1]] = text
            if not text or len(texts) >= server.processes:
                break
        return list(texts.values())

    def _get(self, url: str) -> str:
        """The body of a 200 answer; empty = there was none."""
        body = body_of(self._pool, url, MAX_BYTES, DEADLINE_S, {"Connection": "close"})
        return (body or b"").decode(errors="replace")
