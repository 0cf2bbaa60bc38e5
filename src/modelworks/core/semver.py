"""Semantic versions of models: three numbers, ordered, no pre-releases."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from modelworks.core.errors import InvalidError

_LARGEST = 999_999_999
_FORM = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})")


class Bump(StrEnum):
    """Which part of the version a publish raises."""

    MAJOR = "major"
    MINOR = "minor"
    PATCH = "patch"


@dataclass(frozen=True, slots=True, order=True)
class Semver:
    """`major.minor.patch`; a new major means that callers must change."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `1.2.3`.

        Raises:
            InvalidError: any other form.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise InvalidError(
                f"'{text[:80]}' is no version: three numbers are wanted, as in 1.4.0",
                field="version",
            )
        return cls(*(int(part) for part in match.groups()))

    def bump(self, part: Bump) -> "Semver":
        """The next version at that level.

        Raises:
            InvalidError: the number has as many digits as a version may have.
        """
        raised = {
            Bump.MAJOR: Semver(self.major + 1, 0, 0),
            Bump.MINOR: Semver(self.major, self.minor + 1, 0),
            Bump.PATCH: Semver(self.major, self.minor, self.patch + 1),
        }[part]
        if max(raised.major, raised.minor, raised.patch) > _LARGEST:
            raise InvalidError(
                f"{self} has no next {part} version: numbers end at {_LARGEST}; name the version "
                "you want",
                field="version",
            )
        return raised

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"
