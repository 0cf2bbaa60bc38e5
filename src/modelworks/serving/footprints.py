"""What models take when they are loaded: measured, remembered by digest, estimated before that."""

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelworks.core.instances import told
from modelworks.core.native import NATIVE
from modelworks.core.served import Isolation, ServedModel
from modelworks.serving.memory import MIB

_MOST: Final = 4096
_LONGEST: Final = 4 << 20
_TIMES: Final = 3  # the file once, what is made of it once, and what reading it takes
_LEAST: Final = MIB
_PROCESS: Final = 64 * MIB
_FRAMEWORK: Final = 256 * MIB
_SAME: Final = 0.05


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that a model takes.

    Attributes:
        bytes: of memory.
        measured: when it was loaded before; otherwise it is an estimate from the files' size.
    """

    bytes: int
    measured: bool


class Footprints:
    """Remembers them, in a file that several processes may share.

    Args:
        path: of the file; None = in this process only.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, int] = {}

    def expected(self, served: ServedModel) -> Footprint:
        """Of a model that is about to be loaded."""
        name = _name(served)
        found = self._known.get(name) or self._read().get(name)
        if found is not None:
            return Footprint(found, measured=True)
        return Footprint(_estimate(served), measured=False)

    def measured(self, served: ServedModel, size: int) -> None:
        """It was loaded, and took `size` bytes. A file that cannot be written is done without."""
        name = _name(served)
        before = self._known.get(name)
        self._known[name] = size
        if self._path is None or (before and abs(before - size) < _SAME * before):
            return
        with suppress(OSError):
            self._write(self._path, lambda known: known | {name: size})

    def _read(self) -> dict[str, int]:
        try:
            if self._path is None or self._path.stat().st_size > _LONGEST:
                return {}
            data: Any = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(data, dict):
            return {}
        return {k: v for k, v in data.items() if isinstance(v, int) and v > 0}

    def _write(self, path: Path, change: Callable[[dict[str, int]], dict[str, int]]) -> None:
        """Replace the file; of two writers at once one may be lost, and measures again."""
        known = list(change(self._read()).items())[-_MOST:]
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".footprints", suffix=".tmp")
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(dict(known), file, indent=0)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _name(served: ServedModel) -> str:
    digest = served.digest or f"{served.path}:{size_of(Path(served.path))}"
    copies = f" {told(served.instances)}" if served.instances else ""
    return f"{digest} {served.isolation}{copies}"


def _estimate(served: ServedModel) -> int:
    size = _LEAST + _TIMES * size_of(Path(served.path))
    if served.format == NATIVE:
        size += _FRAMEWORK
    elif served.format == "stages":  # a process each
        size += _PROCESS * sum(1 for one in Path(served.path).glob("*/") if one.is_dir())
    elif served.isolation is Isolation.PROCESS:
        size += _PROCESS
    return size * max(1, sum(one.count for one in served.instances))


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder; 0 where there is nothing."""
    try:
        files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
        return sum(file.stat().st_size for file in files)
    except OSError:
        return 0
