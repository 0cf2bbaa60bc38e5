"""Tells of jobs' ends: POSTs of their results, at least once each, signed where there is a secret.

Beside the loop, a few at once; whoever does not take one is tried again, later and later, and
after the last time the callback is dead: the result can still be fetched.
"""

import asyncio
import hmac
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from typing import Final

from modelworks.core.errors import InvalidError, ModelworksError, UnavailableError
from modelworks.core.ids import now_ns
from modelworks.core.jobs import CallbackState
from modelworks.serving.jobs import work
from modelworks.serving.jobs.ledger import Base, Ledger
from modelworks.serving.jobs.options import JobOptions
from modelworks.serving.jobs.outside import Outside
from modelworks.serving.jobs.rows import CallbackDue

_log = logging.getLogger("modelworks.serving")
_AT_ONCE: Final = 4
_MOST: Final = 16
_FIRST_S: Final = 1.0
_AGAIN_S: Final = 0.5
_LONGEST_S: Final = 300.0
SIGNATURE: Final = "Job-Signature"


class Callbacks:
    """Of one worker.

    Args:
        ledger: the jobs' file.
        runner: who takes them.
        outside: what may be reached.
        options: time-outs, tries, the secret.
    """

    def __init__(
        self,
        ledger: Ledger,
        runner: str,
        outside: Outside,
        options: JobOptions,
    ) -> None:
        self._ledger = ledger
        self._runner = runner
        self._outside = outside
        self._options = options
        self._threads = ThreadPoolExecutor(_AT_ONCE, "job-callbacks")
        self._task: asyncio.Task[None] | None = None
        self._wanted = False
        self._closing = False

    def look(self) -> None:
        """Make what is due, unless that is being done."""
        self._wanted = True
        if self._task is None and not self._closing:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Begin no more; those under way end by their own time-out."""
        self._closing = True
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=self._options.call_s + 1.0)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        try:
            while self._wanted and not self._closing:
                self._wanted = False
                while not self._closing and await self._due():
                    taken = partial(work.callbacks, runner=self._runner, now=now_ns(), most=_MOST)
                    await asyncio.gather(*map(self._tell, await self._ledger.do(taken)))
        except ModelworksError as error:
            _log.warning("callbacks wait: %s", error.message)
        finally:
            self._task = None

    async def _due(self) -> bool:
        """Whether there is one: taking them is a commit, looking is none."""
        return await self._ledger.do(partial(work.calling, now=now_ns()), writes=False)

    async def _tell(self, due: CallbackDue) -> None:
        loop = asyncio.get_running_loop()
        error, final = "", False
        try:
            status = await loop.run_in_executor(self._threads, self._post, due)
            if not 200 <= status < 300:
                error = f"it answered {status}"
        except InvalidError as problem:
            error, final = problem.message, True
        except ModelworksError as problem:
            error = problem.message
        except Exception:  # noqa: BLE001 - it is noted, else nobody ever made it again
            _log.exception("the callback of job %s failed", due.id)
            error = "it failed: see the server's log"
        state, again = CallbackState.DELIVERED, 0
        if error:
            last = final or due.tries + 1 >= self._options.call_tries
            state = CallbackState.DEAD if last else CallbackState.PENDING
            again = now_ns() + round(1e9 * min(_LONGEST_S, _FIRST_S * 2.0**due.tries))
        noted = partial(work.told, runner=self._runner, due=due, state=state, error=error[:500])
        await self._note(partial(noted, again_ns=again))

    async def _note(self, noted: Callable[[Base], None]) -> None:
        """Write down what became of one; waits for a disk that is full: it is ours until then."""
        while True:
            try:
                await self._ledger.do(noted)
            except UnavailableError:
                if self._closing:
                    raise
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    def _post(self, due: CallbackDue) -> int:
        found = due.result
        stamp = str(now_ns() // 1_000_000_000)
        headers = {
            "Content-Type": found.kind,
            "Job-Id": due.id,
            "Job-State": str(found.state),
            "Job-Status": str(found.status),
            "Job-Attempt": str(due.tries + 1),
            **found.headers,
        }
        if self._options.secret:
            signed = signature(self._options.secret, due.id, stamp, found.body)
            headers[SIGNATURE] = f"t={stamp},sha256={signed}"
        return self._outside.post(due.url, found.body, headers, self._options.call_s)


def signature(secret: bytes, job: str, stamp: str, body: bytes) -> str:
    """HMAC-SHA256 of `job.stamp.body`, hexadecimal: who has the secret knows that it was us."""
    return hmac.new(secret, f"{job}.{stamp}.".encode() + body, sha256).hexdigest()
