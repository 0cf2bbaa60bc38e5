"""Asks git which commit a folder is at; quietly nothing where there is no git or no repository."""

import subprocess
from dataclasses import replace
from pathlib import Path

from modelworks.core.imports import ImportRequest

_SECONDS = 3.0


def stamped(request: ImportRequest) -> ImportRequest:
    """The request with the current folder's commit and branch, unless it has them already."""
    if request.git_commit:
        return request
    commit, branch = position(Path.cwd())
    return replace(request, git_commit=commit, git_branch=branch)


def position(folder: Path) -> tuple[str, str]:
    """(commit, branch) of the folder's repository, `-dirty` appended where it has changes.

    Empty strings where unknown: no git, no repository, no commit yet, no branch, no answer in
    time.
    """
    commit = _ask(folder, "rev-parse", "--verify", "HEAD")
    if not commit:
        return "", ""
    branch = _ask(folder, "symbolic-ref", "--short", "--quiet", "HEAD")
    changes = _ask(folder, "status", "--porcelain", "--untracked-files=no")
    return (f"{commit}-dirty" if changes else commit), branch


def _ask(folder: Path, *arguments: str) -> str:
    # Never wait for a password or write an index, and run no program of the repository's own.
    options = ("--no-optional-locks", "-c", "core.fsmonitor=false")
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *options, *arguments],  # noqa: S607 - the user's own git
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""
