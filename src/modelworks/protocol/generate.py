"""Triton's generate extension: a text comes in, a text goes out, whole or as events.

`POST /v2/models/{m}[/versions/{v}]/generate` and `/generate_stream` take
`{"text_input": "...", "parameters": {...}}`. What Triton calls model-specific are the fields of
`Sampling` here; each is known and checked, and one that nobody knows is refused by its name.
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from modelworks.core.errors import InvalidError
from modelworks.core.generation import Finish, Prompt, Sampling
from modelworks.protocol.sse import event
from modelworks.protocol.tensors import shown

MOST_TOKENS: Final = 1_000_000
MOST_STOPS: Final = 16
LONGEST_STOP: Final = 256
_OWN: Final = frozenset({"text_input", "parameters", "id"})
_BESIDE: Final = frozenset({"stream", "adapter"})
_NUMBERS: Final = {
    "max_tokens": (int, 1, MOST_TOKENS),
    "temperature": (float, 0.0, 100.0),
    "top_p": (float, 0.0, 1.0),
    "top_k": (int, 0, MOST_TOKENS),
    "repetition_penalty": (float, 0.01, 100.0),
    "seed": (int, 0, (1 << 63) - 1),
}
_KNOWN: Final = frozenset(_NUMBERS) | _BESIDE | {"stop"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        prompt: what is continued.
        sampling: how.
        stream: as the parameter says; None = it does not.
        id: that the answer repeats; empty = none.
    """

    prompt: Prompt
    sampling: Sampling
    stream: bool | None = None
    id: str = ""


def decode(body: bytes) -> Asked:
    """Read a request. Parameters may stand beside `text_input` too, as Triton's clients have them.

    Raises:
        InvalidError: no JSON, a field that is unknown, of another type or out of its bounds.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidError(f"the body is no JSON: {error}", field="body") from error
    if type(data) is not dict:
        raise InvalidError(f"the body must be an object, got {shown(data)}", field="body")
    text = data.get("text_input")
    if type(text) is not str:
        raise InvalidError(
            f"text_input must be a string, got {shown(text)}"
            if "text_input" in data
            else "text_input is missing: the text to continue",
            field="text_input",
        )
    name = data.get("id", "")
    if type(name) is not str:
        raise InvalidError(f"id must be a string, got {shown(name)}", field="id")
    given = _parameters(data)
    stream, adapter = given.pop("stream", None), given.pop("adapter", "")
    if stream is not None and type(stream) is not bool:
        raise _wrong("stream", "true or false", stream)
    if type(adapter) is not str:
        raise _wrong("adapter", "a string", adapter)
    return Asked(Prompt(text, adapter), sampling_of(given), stream, name)


def _parameters(data: dict[str, Any]) -> dict[str, Any]:
    given = data.get("parameters")
    if given is not None and type(given) is not dict:
        raise InvalidError(f"parameters must be an object, got {shown(given)}", field="parameters")
    found = dict(given or {})
    for name, value in data.items():
        if name in _OWN:
            continue
        if name in found:
            raise InvalidError(f"'{name[:60]}' is given twice", field=name[:60])
        found[name] = value
    for name in found:
        if name not in _KNOWN:
            raise InvalidError(
                f"nobody here reads '{name[:60]}'; known are {', '.join(sorted(_KNOWN))}",
                field=f"parameters.{name[:60]}",
            )
    return found


def sampling_of(given: dict[str, Any]) -> Sampling:
    """How tokens are chosen, by parameters of the names that `Sampling` has.

    Raises:
        InvalidError: one is of another type, or out of its bounds.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name == "stop":
            found[name] = _stops(value)
            continue
        kind, low, high = _NUMBERS[name]
        wanted = f"a{' whole' if kind is int else ''} number from {low:g} to {high:g}"
        if type(value) not in {int, kind} or not low <= value <= high:
            raise _wrong(name, wanted, value)
        found[name] = kind(value)
    return Sampling(**found)


def _stops(value: Any) -> tuple[str, ...]:
    found = [value] if type(value) is str else value
    good = type(found) is list and len(found) <= MOST_STOPS
    if not good or not all(type(one) is str and 0 < len(one) <= LONGEST_STOP for one in found):
        what = f"a string, or {MOST_STOPS} at most, of 1 to {LONGEST_STOP} characters each"
        raise _wrong("stop", what, value)
    return tuple(found)


def _wrong(name: str, wanted: str, value: Any) -> InvalidError:
    return InvalidError(f"{name} must be {wanted}, got {shown(value)}", field=f"parameters.{name}")


class Answers:
    """Writes the answers to one request.

    Args:
        name: of the model.
        version: of it.
        asked: the request.
    """

    __slots__ = ("_start",)

    def __init__(self, name: str, version: str, asked: Asked) -> None:
        head = {"id": asked.id} if asked.id else {}
        told = orjson.dumps({**head, "model_name": name, "model_version": version})
        self._start = told[:-1] + b',"text_output":'

    def piece(self, text: str) -> bytes:
        """An event with a further piece of the text."""
        return event(self._start + orjson.dumps(text) + b"}")

    def last(self, text: str, finish: Finish, tokens_in: int, tokens_out: int) -> bytes:
        """The last event."""
        return event(self.whole(text, finish, tokens_in, tokens_out))

    def whole(self, text: str, finish: Finish, tokens_in: int, tokens_out: int) -> bytes:
        """A JSON object; beside Triton's keys those that its vLLM backend can add."""
        told = {
            "finish_reason": finish.value,
            "num_input_tokens": tokens_in,
            "num_output_tokens": tokens_out,
        }
        return self._start + orjson.dumps(text) + b"," + orjson.dumps(told)[1:]
