"""Finds lines in the log files of this installation, in whatever form they were written."""

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from modelworks.core.home import Home

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_MOST_FILES: Final = 1000
_LONGEST: Final = 64 * 1024  # of one line; what is longer is cut
_TEXT: Final = re.compile(
    r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(?P<ms>\d{3}) (?P<level>[A-Z]+) (?P<pid>\d+) "
    r"(?P<logger>[\w.]+) (?P<message>.*)",
    re.DOTALL,
)
_SHORT: Final = re.compile(r"(?P<level>[A-Z]+) (?P<logger>[\w.]+): (?P<message>.*)", re.DOTALL)
_MODEL: Final = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line, with what followed it and began nothing of its own (a traceback).

    Attributes:
        at: seconds since 1970; 0 = nothing says when.
        level: one of `LEVELS`.
        source: the file's name without its ending.
        logger: that wrote it.
        message: of it.
        model: that it is about; empty = it does not say.
        trace: W3C trace id; empty = none.
        fields: further ones of a JSON line.
    """

    at: float
    level: str
    source: str
    logger: str
    message: str
    model: str = ""
    trace: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines are wanted.

    Attributes:
        model: that they are about: named in a field, or as a word of the message.
        level: the least.
        since: seconds since 1970.
        grep: a regular expression that the message has; None = any.
        trace: the id, or its beginning.
    """

    model: str = ""
    level: str = "debug"
    since: float = 0.0
    grep: re.Pattern[str] | None = None
    trace: str = ""

    def has(self, line: LogLine) -> bool:
        """Whether it is one of them."""
        if LEVELS.index(line.level) < LEVELS.index(self.level) or 0 < line.at < self.since:
            return False
        if self.model and self.model != line.model and self.model not in _words(line.message):
            return False
        if self.trace and not line.trace.startswith(self.trace):
            return False
        return self.grep is None or self.grep.search(line.message) is not None


def log_files(home: Home) -> list[Path]:
    """The log files of an installation, those of its replicas too."""
    found = [*home.logs.glob("*.log"), *home.targets.glob("local/*/**/*.log")]
    return sorted(found)[:_MOST_FILES]


def read_lines(path: Path, texts: Iterable[str]) -> Iterator[LogLine]:
    """The lines of one file.

    Args:
        path: of it.
        texts: its lines, from the first that is wanted.
    """
    held: LogLine | None = None
    for text in texts:
        found = _read(path.stem, text.rstrip("\n")[:_LONGEST])
        if found is None:  # it goes on
            if held is None:
                held = LogLine(0.0, "info", path.stem, "", text.rstrip("\n")[:_LONGEST])
            elif len(held.message) < _LONGEST:
                held = replace(held, message=f"{held.message}\n{text.rstrip()}"[:_LONGEST])
            continue
        if held is not None:
            yield held
        if not found.at and held is not None:
            found = replace(found, at=held.at)  # not before the line above it
        held = found
    if held is not None:
        yield held


def search(home: Home, wanted: Wanted, most: int) -> list[LogLine]:
    """The newest lines that are wanted, the oldest of them first.

    A file whose last change is older than what is wanted is not read.

    Args:
        home: whose.
        wanted: which.
        most: so many at most.
    """
    found: list[LogLine] = []
    for path in log_files(home):
        try:
            if path.stat().st_mtime < wanted.since:
                continue
            with path.open(encoding="utf-8", errors="replace") as file:
                lines = (line for line in read_lines(path, file) if wanted.has(line))
                found += deque(lines, maxlen=most)
        except OSError:
            continue  # it was rotated away
    return sorted(found, key=lambda line: line.at)[-most:]


class Follower:
    """Lines that are added to the files from now on.

    Args:
        home: whose.
        wanted: which.
    """

    def __init__(self, home: Home, wanted: Wanted) -> None:
        self._home = home
        self._wanted = wanted
        self._places = {path: _end(path) for path in log_files(home)}

    def look(self) -> list[LogLine]:
        """Those since the last look; a line is told when its end is there."""
        found: list[LogLine] = []
        for path in log_files(self._home):
            before = self._places.get(path, (0, 0))
            size, inode = _end(path)
            start = before[0] if inode == before[1] and size >= before[0] else 0
            try:
                with path.open("rb") as file:
                    file.seek(start)
                    data = file.read()
            except OSError:
                continue
            whole = data[: data.rfind(b"\n") + 1]
            self._places[path] = (start + len(whole), inode)
            texts = whole.decode("utf-8", "replace").splitlines()
            found += [line for line in read_lines(path, texts) if self._wanted.has(line)]
        return sorted(found, key=lambda line: line.at)


def _end(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_ino


def _read(source: str, text: str) -> LogLine | None:
    """What a line says; None where it begins nothing."""
    if text.startswith("{"):
        try:
            told = json.loads(text)
        except ValueError:
            return None
        return _document(source, told) if isinstance(told, dict) else None
    match = _TEXT.match(text)
    if match is not None:
        when = datetime.strptime(match["at"], "%Y-%m-%d %H:%M:%S").astimezone()
        at = when.timestamp() + int(match["ms"]) / 1000
        return LogLine(at, _level(match["level"]), source, match["logger"], match["message"])
    match = _SHORT.match(text)
    if match is not None and match["level"].lower() in LEVELS:
        return LogLine(0.0, _level(match["level"]), source, match["logger"], match["message"])
    return None


def _document(source: str, told: dict[str, Any]) -> LogLine:
    status = told.get("http.response.status_code", told.get("status", 0))
    failed = isinstance(status, int) and status >= 500
    message = told.get("message")
    if message is None:  # of our own access log
        message = " ".join(str(told[k]) for k in ("method", "path", "status") if k in told)
    if "error.stack_trace" in told:
        message = f"{message}\n{told['error.stack_trace']}".rstrip()
    return LogLine(
        at=_time(str(told.get("@timestamp", told.get("time", "")))),
        level=_level(str(told.get("log.level", "error" if failed else "info"))),
        source=source,
        logger=str(told.get("log.logger", "access" if status else "")),
        message=str(message),
        model=str(told.get("labels.model", told.get("model", ""))),
        trace=str(told.get("trace.id", told.get("trace_id", ""))),
        fields=told,
    )


def _time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except ValueError:
        return 0.0


def _level(name: str) -> str:
    name = name.lower()
    return name if name in LEVELS else "info"


def _words(message: str) -> set[str]:
    return {word.strip(".:-") for word in _MODEL.findall(message)} | set(_MODEL.findall(message))
