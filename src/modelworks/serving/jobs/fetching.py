"""Inputs that a job names by URL: fetched when it runs, beside the loop, a few at once."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from modelworks.serving.jobs.outside import Outside
from modelworks.serving.jobs.rows import Claimed

_AT_ONCE: Final = 4
_KEPT: Final = ("content-type", "inference-header-content-length")


class Fetching:
    """Of one worker.

    Args:
        outside: what may be reached.
        seconds: for one.
        most: bytes of one.
    """

    def __init__(self, outside: Outside, seconds: float, most: int) -> None:
        self._outside = outside
        self._seconds = seconds
        self._most = most
        self._threads = ThreadPoolExecutor(_AT_ONCE, "job-inputs")

    async def fetch(self, job: Claimed) -> Claimed:
        """The job with its body.

        Raises:
            InvalidError: it may not be asked, is too large, or is not there.
            UnavailableError: it did not come in time.
        """
        loop = asyncio.get_running_loop()
        body, headers = await loop.run_in_executor(
            self._threads, self._outside.get, job.remote, self._seconds, self._most
        )
        brought = {name: headers[name] for name in _KEPT if name in headers}
        return replace(job, body=body, headers={**job.headers, **brought})

    def close(self) -> None:
        """Begin no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
