"""Clients of a deployment while something happens to it: none of them may notice."""

import contextlib
import http.client
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import urlsplit

ANSWER_S: Final = 30.0
_PAUSE_S: Final = 0.004
_BODY: Final = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1.0, 2.0, 3.0]}]}
).encode()
_HEADERS: Final = {"Content-Type": "application/json"}


class Traffic:
    """Several clients that ask all the time; two keep their connections, two take new ones.

    The model answers its input times a factor, so that an answer says who gave it.

    Args:
        url: where the deployment answers.
        model: its name.
        enter: called first in every thread that connects.

    Attributes:
        answers: factor -> how often it was the answer.
        failures: what was anything else than an answer.
    """

    def __init__(self, url: str, model: str, enter: Callable[[], None]) -> None:
        self._parts = urlsplit(url)
        self._path = f"/v2/models/{model}/infer"
        self._enter = enter
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.answers: Counter[float] = Counter()
        self.failures: list[str] = []

    @contextlib.contextmanager
    def flowing(self) -> Iterator["Traffic"]:
        """Ask until the end of the block."""
        for keep in (True, False) * 2:
            self._threads.append(threading.Thread(target=self._ask, args=(keep,)))
            self._threads[-1].start()
        try:
            yield self
        finally:
            self.stop()
        assert not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Ask no more, and wait for what was asked."""
        self._over.set()
        for thread in self._threads:
            thread.join(2 * ANSWER_S)

    def until(self, factor: float, times: int = 20, seconds: float = ANSWER_S) -> None:
        """Wait for so many more answers of this factor."""
        wanted, end = self.answers[factor] + times, time.monotonic() + seconds
        while self.answers[factor] < wanted:
            assert time.monotonic() < end, (factor, self.answers, self.failures[:5])
            time.sleep(0.02)

    def _ask(self, keep: bool) -> None:  # noqa: FBT001 - a thread's argument
        self._enter()
        connection: http.client.HTTPConnection | None = None
        while not self._over.is_set():
            try:
                connection = connection or connect(self._parts.netloc, self._parts.scheme)
                factor, last = ask(connection, self._path)
            except (OSError, http.client.HTTPException, ValueError) as error:
                with self._lock:
                    self.failures.append(f"{'kept' if keep else 'new'}: {error!r}")
                last = True
            else:
                with self._lock:
                    self.answers[factor] += 1
            if connection is not None and (last or not keep):
                connection.close()
                connection = None
            time.sleep(_PAUSE_S)
        if connection is not None:
            connection.close()


def connect(address: str, scheme: str = "http") -> http.client.HTTPConnection:
    """A connection to `host:port`; certificates are not looked at."""
    if scheme == "http":
        return http.client.HTTPConnection(address, timeout=ANSWER_S)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(address, timeout=ANSWER_S, context=context)


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[float, bool]:
    """The factor of the model that answers, and whether the server closes the connection.

    Raises:
        ValueError: it is no answer of the model.
        OSError: nobody answers, or in the middle nobody does any more.
    """
    connection.request("POST", path, _BODY, _HEADERS)
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 200:
        raise ValueError(f"{answer.status}: {said[:300].decode(errors='replace')}")
    data = json.loads(said)["outputs"][0]["data"]
    factor = data[0]
    if data != [factor, 2 * factor, 3 * factor]:
        raise ValueError(f"two models in one answer: {data}")
    return float(factor), answer.getheader("Connection", "").lower() == "close"


def call(url: str, model: str, enter: Callable[[], None]) -> float:
    """Ask once, on a thread of its own; the factor.

    Raises:
        ValueError: it is no answer of the model.
        OSError: nobody answers.
    """
    found: list[float] = []
    trouble: list[Exception] = []

    def once() -> None:
        try:
            enter()
            parts = urlsplit(url)
            with contextlib.closing(connect(parts.netloc, parts.scheme)) as connection:
                found.append(ask(connection, f"/v2/models/{model}/infer")[0])
        except (OSError, http.client.HTTPException, ValueError) as error:
            trouble.append(error)

    thread = threading.Thread(target=once)
    thread.start()
    thread.join(2 * ANSWER_S)
    if trouble:
        raise trouble[0]
    return found[0]
