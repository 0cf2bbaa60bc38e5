"""What is wrong with a manifest: all of it at once, each with its line, its path and the cure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from modelworks.core.errors import InvalidError

_SHOWN: Final = 20

Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; lines and columns from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        """As compilers say it, so that editors jump there."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        mark: where.
        path: of the field (`spec.replicas`); empty = the file or document as a whole.
        message: what, and the cure.
    """

    mark: Mark
    path: str
    message: str

    def __str__(self) -> str:
        """One line."""
        return (
            f"{self.mark}: {self.path}: {self.message}"
            if self.path
            else (f"{self.mark}: {self.message}")
        )


class ManifestError(InvalidError):
    """A manifest that says nothing that could be done.

    Attributes:
        problems: all that were found, in the order of the file; at least one.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        shown = [str(problem) for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            shown.append(f"and {len(self.problems) - _SHOWN} more")
        super().__init__("\n".join(shown), field=self.problems[0].path or None)


def spelt(path: Path) -> str:
    """A path as people write it: `spec.backends[0].weight`."""
    words = ""
    for part in path:
        words += f"[{part}]" if isinstance(part, int) else f".{part}"
    return words.removeprefix(".")
