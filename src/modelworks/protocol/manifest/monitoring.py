"""What is told of a deployment: metrics, a log of requests, and records of what it answered."""

import re
from collections.abc import Iterator
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from modelworks.core import codec
from modelworks.core.records import MAX_BYTES, Act, RecordPolicy
from modelworks.core.tensor import Signature
from modelworks.protocol.manifest.fields import WORD, Part
from modelworks.protocol.manifest.problems import Path
from modelworks.protocol.records.fields import HEADER, known_fields

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


def _field(name: str) -> str:
    header = name.removeprefix(HEADER)
    if name.startswith(HEADER) and _TOKEN.fullmatch(header) is None:
        raise ValueError(f"'{header}' is no name of a header: header:X-Customer is one")
    return name


FieldName = Annotated[str, Field(max_length=200), AfterValidator(_field)]
"""A feature, an input or an output of the model, or `header:NAME`: a request's header."""


class RecordField(Part):
    """What is done to one field before anything is written."""

    field: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_field)]
    """A feature, an input, an output, or `header:NAME`, which is kept only where it is named."""
    act: Annotated[Act, WORD]
    """`keep`, `drop`, `hash`, `mask`, `tokenize`, `describe`: see `docs/records.md`."""


class Records(Part):
    """Which requests are recorded, and what of them; see `docs/records.md`."""

    sample: Annotated[float, Field(ge=0, le=1)]
    """Share of the requests; 0 = none."""
    inputs: bool = True
    """Whether inputs are kept."""
    outputs: bool = True
    """Whether outputs are kept."""
    fields: Annotated[list[RecordField], Field(max_length=200)] = Field(default_factory=list)
    """What is done to which field; what is not named is kept as it is."""
    detect_pii: bool = True
    """E-mail addresses, telephone, card and account numbers in texts are masked."""
    key: FieldName = ""
    """By which feedback comes, where it does not know the prediction's id."""
    subject: FieldName = ""
    """Whom a prediction is about, by whom it can be erased."""
    max_bytes: Annotated[int, Field(ge=0, le=1 << 30)] = MAX_BYTES
    """Of a body; a larger one is left out, and the record says so."""
    retention_days: Annotated[int, Field(ge=0, le=36_500)] = 30
    """After which records are deleted; 0 = never."""

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [one.field for one in self.fields]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"fields names '{twice[0]}' twice: one act a field")
        return self

    @property
    def policy(self) -> RecordPolicy:
        """As servers and loggers have it."""
        said = self.model_dump(mode="json")
        return codec.decode(RecordPolicy, said, "records")


class Monitoring(Part):
    """What is told of it."""

    metrics: bool = True
    """Prometheus is pointed at `/metrics` where the target can."""
    access_log: bool = False
    """A JSON line a request, on the server's standard output."""
    records: Records | None = None
    """Which requests are recorded, and what of them; unset = none are."""


def strangers(records: Records, signature: Signature) -> Iterator[tuple[Path, str]]:
    """Names of fields that a model does not have, each with its place within `records`.

    Of a misspelt name the field itself would be written as it is.

    Args:
        records: of a manifest.
        signature: of the model.
    """
    known = known_fields(signature)
    named: list[tuple[Path, str]] = [
        (("fields", place, "field"), one.field) for place, one in enumerate(records.fields)
    ]
    named += [(("key",), records.key), (("subject",), records.subject)]
    for place, name in named:
        if name and name not in known and not name.startswith(HEADER):
            yield place, name
