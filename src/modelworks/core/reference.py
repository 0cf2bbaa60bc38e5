"""How users point at a model: `fraud`, `fraud@champion`, `fraud:1.4.0`, `fraud:1.4.0#int8`."""

import re
from dataclasses import dataclass, replace

from modelworks.core.errors import InvalidError
from modelworks.core.semver import Semver

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?")
_ALIAS = re.compile(r"[a-z](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_VARIANT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model, and at most one of alias and version. Neither = the default version.

    Attributes:
        name: of the model.
        alias: that points at the version.
        version: its number.
        variant: which form of the version; empty = nothing is said of it.
    """

    name: str
    alias: str | None = None
    version: Semver | None = None
    variant: str = ""

    def __str__(self) -> str:
        behind = f"#{self.variant}" if self.variant else ""
        if self.alias:
            return f"{self.name}@{self.alias}{behind}"
        return f"{self.name}:{self.version}{behind}" if self.version else f"{self.name}{behind}"

    @property
    def of_version(self) -> "ModelRef":
        """The same without the variant."""
        return replace(self, variant="")


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


def variant_name(text: str) -> str:
    """Check the name of a variant: it goes into references, paths and records.

    Raises:
        InvalidError: not 1-64 letters, digits, . _ - beginning and ending with a letter or digit.
    """
    if _VARIANT.fullmatch(text) is None:
        raise InvalidError(
            f"'{text[:80]}' is no name of a variant: 1 to 64 letters, digits, '.', '_', '-', "
            "beginning and ending with a letter or digit",
            field="variant",
        )
    return text


def parse_ref(text: str, *, variants: bool = False) -> ModelRef:
    """Read `name`, `name@alias` or `name:1.2.3`.

    Args:
        text: of the reference.
        variants: the caller takes a form of a version too: `name:1.2.3#int8`, `name#fastest`.

    Raises:
        InvalidError: any other form.
    """
    whole, mark, variant = text.partition("#")
    if mark and not variants:
        raise InvalidError(
            f"'{text[:80]}' names a variant, and a version is meant here: leave '#' and what is "
            "behind it out",
            field="ref",
        )
    found = _version_ref(whole)
    return replace(found, variant=variant_name(variant)) if mark else found


def _version_ref(text: str) -> ModelRef:
    if "@" in text:
        name, alias = text.split("@", 1)
        return ModelRef(model_name(name), alias=alias_name(alias))
    if ":" in text:
        name, version = text.split(":", 1)
        return ModelRef(model_name(name), version=Semver.parse(version))
    return ModelRef(model_name(text))
