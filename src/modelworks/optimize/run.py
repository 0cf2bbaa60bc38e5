"""One optimization as a record: what was wanted, on what rows, and what became of each candidate.

The record is a file of JSON lines that only ever grows: whoever is killed leaves all that it had
found, and a last line that was cut short is left out in reading.
"""

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from modelworks.core import codec
from modelworks.core.errors import CorruptError, InvalidError
from modelworks.core.optimizing.variants import Ending, Finding, Goal, Hardware, Measurement

_LONGEST: Final = 16 << 20
MOST_BYTES: Final = 256 << 20
"""Of the files of all runs together; what a run found stays with its version."""
_YOUNG_S: Final = 86_400.0  # a search may still write to it


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What the forms were tried on.

    Attributes:
        evaluation: rows that decided.
        calibration: rows that passes were given; 0 = none.
        labels: whether the truth of the evaluation rows is known.
        made_up: nobody gave rows.
        slices: name -> rows.
        notes: how they came to be, one sentence each; what they cannot show among them.
        guide: rows by which forms were chosen before others decided: those for passes where there
            are too few for some of their own.
    """

    evaluation: int = 0
    calibration: int = 0
    labels: bool = False
    made_up: bool = False
    slices: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    guide: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One optimization.

    Attributes:
        id: of the run.
        model: reference of the version (`fraud:1.2.0`).
        digest: of its artifact.
        goal: what was wanted.
        hardware: where.
        data: what it was tried on.
        source: the source form's measurement; None = it was not measured yet.
        findings: one a candidate, in the order in which they ended.
        notes: one sentence each, in their order.
        environment: library -> version.
        began_ns: UTC nanoseconds.
        ended_ns: the same; 0 = it was not finished.
        conclusion: one sentence; empty = not finished.
    """

    id: str
    model: str
    digest: str
    goal: Goal
    hardware: Hardware
    data: DataFacts = DataFacts()
    source: Measurement | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    began_ns: int = 0
    ended_ns: int = 0
    conclusion: str = ""

    @property
    def kept(self) -> tuple[Finding, ...]:
        """Candidates that passed every gate."""
        return tuple(one for one in self.findings if one.ending is Ending.KEPT)


class RunFile:
    """The file of one run, for its only writer; every line is on the disk when a call returns.

    Args:
        path: of the file; made where it is not there. A line that was cut short is taken off.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            data = path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                os.truncate(path, whole)

    def begin(self, run: Run) -> None:
        """Write what is known at the start; once, before all else."""
        self._write("run", run)

    def data(self, facts: DataFacts) -> None:
        """Say what the forms are tried on."""
        self._write("data", facts)

    def source(self, measured: Measurement) -> None:
        """Note the source form's measurement; a later one takes the place of an earlier."""
        self._write("source", measured)

    def finding(self, found: Finding) -> None:
        """Add a candidate's end; a later one of the same recipe takes the place of an earlier."""
        self._write("finding", found)

    def note(self, text: str) -> None:
        """Add a sentence."""
        self._write("note", text)

    def end(self, ended_ns: int, conclusion: str) -> None:
        """Say how it ended."""
        self._write("end", {"ended_ns": ended_ns, "conclusion": conclusion})

    def again(self) -> None:
        """Say that it goes on: how it ended before counts no more."""
        self.end(0, "")

    def _write(self, kind: str, value: Any) -> None:
        line = json.dumps({kind: codec.encode(value)}, separators=(",", ":")) + "\n"
        left = line.encode()
        with self._path.open("ab", buffering=0) as file:
            before = os.fstat(file.fileno()).st_size
            try:
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError:  # nothing may stand behind half a line
                with suppress(OSError):
                    os.ftruncate(file.fileno(), before)
                raise


def sweep(folder: Path, most: int = MOST_BYTES) -> None:
    """Remove the files of the oldest runs where all together take too much.

    Args:
        folder: of the files; it need not be there.
        most: bytes that stay.

    Raises:
        OSError: the folder cannot be read.
    """
    found = []
    for path in folder.glob("*.jsonl"):
        with suppress(FileNotFoundError):  # somebody else sweeps
            told = path.stat()
            found.append((told.st_mtime, told.st_size, path))
    left = sum(size for _, size, _ in found)
    for changed, size, path in sorted(found):
        if left <= most or abs(time.time() - changed) < _YOUNG_S:
            return
        path.unlink(missing_ok=True)
        left -= size


def read_run(path: Path) -> Run | None:
    """What a file of a run says; None = there is none, or its first line was cut short.

    Raises:
        CorruptError: a whole line that cannot be understood.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    return read_lines(lines, path.name)


def read_lines(lines: Iterable[bytes], name: str) -> Run | None:
    """The same of lines.

    Args:
        lines: as they were written.
        name: of the file, for errors.

    Raises:
        CorruptError: one that cannot be understood.
    """
    run: Run | None = None
    findings: dict[str, Finding] = {}
    for number, line in enumerate(lines, 1):
        try:
            kind, value = _told(line)
            if run is None:
                run = _first(kind, value)
            elif kind == "finding":
                found = codec.decode(Finding, value)
                findings.pop(found.recipe.id, None)
                findings[found.recipe.id] = found
            else:
                run = _with(run, kind, value)
        except (InvalidError, ValueError, KeyError, TypeError) as error:
            raise CorruptError(f"{name}, line {number} cannot be understood: {error}") from error
    return None if run is None else replace(run, findings=(*run.findings, *findings.values()))


def _told(line: bytes) -> tuple[str, Any]:
    """What a line is, and what it says."""
    if len(line) > _LONGEST:
        raise InvalidError("it is longer than 16 MiB")
    found = json.loads(line)
    if not isinstance(found, dict) or len(found) != 1:
        raise InvalidError("an object of one key is wanted")
    ((kind, value),) = found.items()
    return kind, value


def _first(kind: str, value: Any) -> Run:
    if kind != "run":
        raise InvalidError(f"'{kind}' stands before 'run'")
    return codec.decode(Run, value)


def _with(run: Run, kind: str, value: Any) -> Run:
    if kind == "data":
        return replace(run, data=codec.decode(DataFacts, value))
    if kind == "source":
        return replace(run, source=codec.decode(Measurement, value))
    if kind == "note":
        return replace(run, notes=(*run.notes, str(value)))
    if kind == "end":
        return replace(run, ended_ns=int(value["ended_ns"]), conclusion=str(value["conclusion"]))
    raise InvalidError(f"'{kind}' is not known")


def write_run(run: Run) -> str:
    """The whole run as one JSON document, as the page's reader and `--json` have it."""
    return json.dumps(codec.encode(run), indent=1) + "\n"
