"""What a drill asks: single rows, made up from the signature or taken from records. Pure."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelworks.control.drilling.spoilt import digests
from modelworks.core.errors import InvalidError
from modelworks.core.made_up import values_for
from modelworks.core.tensor import Datatype, Layout, Signature
from modelworks.protocol.made_up import made_up_array
from modelworks.protocol.oip.caller import build_request
from modelworks.protocol.rows import read_rows

MOST: Final = 512
"""Different rows."""
_SEED: Final = 41
"""Not that of the rows that a server makes up while it loads: those must not be spoilt."""
_LARGEST: Final = 64 << 20  # bytes of all rows together
_TWO_BYTES: Final = frozenset({Datatype.FP16, Datatype.BF16})  # JSON has no form for them


@dataclass(frozen=True, slots=True)
class Row:
    """One request.

    Attributes:
        inputs: of the model, one row.
        digest: of them; see `spoilt.digests`.
        body: as it is sent.
        headers: of the body.
    """

    inputs: Mapping[str, Any]
    digest: str
    body: bytes
    headers: Mapping[str, str]


def made_up(signature: Signature, free: int, count: int = MOST) -> list[Row]:
    """Rows of small values.

    Args:
        signature: of the model.
        free: length of dynamic axes other than the batch.
        count: of rows; fewer where they are large.
    """
    generator = np.random.default_rng(_SEED)
    found: list[Row] = []
    size = 0
    while len(found) < count and size < _LARGEST:
        inputs = {}
        for spec in signature.inputs:
            texts = list(values_for(signature.steps, spec.name))
            texts = texts or [word.encode() for word in spec.categories] or [b"a", b"some text"]
            inputs[spec.name] = made_up_array(spec, 1, free, texts, generator, digits=4)
        found.append(_row(inputs, signature))
        size += len(found[-1].body)
    return found


def of_records(lines: Sequence[Mapping[str, Any]], signature: Signature) -> list[Row]:
    """Rows as they were recorded.

    Args:
        lines: of records: `in.NAME` -> value.
        signature: of the model.

    Raises:
        InvalidError: none of them holds all inputs as the model takes them.
    """
    names = _names(signature)
    found, said = [], "there are no records of it"
    for line in lines[:MOST]:
        row = {name: line[f"in.{name}"] for name in names if f"in.{name}" in line}
        if len(row) < len(names):
            said = f"they lack {', '.join(sorted(set(names) - set(row))[:5])}"
            continue
        listed: Any = row
        if signature.layout is Layout.MATRIX and not signature.features:
            listed = list(row.values())
        try:
            inputs = read_rows([listed], signature).inputs
        except InvalidError as error:
            said = error.message
            continue
        found.append(_row(inputs, signature))
    if not found:
        raise InvalidError(
            f"no record can be sent again: {said}; without --records the inputs are made up",
            field="records",
        )
    return found


def within(rows: Sequence[Row], slice_: str, signature: Signature) -> list[bool]:
    """Which rows lie in a slice, `country=de`; `*` = all."""
    if slice_ == "*":
        return [True] * len(rows)
    name, _, value = slice_.partition("=")
    place = _place(signature, name)
    if place is None:
        return [False] * len(rows)
    return [_text(row.inputs[place[0]].reshape(-1)[place[1]]) == value for row in rows]


def steered(rows: Sequence[Row], slice_: str, signature: Signature) -> list[Row]:
    """The rows, every second of them moved into a slice.

    Raises:
        InvalidError: the slice is of no input, or its value is none that the input takes.
    """
    name, _, value = slice_.partition("=")
    place = _place(signature, name)
    if place is None:
        words = f"the slice '{slice_}' is of no input of the model: a drill cannot make rows of it"
        raise InvalidError(words, field="slices")
    found = []
    for number, row in enumerate(rows):
        if number % 2:
            found.append(row)
            continue
        array = np.array(row.inputs[place[0]])
        try:
            array.reshape(-1)[place[1]] = value.encode() if array.dtype == object else float(value)
        except ValueError as error:
            words = f"the slice '{slice_}': {name} is a number, and '{value}' is none"
            raise InvalidError(words, field="slices") from error
        found.append(_row({**row.inputs, place[0]: array}, signature))
    return found


def chosen(rows: Sequence[Row], inside: Sequence[bool], share: float) -> tuple[set[str], float]:
    """Digests of the rows that are spoilt, and their share of those inside.

    Rows that are alike are spoilt together, so the share is as near to the wanted one as they let
    it be; one row is spoilt at least.
    """
    counts: dict[str, int] = {}
    for row, one in zip(rows, inside, strict=True):
        if one:
            counts[row.digest] = counts.get(row.digest, 0) + 1
    total = sum(counts.values())
    order = sorted(counts)
    random.Random(_SEED).shuffle(order)  # noqa: S311 - the same rows each time, no secret
    taken: set[str] = set()
    reached = 0
    for digest in order:
        if taken and abs(reached + counts[digest] - share * total) > abs(reached - share * total):
            continue
        taken.add(digest)
        reached += counts[digest]
    return taken, reached / total if total else 0.0


def _row(inputs: Mapping[str, Any], signature: Signature) -> Row:
    kinds = {spec.name: spec.datatype for spec in signature.inputs}
    binary = bool(_TWO_BYTES & set(kinds.values())) or _image(signature)
    body, kind, further = build_request(dict(inputs), datatypes=kinds, binary=binary)
    headers = {name.decode(): value.decode() for name, value in further}
    return Row(
        inputs, digests(inputs, signature)[0], body, {"Content-Type": kind.decode(), **headers}
    )


def _image(signature: Signature) -> bool:
    return any(item.decode_image is not None for item in signature.steps)


def _names(signature: Signature) -> tuple[str, ...]:
    """How records call the inputs."""
    if signature.layout is Layout.MATRIX and signature.features:
        return signature.features
    return tuple(spec.name for spec in signature.inputs)


def _place(signature: Signature, name: str) -> tuple[str, int] | None:
    """Input and place in its row of a feature; `in.country` is `country`."""
    name = name.removeprefix("in.")
    if signature.layout is Layout.MATRIX and name in signature.features:
        return signature.inputs[0].name, signature.features.index(name)
    return (name, 0) if name in {spec.name for spec in signature.inputs} else None


def _text(value: Any) -> str:
    """As slices name a value: `1`, `1.0` and `True` are the same."""
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bytes):
        return plain.decode(errors="replace")
    if isinstance(plain, bool) or (isinstance(plain, float) and plain.is_integer()):
        return str(int(plain))
    return str(plain)
