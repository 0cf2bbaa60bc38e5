"""A short closed loop over one connection: the next request leaves when its answer is there."""

import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from modelworks.core.errors import InvalidError, UnavailableError


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """What one connection saw; the client's own time is in it.

    Attributes:
        requests: answered with 200.
        failed: answered otherwise.
        p50: seconds.
        p99: seconds.
        rate: answered requests a second.
    """

    requests: int
    failed: int
    p50: float
    p99: float
    rate: float


def closed_loop(
    url: str, body: bytes, seconds: float, warm: int = 20, most: int = 100_000
) -> ClosedLoop:
    """Send the same request again and again.

    Args:
        url: of the request, a POST with a JSON body.
        body: of each request.
        seconds: how long.
        warm: requests before the clock runs.
        most: requests at most.

    Raises:
        InvalidError: no http URL.
        UnavailableError: nothing listens there, or the connection broke.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise InvalidError(f"'{url}' is no http URL", field="url")
    connection = HTTPConnection(parts.hostname, parts.port, timeout=30)
    spans: list[float] = []
    failed = 0
    try:
        for _ in range(warm):
            _once(connection, parts.path, body)
        begin = time.perf_counter()
        last = begin
        while last - begin < seconds and len(spans) + failed < most:
            good = _once(connection, parts.path, body)
            now = time.perf_counter()
            if good:
                spans.append(now - last)
            else:
                failed += 1
            last = now
    except (OSError, HTTPException) as error:
        raise UnavailableError(f"{url}: {str(error) or type(error).__name__}") from error
    finally:
        connection.close()
    spans.sort()
    return ClosedLoop(
        requests=len(spans),
        failed=failed,
        p50=spans[len(spans) // 2] if spans else 0.0,
        p99=spans[len(spans) * 99 // 100] if spans else 0.0,
        rate=len(spans) / max(last - begin, 1e-9),
    )


def _once(connection: HTTPConnection, path: str, body: bytes) -> bool:
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status == 200
