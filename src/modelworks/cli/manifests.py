"""Manifest files on the command line: where they are, what they hold."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from modelworks.cli.exits import Exit
from modelworks.cli.output import Output
from modelworks.core.errors import InvalidError, NotFoundError

if TYPE_CHECKING:
    from modelworks.protocol.manifest import ManifestError

F = TypeVar("F", bound=Callable[..., Any])
STDIN = "-"
USUAL = "modelworks.yaml"
_SUFFIXES = {".yaml", ".yml"}


def file_options(function: F) -> F:
    """`-f FILE` and `-e ENVIRONMENT`, the same words everywhere."""
    function = click.option(
        "--environment", "-e", default="", help="Put the overlays of this environment on."
    )(function)
    return click.option(
        "--file",
        "-f",
        "files",
        multiple=True,
        metavar="FILE",
        help=f"Manifest, folder of *.yaml, or - ({USUAL}); may be repeated.",
    )(function)


def refused(out: Output, error: "ManifestError") -> Exit:
    """Tell all that is wrong with files, as a document too where one is asked for."""
    if out.as_json:
        problems = [
            {"file": p.mark.file, "line": p.mark.line, "column": p.mark.column}
            | {"path": p.path, "message": p.message}
            for p in error.problems
        ]
        out.document({"ok": False, "problems": problems})
    for problem in error.problems:
        out.note(str(problem))
    out.note(f"{len(error.problems)} wrong")
    return Exit.INVALID


def contents(files: tuple[str, ...]) -> list[tuple[str, bytes]]:
    """Name and content of each; folders are their *.yaml, `-` is standard input.

    Raises:
        NotFoundError: no such file, or nothing in a folder.
        InvalidError: it cannot be read.
    """
    found = []
    for name in files or (USUAL,):
        path = Path(name)
        if name == STDIN:
            found.append((STDIN, sys.stdin.buffer.read()))
        elif path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES and p.is_file())
            if not inside:
                raise NotFoundError(f"{name} holds no *.yaml")
            found += [(str(one), _read(one)) for one in inside]
        else:
            found.append((name, _read(path)))
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"no file {path}: name the manifest with -f FILE") from None
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error.strerror}") from error
