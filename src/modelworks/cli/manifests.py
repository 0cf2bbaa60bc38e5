"""Manifest files on the command line: where they are, what they hold."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from modelworks.core.errors import InvalidError, NotFoundError

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
