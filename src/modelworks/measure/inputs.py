"""Bodies of requests: made up from a model's metadata, or from rows that are given."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from modelworks.core.errors import InvalidError
from modelworks.core.made_up import png
from modelworks.core.tensor import Datatype, TensorSpec
from modelworks.measure.exchange import Answer, exchange
from modelworks.measure.message import Body, request_bytes
from modelworks.measure.target import Target
from modelworks.protocol.made_up import made_up_array
from modelworks.protocol.oip.caller import build_request

FREE: Final = (1, 2, 8, 16, 32, 64, 128, 224)
"""Lengths tried for a dynamic axis that is not the batch."""
_WORDS: Final = (b"a", b"some text", b"a longer text, in which a few more words stand", b"0")
_TOTAL: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """How made-up requests look.

    Attributes:
        rows: a request; of a model without a batch axis always one.
        binary: raw tensors; else JSON.
        bodies: how many different ones, fewer where they are large.
        seed: of the values.
    """

    rows: int = 1
    binary: bool = False
    bodies: int = 64
    seed: int = 7


def specs_of(metadata: Any) -> tuple[TensorSpec, ...]:
    """The inputs that a model's metadata document names.

    Raises:
        InvalidError: it is none of the Open Inference Protocol.
    """
    try:
        return tuple(
            TensorSpec(
                str(entry["name"]),
                Datatype(str(entry["datatype"]).removeprefix("TYPE_")),
                tuple(None if int(axis) < 0 else int(axis) for axis in entry["shape"]),
            )
            for entry in metadata["inputs"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidError(
            f"the model's metadata do not say its inputs ({error!r}): give --body", field="body"
        ) from error


def made_up(
    target: Target,
    specs: Sequence[TensorSpec],
    wanted: Wanted,
    headers: Sequence[tuple[str, str]] = (),
) -> tuple[list[Body], Answer]:
    """Bodies that the endpoint takes, found by asking it; and its answer to the first.

    Args:
        target: the model's `infer` path.
        specs: its inputs.
        wanted: how they look.
        headers: sent along.

    Raises:
        InvalidError: it refuses everything that can be made up; the message says its words.
    """
    said = ""
    for free, image in _tries(specs):
        first = _body(specs, wanted, free, wanted.seed, image=image)
        answer = exchange(target, request_bytes(target, first, headers=headers))
        if answer.good:
            count = max(1, min(wanted.bodies, _TOTAL // max(1, len(first.data))))
            others = (
                _body(specs, wanted, free, wanted.seed + number, image=image)
                for number in range(1, count)
            )
            return [first, *others], answer
        said = said or answer.words
    raise InvalidError(f"{target.url} refuses made-up inputs: {said}: give --body", field="body")


def row_bodies(rows: Sequence[Any], count: int) -> list[Body]:
    """Plain rows as bodies of `/predict/{m}`.

    Args:
        rows: as a user gave them; taken in turn.
        count: rows a request.
    """
    starts = range(0, len(rows), count) if len(rows) > count else (0,)
    taken = [[rows[(start + i) % len(rows)] for i in range(count)] for start in starts]
    return [Body(orjson.dumps({"rows": some})) for some in taken]


def _tries(specs: Sequence[TensorSpec]) -> Iterator[tuple[int, bool]]:
    """(length of free axes, whether text is an image): the likeliest first."""
    free = any(axis is None for spec in specs for axis in spec.shape[1:])
    text = any(spec.datatype is Datatype.BYTES for spec in specs)
    for image in (False, True) if text else (False,):
        for length in FREE if free else FREE[:1]:
            yield length, image


def _body(
    specs: Sequence[TensorSpec], wanted: Wanted, free: int, seed: int, *, image: bool
) -> Body:
    generator = np.random.default_rng(seed)
    texts = [png(64, 64, 90)] if image else _WORDS
    try:
        arrays = {
            spec.name: made_up_array(spec, wanted.rows, free, texts, generator, digits=4)
            for spec in specs
        }
    except InvalidError as error:
        raise InvalidError(f"{error.message}: give --body") from error
    kinds = {spec.name: spec.datatype for spec in specs}
    # An image has no form in JSON, nor have the two short floats.
    lossy = {Datatype.FP16, Datatype.BF16} & set(kinds.values())
    binary = wanted.binary or image or bool(lossy)
    data, kind, further = build_request(arrays, datatypes=kinds, binary=binary)
    return Body(data, kind.decode(), _text(further))


def _text(headers: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode(), value.decode()) for name, value in headers)


def rows_of(body: Mapping[str, Any]) -> int:
    """Rows that a JSON body of either protocol asks for; 1 where it does not say."""
    listed = body.get("rows")
    if isinstance(listed, list):
        return max(1, len(listed))
    inputs = body.get("inputs")
    try:
        return max(1, int(inputs[0]["shape"][0]))  # type: ignore[index] # refused just below
    except (TypeError, KeyError, IndexError, ValueError):
        return 1
