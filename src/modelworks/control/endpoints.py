"""Asks the model servers of this machine how they do: ready, requests, failures, durations."""

import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import orjson
import urllib3

from modelworks.client.endpoints import Endpoint, listed
from modelworks.core.home import Home

DEADLINE_SECONDS = 0.5
MAX_ENDPOINTS = 64
MAX_BYTES = 4 << 20
KEPT = 120
FRESH_SECONDS = 0.25
"""Two questions closer than this share one answer."""


@dataclass(frozen=True, slots=True)
class Served:
    """One version on one server, since that server began.

    Attributes:
        model: its name.
        version: its number.
        requests: answered with success.
        failures: answered with an error.
        mean_ns: of a successful request, in the server; None before the first.
    """

    model: str
    version: str
    requests: int
    failures: int
    mean_ns: int | None


@dataclass(frozen=True, slots=True)
class Point:
    """One look at a server.

    Attributes:
        at_ns: UTC.
        requests: of all models since the server began, failures included.
        rate: requests a second since the look before.
    """

    at_ns: int
    requests: int
    rate: float


@dataclass(frozen=True, slots=True)
class EndpointState:
    """A listed server, asked just now.

    Attributes:
        endpoint: as it is listed.
        ready: it answers predictions.
        rate: requests a second between the last two looks; 0 before the second.
        models: what it serves; empty where it did not answer.
        recent: looks, oldest first.
    """

    endpoint: Endpoint
    ready: bool
    rate: float
    models: tuple[Served, ...]
    recent: tuple[Point, ...]


class Watch:
    """Looks at the servers when somebody asks, and remembers a few looks.

    Args:
        home: whose endpoints.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._points: dict[str, deque[Point]] = {}
        self._last: tuple[EndpointState, ...] = ()
        self._at = float("-inf")
        self._pool = urllib3.PoolManager(num_pools=MAX_ENDPOINTS, maxsize=1, retries=False)

    def look(self) -> tuple[EndpointState, ...]:
        """Every listed server, oldest first; half a second at most for each of two questions."""
        with self._lock:
            if time.monotonic() - self._at < FRESH_SECONDS:
                return self._last
            found = listed(self._home)[:MAX_ENDPOINTS]
            for url in self._points.keys() - {endpoint.url for endpoint in found}:
                del self._points[url]
            if found:
                with ThreadPoolExecutor(max_workers=min(8, len(found))) as askers:
                    self._last = tuple(askers.map(self._state, found))
            else:
                self._last = ()
            self._at = time.monotonic()
            return self._last

    def close(self) -> None:
        """Close the kept connections."""
        self._pool.clear()

    def _state(self, endpoint: Endpoint) -> EndpointState:
        ready = self._get(f"{endpoint.url}/v2/health/ready") is not None
        models = _models(self._get(f"{endpoint.url}/v2/models/stats"))
        points = self._points.setdefault(endpoint.url, deque(maxlen=KEPT))
        if models is not None:
            points.append(_point(points[-1] if points else None, models))
        rate = points[-1].rate if points and models is not None else 0.0
        return EndpointState(endpoint, ready, rate, models or (), tuple(points))

    def _get(self, url: str) -> bytes | None:
        """The body of a 200 answer, or None."""
        try:
            answer = self._pool.request(
                "GET",
                url,
                timeout=urllib3.Timeout(total=DEADLINE_SECONDS),
                preload_content=False,
                redirect=False,
            )
            try:
                body = answer.read(MAX_BYTES + 1)
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            return None
        return body if answer.status == 200 and len(body) <= MAX_BYTES else None


def _point(last: Point | None, models: tuple[Served, ...]) -> Point:
    now = time.time_ns()
    requests = sum(model.requests + model.failures for model in models)
    if last is None or now <= last.at_ns or requests < last.requests:
        return Point(now, requests, 0.0)  # the first look, or the server began anew
    return Point(now, requests, (requests - last.requests) * 1e9 / (now - last.at_ns))


def _models(body: bytes | None) -> tuple[Served, ...] | None:
    """Model statistics as the Open Inference Protocol's extension answers them; None: no such."""
    try:
        entries = orjson.loads(body or b"")["model_stats"]
        return tuple(_served(entry) for entry in entries)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _served(entry: Mapping[str, Any]) -> Served:
    stats = entry.get("inference_stats") or {}
    success, fail = stats.get("success") or {}, stats.get("fail") or {}
    count = int(success.get("count", 0))
    mean = int(success.get("ns", 0)) // count if count else None
    return Served(
        str(entry["name"]), str(entry.get("version", "")), count, int(fail.get("count", 0)), mean
    )
