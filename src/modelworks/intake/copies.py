"""Private copies of what is imported: what is checked is then what is read."""

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from modelworks.core import digest
from modelworks.core.errors import InvalidError, RefusedError, UnavailableError
from modelworks.core.imports import ImportOptions
from modelworks.sandbox.limits import GIB

LARGEST = 4 * GIB
_MOST_FILES = 10_000
# Endings of files that keep their weights in a second file of the same name: both come in.
_COMPANIONS = {".xml": ".bin"}  # OpenVINO


@dataclass(frozen=True, slots=True)
class Copies:
    """What an import works on.

    Attributes:
        file: the model file or folder.
        sample: the sample file; None without one.
        steps: the steps' file or folder; None without one.
        into: an empty folder for the result.
        digest: of the file's bytes; of a folder's tree, or of both files where a second came along.
    """

    file: Path
    sample: Path | None
    steps: Path | None
    into: Path
    digest: str


def copy(file: Path, options: ImportOptions, work: Path, largest: int) -> Copies:
    """Copy everything that the user named into folders of `work`.

    Raises:
        InvalidError: no such file, empty, too large.
        RefusedError: a link or a special file.
        UnavailableError: the disk is full.
    """
    try:
        source = _copy(file, _fresh(work, "source"), largest, "file")
        accompanied = _accompany(file, source, largest)
        sample = steps = None
        if options.sample is not None:
            sample = _copy(options.sample, _fresh(work, "sample"), largest, "sample")
        if options.steps is not None:
            steps = _copy(options.steps, _fresh(work, "steps"), largest, "steps")
        into = _fresh(work, "artifact")
        return Copies(
            source, sample, steps, into, _digest(source.parent if accompanied else source)
        )
    except OSError as error:
        raise UnavailableError(
            f"{file.name} cannot be copied: {error.strerror or error}"
        ) from error


def _fresh(work: Path, name: str) -> Path:
    folder = work / name
    folder.mkdir(parents=True)
    return folder


def _copy(source: Path, into: Path, largest: int, field: str) -> Path:
    target = into / source.name
    mode = _mode(source, field)
    if stat.S_ISREG(mode):
        size = source.stat().st_size
        if size == 0:
            raise InvalidError(f"{source.name}: empty file", field=field)
        _bounded(size, largest, source, field)
        shutil.copyfile(source, target)
        return target
    if not stat.S_ISDIR(mode) or field == "sample":
        raise InvalidError(f"{source.name}: neither a file nor a folder", field=field)
    total = count = 0
    for folder, folders, files in os.walk(source):
        for name in (*folders, *files):
            path = Path(folder, name)
            mode = _mode(path, field)
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise RefusedError(f"{source.name}/{name}: special files are refused", field=field)
            total, count = total + path.stat().st_size, count + 1
            _bounded(total, largest, source, field)
        if count > _MOST_FILES:
            raise InvalidError(f"{source.name}: more than {_MOST_FILES} files", field=field)
    if count == 0:
        raise InvalidError(f"{source.name}: empty folder", field=field)
    shutil.copytree(source, target, symlinks=True, copy_function=shutil.copyfile)
    return target


def _accompany(file: Path, source: Path, largest: int) -> bool:
    """Bring along the file that the model file keeps its weights in, where there is one."""
    beside = file.with_suffix(_COMPANIONS.get(file.suffix.lower(), file.suffix))
    if beside == file or not source.is_file() or not os.path.lexists(beside):
        return False
    if not stat.S_ISREG(_mode(beside, "file")):
        raise RefusedError(f"{beside.name}: special files are refused", field="file")
    _bounded(beside.stat().st_size + source.stat().st_size, largest, beside, "file")
    shutil.copyfile(beside, source.with_name(beside.name))
    return True


def _mode(path: Path, field: str) -> int:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError as error:
        raise InvalidError(f"{path}: no such file", field=field) from error
    except OSError as error:
        raise InvalidError(f"{path.name}: {error.strerror}", field=field) from error
    if stat.S_ISLNK(mode):
        raise RefusedError(
            f"{path.name}: symbolic links are refused; name the file itself", field=field
        )
    if not os.access(path, os.R_OK):
        raise InvalidError(f"{path.name}: permission to read it is missing", field=field)
    return mode


def _bounded(size: int, largest: int, source: Path, field: str) -> None:
    if size > largest:
        raise InvalidError(
            f"{source.name}: {size} bytes or more, and {largest} are allowed", field=field
        )


def _digest(source: Path) -> str:
    if source.is_file():
        return digest.of_file(source)
    return digest.of_entries(digest.tree(source))
