"""Asks the model servers of this machine every two seconds how they do, and remembers it."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import urllib3

from modelworks.client.endpoints import Endpoint, listed
from modelworks.control import exposition
from modelworks.control.bounded import body_of
from modelworks.control.exposition import Counts, Key
from modelworks.control.traffic import Sample, Traffic, traffic
from modelworks.core.home import Home

_log = logging.getLogger(__name__)
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # see `Watch`

PERIOD_SECONDS = 2.0
DEADLINE_SECONDS = 0.5
MAX_ENDPOINTS = 64
MAX_BYTES = 16 << 20
KEPT = 61
"""Looks that are remembered: the two minutes between them."""


@dataclass(frozen=True, slots=True)
class Served:
    """One version on one server.

    Attributes:
        model: its name.
        version: its number.
        traffic: of it, there.
    """

    model: str
    version: str
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class EndpointState:
    """A listed server, as it was at the last look.

    Attributes:
        endpoint: as it is listed.
        answers: it says what it counts.
        ready: it answers predictions.
        total: of all that it serves.
        models: what it served when it last answered.
    """

    endpoint: Endpoint
    answers: bool
    ready: bool
    total: Traffic
    models: tuple[Served, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look leaves behind; replaced as a whole, so readers need no lock."""

    states: tuple[EndpointState, ...] = ()
    samples: dict[str, tuple[Sample, ...]] = field(default_factory=dict)


class Watch:
    """One thread that asks; readers take what it last saw.

    Args:
        home: whose endpoints.
        period: seconds between two looks.
    """

    def __init__(self, home: Home, period: float = PERIOD_SECONDS) -> None:
        self._home = home
        self._period = period
        self._stop = threading.Event()
        self._seen = _Seen()
        self._thread: threading.Thread | None = None
        # Certificates are not looked at: servers of this machine are asked what is open to all.
        self._pool = urllib3.PoolManager(
            num_pools=MAX_ENDPOINTS, maxsize=1, retries=False, cert_reqs="CERT_NONE"
        )

    def start(self) -> None:
        """Begin; twice is quiet."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="endpoints", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread and close the kept connections. Twice is quiet."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=30)
        self._pool.clear()

    def states(self) -> tuple[EndpointState, ...]:
        """Every listed server, oldest first, as of the last look."""
        return self._seen.states

    def model(self, name: str) -> Traffic:
        """A model's traffic over all servers and versions."""
        return self._of(lambda key: key[0] == name)

    def version(self, name: str, version: str) -> Traffic:
        """One version's traffic over all servers."""
        return self._of(lambda key: key == (name, version))

    def look(self) -> tuple[EndpointState, ...]:
        """Ask every server now. Never raises for a server's sake."""
        found = listed(self._home)[:MAX_ENDPOINTS]
        before = self._seen.samples
        if not found:
            self._seen = _Seen()
            return ()
        with ThreadPoolExecutor(max_workers=min(8, len(found))) as askers:
            seen = list(askers.map(lambda e: self._ask(e, before.get(e.url, ())), found))
        samples = {state.endpoint.url: kept for state, kept in seen}
        self._seen = _Seen(tuple(state for state, _ in seen), samples)
        return self._seen.states

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except OSError as error:  # the folder of the entries: it may be mended
                _log.warning("the list of servers cannot be read: %s", error)
            self._stop.wait(self._period)

    def _of(self, wanted: Callable[[Key], bool]) -> Traffic:
        histories = []
        for past in self._seen.samples.values():
            keys = [key for key in past[-1].counts if wanted(key)] if past else []
            if keys:
                histories.append((past, keys))
        return traffic(histories)

    def _ask(
        self, endpoint: Endpoint, past: tuple[Sample, ...]
    ) -> tuple[EndpointState, tuple[Sample, ...]]:
        """How a server is now, and the samples of it that are kept."""
        ready = self._get(f"{endpoint.url}/v2/health/ready") is not None
        counts = _counts(self._get(f"{endpoint.url}/metrics"))
        # A silent server counts on from where it was: its rate is 0 until it speaks again.
        known = counts if counts is not None else past[-1].counts if past else None
        if known is not None:
            past = (*past[1 - KEPT :], Sample(time.monotonic(), time.time_ns(), known))
        keys = sorted(past[-1].counts) if past else []
        models = tuple(Served(*key, traffic([(past, [key])])) for key in keys)
        state = EndpointState(endpoint, counts is not None, ready, traffic([(past, keys)]), models)
        return state, past

    def _get(self, url: str) -> bytes | None:
        """The body of a 200 answer, or None."""
        return body_of(self._pool, url, MAX_BYTES, DEADLINE_SECONDS)


def _counts(body: bytes | None) -> dict[Key, Counts] | None:
    """What a server says in its metrics; None where it says nothing, or nothing of the kind."""
    if body is None:
        return None
    try:
        return exposition.read(body.decode())
    except ValueError:
        return None
