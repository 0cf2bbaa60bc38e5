"""Several forms of one model side by side, of which a call takes one by its number of rows.

The artifact is a folder: `by_rows.json`, a folder a part, and what the steps before the model need.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from modelworks.core import codec, digest
from modelworks.core.errors import InvalidError
from modelworks.core.stepped import read_stepped

BY_ROWS: Final = "by-rows"
"""The artifact's format."""

FILE: Final = "by_rows.json"
VERSION: Final = 1
MOST_PARTS: Final = 16
_LARGEST: Final = 1 << 20  # bytes of the file


@dataclass(frozen=True, slots=True)
class Part:
    """One form.

    Attributes:
        folder: of it; in the artifact a single name. Parts that differ by their options only share
            one.
        format: of it.
        engine: that runs it.
        options: the engine's own settings.
        rows: calls of up to so many rows are its own; 0 = of any number.
    """

    folder: str
    format: str
    engine: str
    options: tuple[tuple[str, str], ...] = ()
    rows: int = 0


@dataclass(frozen=True, slots=True)
class ByRows:
    """What `by_rows.json` says.

    Attributes:
        parts: by their rows, rising; the last one takes any number.
        version: of this format.
    """

    parts: tuple[Part, ...]
    version: int = VERSION


def write_by_rows(into: Path, parts: Sequence[Part]) -> ByRows:
    """Put forms together.

    Args:
        into: an empty folder.
        parts: `folder` is a path on this machine.

    Raises:
        InvalidError: there are none or too many, or their rows do not rise to 0.
    """
    _check(tuple(parts))
    known: dict[str, str] = {}
    written = []
    for part in parts:
        source = Path(part.folder)
        told = digest.of_entries(digest.tree(source))
        if told not in known:
            known[told] = str(len(known))
            _copy(source, into, into / known[told])
        folder = known[told]
        written.append(Part(folder, part.format, part.engine, part.options, part.rows))
    made = ByRows(tuple(written))
    (into / FILE).write_text(json.dumps(codec.encode(made), indent=1) + "\n")
    return made


def read_by_rows(folder: Path) -> ByRows:
    """What an artifact says of its parts.

    Args:
        folder: of it.

    Raises:
        InvalidError: nothing, or what cannot be; a part lies elsewhere.
    """
    file = folder / FILE
    try:
        if file.stat().st_size > _LARGEST:
            raise InvalidError(f"{FILE} is larger than {_LARGEST} bytes", field="file")
        data = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidError(f"{FILE} cannot be read: {error}"[:300], field="path") from error
    found = codec.decode(ByRows, data)
    if found.version != VERSION:
        raise InvalidError(
            f"{FILE} is of version {found.version}; this Modelworks reads {VERSION}",
            field="version",
        )
    _check(found.parts)
    for part in found.parts:
        name = PurePosixPath(part.folder)
        alone = len(name.parts) == 1 and name.name not in {"", "."} and ".." not in name.parts
        if not alone or (folder / name).is_symlink() or not (folder / name).is_dir():
            raise InvalidError(
                f"{FILE}: there is no part '{part.folder[:80]}' in the artifact", field="folder"
            )
    return found


def _check(parts: tuple[Part, ...]) -> None:
    if not 1 <= len(parts) <= MOST_PARTS:
        raise InvalidError(f"{FILE}: from 1 to {MOST_PARTS} parts are wanted", field="parts")
    rows = [part.rows for part in parts]
    if rows[-1] != 0 or min(rows[:-1], default=1) < 1 or sorted(set(rows[:-1])) != rows[:-1]:
        raise InvalidError(
            f"{FILE}: the parts' rows have to rise, and the last one's have to be 0 (any number)",
            field="rows",
        )
    for part in parts:
        if part.format == BY_ROWS:
            raise InvalidError(f"{FILE}: a part is made of parts itself", field="format")


def _copy(source: Path, into: Path, part: Path) -> None:
    """A form's files to its part; what the steps before it need stands above all parts."""
    stepped = read_stepped(source)
    above = set() if stepped is None else set(stepped.files)
    for name, _ in digest.tree(source):
        place = into / name if name in above else part / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, place)
