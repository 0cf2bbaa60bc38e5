"""Requests for embeddings, and their answers."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from modelworks.core.errors import InvalidError
from modelworks.protocol.openai import fields
from modelworks.protocol.tensors import shown

MOST_INPUTS: Final = 2048
LONGEST: Final = 8192
"""Token ids of one input."""
_KNOWN: Final = frozenset({"model", "input", "encoding_format", "dimensions"})
_IDLE: Final[dict[str, tuple[Any, ...]]] = {"user": ()}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request for embeddings: of texts, or of token ids.

    Attributes:
        model: id, as it was written.
        texts: one or more; empty = token ids were sent.
        tokens: one or more lists; empty = texts were sent.
        base64: numbers as base64 of little-endian FP32; else as JSON.
        dimensions: of an embedding; 0 = as many as the model has.
    """

    model: str
    texts: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]
    base64: bool
    dimensions: int


def read_embeddings(body: bytes) -> Wanted:
    """Of `POST /v1/embeddings`.

    Raises:
        InvalidError: a field is missing, unknown, or of another kind.
        UnsupportedError: a field asks for what is not offered.
    """
    data = fields.body_of(body)
    fields.refuse_others(data, _KNOWN, _IDLE)
    model = fields.text(data, "model")
    form = data.get("encoding_format", "float")
    if form not in ("float", "base64"):
        raise InvalidError(
            f"encoding_format must be float or base64, got {shown(form)}", field="encoding_format"
        )
    dimensions = fields.whole(data, "dimensions", 1, 1 << 20) or 0
    texts, tokens = _input(data.get("input"))
    return Wanted(model, texts, tokens, form == "base64", dimensions)


def _input(value: Any) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    if type(value) is str:
        value = [value]
    if type(value) is not list or not value:
        raise InvalidError("input must be a text, or a list that is not empty", field="input")
    if _ids(value):
        value = [value]
    if len(value) > MOST_INPUTS:
        raise InvalidError(f"{len(value)} inputs: at most {MOST_INPUTS} are taken", field="input")
    if all(type(one) is str for one in value):
        for place, one in enumerate(value):
            if not one:
                raise InvalidError(f"input[{place}] is empty", field=f"input[{place}]")
        return tuple(value), ()
    for place, one in enumerate(value):
        if type(one) is not list or not _ids(one) or len(one) > LONGEST:
            raise InvalidError(
                f"input[{place}] must be a text as the others, or 1 to {LONGEST} token ids, got "
                f"{shown(one)}",
                field=f"input[{place}]",
            )
    return (), tuple(tuple(one) for one in value)


def _ids(value: list[Any]) -> bool:
    return bool(value) and all(type(one) is int and 0 <= one < 1 << 31 for one in value)


def write_embeddings(wanted: Wanted, rows: Any, tokens: int) -> bytes:
    """The answer.

    Args:
        wanted: the request.
        rows: [inputs, dimensions], FP32.
        tokens: of all inputs.
    """
    found = np.ascontiguousarray(rows, "<f4")
    vectors: Sequence[Any] = (
        [b64encode(row.tobytes()).decode() for row in found] if wanted.base64 else list(found)
    )
    items = [
        {"object": "embedding", "index": place, "embedding": vector}
        for place, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps(
        {"object": "list", "data": items, "model": wanted.model, "usage": usage},
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
