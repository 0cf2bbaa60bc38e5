"""Series that are at hand, written or recorded, as a source."""

import json
import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from modelworks.core.errors import InvalidError, NotFoundError
from modelworks.core.series import Series
from modelworks.monitor.alerts.notation import samples
from modelworks.protocol.manifest.alerts.tests import AlertTest, InputSeries

_LARGEST: Final = 64 << 20


class WrittenSource:
    """Series in memory.

    Args:
        series: all of them.
    """

    def __init__(self, series: Iterable[Series]) -> None:
        self._series = tuple(series)

    def select(
        self, name: str, labels: Mapping[str, str], since: float, until: float
    ) -> Iterable[Series]:
        """As `SeriesSource`."""
        for one in self._series:
            if one.name != name or not _has(one.labels, labels):
                continue
            kept = [n for n, time in enumerate(one.times) if since < time <= until]
            if kept:
                times = [one.times[n] for n in kept]
                yield Series(name, one.labels, times, [one.values[n] for n in kept])


def source_of(test: AlertTest, folder: Path) -> WrittenSource:
    """What a test evaluates.

    Args:
        test: as written.
        folder: where its file lies.

    Raises:
        InvalidError: a series that is not written as one.
        NotFoundError: no such recording.
    """
    found = [_written(one, test) for one in test.series]
    if test.recorded:
        found += recorded(folder / test.recorded)
    return WrittenSource(found)


def recorded(file: Path) -> list[Series]:
    """Series of a file: a JSON line each, {name, labels, times, values}; null = not measured.

    Raises:
        NotFoundError: no such file.
        InvalidError: a line that is no series; the message has its number.
    """
    try:
        if file.stat().st_size > _LARGEST:
            raise InvalidError(f"{file}: more than {_LARGEST >> 20} MiB of recorded series")
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise NotFoundError(f"{file}: {error.strerror or 'cannot be read'}") from error
    return [_recorded(line, file, n) for n, line in enumerate(lines, 1) if line.strip()]


def _recorded(line: bytes, file: Path, number: int) -> Series:
    try:
        data: Any = json.loads(line)
        times = [float(time) for time in data["times"]]
        values = [math.nan if value is None else float(value) for value in data["values"]]
        labels = {str(name): str(value) for name, value in data.get("labels", {}).items()}
        name = str(data["name"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidError(
            f"{file}:{number}: no series: {{name, labels, times, values}} is wanted"
        ) from error
    if len(times) != len(values) or times != sorted(times):
        raise InvalidError(f"{file}:{number}: as many values as times are wanted, times rising")
    return Series(name, labels, times, values)


def _written(one: InputSeries, test: AlertTest) -> Series:
    found = samples(one.values)
    kept = [(n, value) for n, value in enumerate(found) if value is not None]
    times = [float(test.start + n * test.interval) for n, _ in kept]
    return Series(one.name, one.labels, times, [value for _, value in kept])


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(fnmatchcase(labels.get(name, ""), value) for name, value in wanted.items())
