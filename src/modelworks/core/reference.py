"""How users point at a model: `fraud`, `fraud@champion`, `fraud:1.4.0`."""

import re
from dataclasses import dataclass

from modelworks.core.errors import InvalidError
from modelworks.core.semver import Semver

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?")
_ALIAS = re.compile(r"[a-z](?:[a-z0-9._-]{0,62}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model, and at most one of alias and version. Neither = the default version."""

    name: str
    alias: str | None = None
    version: Semver | None = None

    def __str__(self) -> str:
        if self.alias:
            return f"{self.name}@{self.alias}"
        return f"{self.name}:{self.version}" if self.version else self.name


def model_name(text: str) -> str:
    """Check a model name: it goes into URLs, paths, image names and metric labels.

    Raises:
        InvalidError: not 1-128 of a-z 0-9 . _ - beginning and ending with a letter or digit.
    """
    if _NAME.fullmatch(text) is None:
        raise InvalidError(
            f"'{text[:80]}' is no model name: 1 to 128 of a-z, 0-9, '.', '_', '-', "
            "beginning and ending with a letter or digit",
            field="name",
        )
    return text


def alias_name(text: str) -> str:
    """Check an alias name.

    Raises:
        InvalidError: not 1-64 of a-z 0-9 . _ - beginning with a letter.
    """
    if _ALIAS.fullmatch(text) is None:
        raise InvalidError(
            f"'{text[:80]}' is no alias: 1 to 64 of a-z, 0-9, '.', '_', '-', "
            "beginning with a letter",
            field="alias",
        )
    return text


def parse_ref(text: str) -> ModelRef:
    """Read `name`, `name@alias` or `name:1.2.3`.

    Raises:
        InvalidError: any other form.
    """
    if "@" in text:
        name, alias = text.split("@", 1)
        return ModelRef(model_name(name), alias=alias_name(alias))
    if ":" in text:
        name, version = text.split(":", 1)
        return ModelRef(model_name(name), version=Semver.parse(version))
    return ModelRef(model_name(text))
