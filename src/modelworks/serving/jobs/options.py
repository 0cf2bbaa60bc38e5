"""What a server is told about jobs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

DAY_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class JobOptions:
    """How jobs are kept and run.

    Attributes:
        folder: where they lie; on a disk of this machine.
        keep_s: seconds that a job and its result stay after its end.
        most_bytes: of bodies and results together; ended jobs go before their time where that is
            needed, and nothing new is accepted where it is not enough.
        most_open: jobs of one caller that may wait or run at once.
        deadline_s: seconds within which a job has its answer, where it says nothing itself.
        attempts: that an unavailable model, or an end of the worker, may cost a job.
        outside: hosts and networks that inputs may come from and callbacks go to; see `outside`.
        secret: that signs callbacks; empty = they are not signed.
        fetch_s: seconds that the inputs of one job may take to come.
        fetch_bytes: of them.
        call_s: seconds for one callback.
        call_tries: callbacks before a job's end is told no more.
    """

    folder: Path
    keep_s: float = DAY_S
    most_bytes: int = 1 << 30
    most_open: int = 100_000
    deadline_s: float = DAY_S
    attempts: int = 8
    outside: tuple[str, ...] = ()
    secret: bytes = b""
    fetch_s: float = 60.0
    fetch_bytes: int = 64 << 20
    call_s: float = 10.0
    call_tries: int = 10
