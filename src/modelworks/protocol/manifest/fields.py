"""What the kinds have in common: a base that takes no key it does not know, and units."""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

from modelworks.core.errors import InvalidError
from modelworks.core.optimizing.wanted import check_wanted
from modelworks.core.reference import parse_ref

API_VERSION: Final = "modelworks/v1"

_UNITS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_MEMORY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(k|M|G|Ki|Mi|Gi)?")
_CORES: Final = re.compile(r"[0-9]+m|[0-9]+(?:\.[0-9]+)?")
_LABEL_KEY: Final = (
    r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
)
_LABEL_VALUE: Final = r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$"


class Part(BaseModel):
    """A mapping of the manifest: unknown keys are refused, and a number is not a text."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )


class Kind(Part):
    """A document: what all kinds begin with."""

    apiVersion: Literal["modelworks/v1"] = API_VERSION  # noqa: N815 - as Kubernetes spells it
    """Of this form of manifest."""


def _memory(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    found = _MEMORY.fullmatch(str(value))
    if found is None:
        raise ValueError("memory is a number with Ki, Mi, Gi, k, M or G behind it: 512Mi")
    return int(float(found[1]) * _UNITS[found[2] or ""])


def _cores(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    text = str(value)
    if _CORES.fullmatch(text) is None:
        raise ValueError("cores are a number or thousandths of one: 2, 0.5, 500m")
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def _reference(text: str) -> str:
    try:
        return str(parse_ref(text, variants=True))
    except InvalidError as error:
        raise ValueError(error.message) from None


def _form(text: str) -> str:
    try:
        return check_wanted(text)
    except InvalidError as error:
        raise ValueError(error.message) from None


WORD: Final = Strict(False)  # noqa: FBT003 - pydantic's
"""On an enumeration: YAML has only its text."""
Name = Annotated[
    str,
    Field(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$"),
]
"""A DNS label that leaves room for what targets append: at most 40 characters."""
Reference = Annotated[str, AfterValidator(_reference)]
"""`fraud`, `fraud:1.4.0` or `fraud@champion`; with `#int8` behind it one form of it."""
Form = Annotated[str, Field(max_length=64), AfterValidator(_form)]
"""`source`, a goal such as `fastest`, or the name of a variant."""
Memory = Annotated[
    int,
    BeforeValidator(_memory, json_schema_input_type=int | str),
    Field(ge=2**20, le=2**50),
]
"""Bytes; written `512Mi`."""
Cores = Annotated[
    float,
    BeforeValidator(_cores, json_schema_input_type=float | str),
    Field(ge=0.001, le=1024),
]
"""Of a CPU; written `2`, `0.5` or `500m`."""
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)]
"""Name of an environment variable."""
Port = Annotated[int, Field(ge=1, le=65_535)]
LabelKey = Annotated[str, Field(pattern=_LABEL_KEY)]
LabelValue = Annotated[str, Field(pattern=_LABEL_VALUE)]
Labels = dict[LabelKey, LabelValue]


class Metadata(Part):
    """Whose the document is."""

    name: Name
    """Unique among the documents of this kind."""
    labels: Labels = Field(default_factory=dict)
    """Put on every object that the target makes."""
    description: Annotated[str, Field(max_length=1000)] = ""
    """For people: shown by `status`."""
