"""A progress bar on a terminal, drawn by one short write: it must not disturb what is timed."""

import sys
import time
from types import TracebackType
from typing import Final, Self

from modelworks.cli.output import Output

_WIDTH: Final = 24
_EVERY_S: Final = 0.25


class Bar:
    """Shows how far a run is; lines instead where stderr is no terminal, nothing with `--json`.

    Args:
        out: the command's output.
        runs: how many there will be.
    """

    def __init__(self, out: Output, runs: int) -> None:
        self._out = out
        self._runs = runs
        self._number = 0
        self._name = ""
        self._seconds = 1.0
        self._drawn = 0.0
        self._live = not out.as_json and sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._write("\r\x1b[K")

    def begin(self, name: str, seconds: float) -> None:
        """A run begins; it lasts about so many seconds."""
        self._number += 1
        self._name, self._seconds = name, max(seconds, 1e-3)
        self._drawn = 0.0
        if self._live:
            self.show(0.0, 0, 0)
        else:
            self._out.note(f"... {self._number}/{self._runs} {name}")

    def show(self, seconds: float, answers: int, failures: int) -> None:
        """How far it is; what `measure.load.run` calls."""
        now = time.monotonic()
        if not self._live or now - self._drawn < _EVERY_S:
            return
        self._drawn = now
        done = min(1.0, seconds / self._seconds)
        bar = "#" * round(done * _WIDTH)
        failed = f", {failures} failed" if failures else ""
        self._write(
            f"\r\x1b[K{self._number}/{self._runs} {self._name:<18} [{bar:<{_WIDTH}}] "
            f"{seconds:4.1f} s, {answers:,} answers{failed}"
        )

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
