"""Who changes a deployment: one at a time, across processes and machines."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from modelworks.core.errors import ConflictError
from modelworks.db.engine import TenantScope
from modelworks.deploy import store

LEASE_S: Final = 60.0
"""For so long is a lock held without a word of its holder."""
_RENEW_S: Final = 10.0
_AGAIN_S: Final = 0.2


class Lock:
    """A lock that is held; `keep` it while work goes on.

    Args:
        scope: the tenant's rows.
        name: of the deployment.
        holder: who we are.
        clock: UTC nanoseconds.
    """

    def __init__(
        self, scope: TenantScope, name: str, holder: str, clock: Callable[[], int]
    ) -> None:
        self._scope = scope
        self._name = name
        self._holder = holder
        self._clock = clock
        self._renewed = time.monotonic()

    def keep(self) -> None:
        """Say that we are still at it; cheap when that was said lately.

        Raises:
            ConflictError: another took it, for we had been silent for too long.
        """
        if time.monotonic() - self._renewed < _RENEW_S:
            return
        if other := take(self._scope, self._name, self._holder, self._clock()):
            raise ConflictError(f"deployment '{self._name}': {other} took over")
        self._renewed = time.monotonic()


@contextmanager
def held(
    scope: TenantScope, name: str, clock: Callable[[], int], wait_s: float = 0.0
) -> Iterator[Lock]:
    """Be the only one who changes a deployment.

    Raises:
        ConflictError: another one is at it, and was still after `wait_s`.
    """
    holder = ourselves()
    until = time.monotonic() + wait_s
    while other := take(scope, name, holder, clock()):
        if time.monotonic() >= until:
            raise ConflictError(
                f"deployment '{name}' is being changed by {other}: wait, or end that process",
                field="name",
            )
        time.sleep(_AGAIN_S)
    try:
        yield Lock(scope, name, holder, clock)
    finally:
        with scope.write() as session:
            store.unlock(session, name, holder)


def take(scope: TenantScope, name: str, holder: str, now: int) -> str:
    """Take or renew it; who else has it, or "". The lock of a process that is gone is free."""
    until = now + int(LEASE_S * 1e9)
    with scope.write() as session:
        other = store.lock(session, name, holder, now, until)
        if other and gone(other):
            store.unlock(session, name, other)
            other = store.lock(session, name, holder, now, until)
    return other


def ourselves() -> str:
    """This thread of this process: host, id, when it began, thread."""
    pid = os.getpid()
    return f"{socket.gethostname()}/{pid}/{_born(pid)}/{threading.get_ident()}"


def gone(holder: str) -> bool:
    """Whether a holder was a process of this machine that has ended."""
    host, _, rest = holder.partition("/")
    pid, _, born = rest.partition("/")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return _born(int(pid)) != born.partition("/")[0]


def _born(pid: int) -> str:
    """When a process began, in ticks since the machine did; "" = there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # The name in brackets may hold anything; 19 fields lie between its end and the 22nd.
    return text.rpartition(")")[2].split()[19]
