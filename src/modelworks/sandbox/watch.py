"""What the parent sees of a running job: its words, its time, its disk; and what came of it."""

import os
import selectors
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelworks.core import codec
from modelworks.core.errors import CrashedError, ModelworksError, RefusedError
from modelworks.sandbox.isolate import Isolation
from modelworks.sandbox.limits import GIB, Limits
from modelworks.sandbox.report import Frames, one_line, rebuild
from modelworks.sandbox.vigil import disk_use

Progress = Callable[[str], None]
LONGEST_ERRORS: Final = 64 << 10
"""Bytes of what a job writes to its standard error that are kept: the last ones."""

_POLL_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job went that came to its end.

    Attributes:
        value: what the function returned.
        isolation: the walls that stood around it.
        attempts: what it tried and was refused inside Python; libraries try harmless things too.
        peak_bytes: resident memory at its highest.
        cpu_seconds: used.
        wall_seconds: from start to answer.
    """

    value: dict[str, Any]
    isolation: Isolation
    attempts: tuple[str, ...]
    peak_bytes: int
    cpu_seconds: float
    wall_seconds: float


class Watch:
    """One job while it runs.

    Args:
        limits: of the job.
        work: the folder that it writes.
        progress: told each line that the job reports.

    Attributes:
        fault: a rule that it broke; it is to be killed then.
    """

    def __init__(self, limits: Limits, work: Path, progress: Progress | None) -> None:
        self.fault: ModelworksError | None = None
        self._limits, self._work, self._progress = limits, work, progress
        self._frames = Frames(limits.result_bytes)
        self._isolation = Isolation()
        self._answer: dict[str, Any] | None = None
        self._errors = b""

    def follow(self, out: int, err: int, deadline: float) -> None:
        """Read both pipes until the job closes the first, breaks a rule or runs out of time.

        Args:
            out: the pipe of its answer.
            err: the pipe of its errors.
            deadline: of the monotonic clock.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            selector.register(err, selectors.EVENT_READ)
            checked = time.monotonic()
            while self.fault is None:
                now = time.monotonic()
                if now >= deadline:
                    self.fault = RefusedError(
                        f"the job was stopped: it took longer than {self._limits.wall_seconds:g} "
                        "s; MODELWORKS_IMPORT_SECONDS raises the limit if the file may need that "
                        "long"
                    )
                    return
                if now - checked > 1.0:
                    checked = now
                    self._measure()
                for key, _ in selector.select(min(_POLL_S, deadline - now)):
                    data = os.read(key.fd, 1 << 16)
                    if key.fd == err:
                        self._errors = (self._errors + data)[-LONGEST_ERRORS:]
                        if not data:
                            selector.unregister(err)
                    elif not data:
                        return
                    else:
                        self._take(data)

    def _take(self, data: bytes) -> None:
        try:
            frames = self._frames.feed(data)
        except CrashedError as error:
            self.fault = error
            return
        for frame in frames:
            if "isolation" in frame:
                self._isolation = codec.decode(Isolation, frame["isolation"])
            elif "progress" in frame and self._progress is not None:
                self._progress(one_line(str(frame["progress"])))
            elif "result" in frame or "error" in frame:
                self._answer = frame

    def _measure(self) -> None:
        limit = self._limits.disk_bytes
        if disk_use(self._work) > limit:
            self.fault = RefusedError(
                f"the job was stopped: it wrote more than {limit} bytes to disk"
            )

    def conclude(self, ended: dict[str, Any], wall: float) -> Outcome:
        """What came of it.

        Args:
            ended: its exit `code`, the KiB at its `peak`, its seconds of `cpu`.
            wall: seconds from start to end.

        Raises:
            ModelworksError: raised by the job itself, or for the rule that it broke.
            CrashedError: the process died of something else.
        """
        if self.fault is not None:
            raise self.fault
        answer = self._answer or {}
        if isinstance(answer.get("error"), dict):
            raise rebuild(answer["error"])
        if ended["code"] or not isinstance(answer.get("result"), dict):
            raise _death(int(ended["code"]), float(ended["cpu"]), self._errors, self._limits)
        return Outcome(
            value=answer["result"],
            isolation=self._isolation,
            attempts=tuple(one_line(str(a), 200) for a in answer.get("attempts", ())[:20]),
            peak_bytes=_peak(answer.get("peak"), int(ended["peak"])) * 1024,
            cpu_seconds=float(ended["cpu"]),
            wall_seconds=wall,
        )


def _peak(told: Any, counted: int) -> int:
    """KiB: what the job says of itself, never more than what the system counted."""
    return min(told, counted) if type(told) is int and told > 0 else counted


def _death(code: int, cpu: float, stderr: bytes, limits: Limits) -> ModelworksError:
    """Why a job gave no answer."""
    last = last_line(stderr)
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and cpu >= limits.cpu_seconds):
        return RefusedError(
            f"the job was stopped: it used more than {limits.cpu_seconds} s of CPU time; "
            "MODELWORKS_IMPORT_SECONDS raises the limit if the file may need that much"
        )
    if code == -signal.SIGXFSZ:
        return RefusedError(
            f"the job was stopped: it wrote a file of more than {limits.file_bytes} bytes"
        )
    if any(word in stderr for word in (b"bad_alloc", b"MemoryError", b"Cannot allocate memory")):
        return RefusedError(
            f"the job needs more memory than the {limits.memory_bytes / GIB:.3g} GiB that it may "
            "have; MODELWORKS_IMPORT_MEMORY raises the limit"
        )
    if code == -signal.SIGKILL:
        return CrashedError(
            "the job was killed from outside (SIGKILL), most often by the system for want of "
            "memory; free some and try again"
        )
    if code < 0:
        name = signal.Signals(-code).name
        return CrashedError(
            f"the job died of {name}; the file is probably damaged" + (f" ({last})" if last else "")
        )
    return CrashedError(
        f"the job ended with code {code} and no answer" + (f": {last}" if last else "")
    )


def last_line(stderr: bytes) -> str:
    """The end of what a process wrote, where the cause stands."""
    lines = stderr.decode(errors="replace").strip().splitlines()
    return one_line(lines[-1], 300) if lines else ""
