"""Folders with what is no file, and names that are no names."""

import os
from collections.abc import Callable
from pathlib import Path

from corpus.graphs import outside
from corpus.kinds import ANY, Hostile

FOLDERS = "Folders and names"


def _fifo(folder: Path, canary: Path) -> Path:
    path = folder / "model.pkl"
    os.mkfifo(path)
    return path


def _fifo_inside(folder: Path, canary: Path) -> Path:
    made = outside("weights.bin")(folder, canary)
    os.mkfifo(made / "pipe")
    return made


def _link(folder: Path, canary: Path) -> Path:
    (folder / "real.pkl").write_bytes(b"\x80\x04N.")
    path = folder / "model.pkl"
    path.symlink_to(folder / "real.pkl")
    return path


def _link_inside(folder: Path, canary: Path) -> Path:
    made = outside("weights.bin")(folder, canary)
    (made / "linked").symlink_to("/etc")
    return made


def _device(folder: Path, canary: Path) -> Path:
    return Path("/dev/zero")


def _crowd(folder: Path, canary: Path) -> Path:
    made = folder / "model"
    made.mkdir()
    for number in range(10_050):
        (made / str(number)).touch()
    return made


def _named(file: str) -> Callable[[Path, Path], Path]:
    def make(folder: Path, canary: Path) -> Path:
        path = folder / file
        path.write_bytes(b"\x80\x04N.")
        return path

    return make


def folders() -> tuple[Hostile, ...]:
    """Things in a folder that are no files, and names that are no names."""

    def case(title: str, tries: str, make: Callable[[Path, Path], Path], says: str) -> Hostile:
        return Hostile(title, FOLDERS, tries, make, says, error=ANY)

    return (
        case("fifo", "a pipe that never ends to wait", _fifo, "neither a file nor a folder"),
        case("fifo-inside", "a pipe in the folder", _fifo_inside, "special files"),
        case("link", "a symbolic link", _link, "symbolic links"),
        case("link-inside", "a link in the folder", _link_inside, r"symbolic links|special files"),
        case("device", "a device without end", _device, "neither a file nor a folder"),
        case("crowd", "more than 10,000 files", _crowd, "more than 10000 files"),
        case("empty", "an empty file", _touch, "empty file"),
        case("name-with-newline", "a name of two lines", _named("a\nINFO: all is well.pkl"), ""),
        case("name-with-escape", "a name that colours the terminal", _named("\x1b[31mred.pkl"), ""),
    )


def _touch(folder: Path, canary: Path) -> Path:
    path = folder / "model.pkl"
    path.touch()
    return path
