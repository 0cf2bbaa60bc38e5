"""Requests for text: `chat/completions` and `completions`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelworks.core.errors import InvalidError, UnsupportedError
from modelworks.core.generation import Sampling
from modelworks.protocol.openai import fields
from modelworks.protocol.tensors import shown

MOST_MESSAGES: Final = 4096
MOST_STOPS: Final = 16
LONGEST_STOP: Final = 256
_MOST_TOKENS: Final = 1 << 24
_UNSAID: Final = 16  # new tokens of a completion that does not say how many, as OpenAI has it
_SAMPLING: Final = frozenset(
    {
        *("max_tokens", "temperature", "top_p", "seed", "stop"),
        *("top_k", "repetition_penalty"),  # not OpenAI's; other servers have them by these names
    }
)
_BOTH: Final = _SAMPLING | {"model", "stream", "stream_options"}
_CHAT: Final = _BOTH | {"messages", "max_completion_tokens"}
_COMPLETION: Final = _BOTH | {"prompt"}
# Fields of OpenAI's that are not offered -> values with which they ask for nothing.
_IDLE_BOTH: Final[dict[str, tuple[Any, ...]]] = {
    "n": (1,),
    "presence_penalty": (0.0,),
    "frequency_penalty": (0.0,),
    "logit_bias": (),
    "logprobs": (),
    "user": (),
    "metadata": (),
    "safety_identifier": (),
    "prompt_cache_key": (),
    "store": (),
}
_IDLE_CHAT: Final[dict[str, tuple[Any, ...]]] = _IDLE_BOTH | {
    "top_logprobs": (),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "tools": (),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (),
    "functions": (),
    "function_call": ("none", "auto"),
    "audio": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "verbosity": (),
    "web_search_options": (),
    "prompt_cache_retention": (),
}
_IDLE_COMPLETION: Final[dict[str, tuple[Any, ...]]] = _IDLE_BOTH | {
    "best_of": (1,),
    "echo": (),
    "suffix": (),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for text.

    Attributes:
        model: id, as it was written.
        messages: of a conversation; empty = `prompt` is the text.
        prompt: text that is continued, of a completion.
        sampling: how; `max_tokens` 0 = as many as the context has room for.
        stream: answered piece by piece.
        usage: with a last piece that says how many tokens it took.
        limit: the field that says how many new tokens there may be.
    """

    model: str
    messages: tuple[dict[str, str], ...]
    prompt: str
    sampling: Sampling
    stream: bool
    usage: bool
    limit: str

    @property
    def chat(self) -> bool:
        """Whether it is a conversation."""
        return bool(self.messages)


def read_chat(body: bytes) -> Asked:
    """Of `POST /v1/chat/completions`.

    Raises:
        InvalidError: a field is missing, unknown, or of another kind.
        UnsupportedError: a field asks for what is not offered.
    """
    data = fields.body_of(body)
    fields.refuse_others(data, _CHAT, _IDLE_CHAT)
    model = fields.text(data, "model")
    limit = "max_completion_tokens" if "max_completion_tokens" in data else "max_tokens"
    if {"max_tokens", "max_completion_tokens"} <= data.keys():
        raise InvalidError(
            "max_tokens and max_completion_tokens say the same: give one of them",
            field="max_tokens",
        )
    stream, usage = _stream(data)
    most = fields.whole(data, limit, 1, _MOST_TOKENS) or 0
    return Asked(model, _messages(data), "", _sampling(data, most), stream, usage, limit)


def read_completion(body: bytes) -> Asked:
    """Of `POST /v1/completions`.

    Raises:
        InvalidError: a field is missing, unknown, or of another kind.
        UnsupportedError: a field asks for what is not offered.
    """
    data = fields.body_of(body)
    fields.refuse_others(data, _COMPLETION, _IDLE_COMPLETION)
    model = fields.text(data, "model")
    stream, usage = _stream(data)
    most = fields.whole(data, "max_tokens", 1, _MOST_TOKENS) or _UNSAID
    return Asked(model, (), _prompt(data), _sampling(data, most), stream, usage, "max_tokens")


def _sampling(data: Mapping[str, Any], most: int) -> Sampling:
    temperature = fields.number(data, "temperature", 0.0, 2.0)
    top_p = fields.number(data, "top_p", 0.0, 1.0)
    penalty = fields.number(data, "repetition_penalty", 0.01, 100.0)
    return Sampling(
        max_tokens=most,
        temperature=1.0 if temperature is None else float(temperature),
        top_p=1.0 if top_p is None else float(top_p),
        top_k=fields.whole(data, "top_k", 0, _MOST_TOKENS) or 0,
        repetition_penalty=1.0 if penalty is None else float(penalty),
        seed=fields.whole(data, "seed", 0, (1 << 63) - 1),
        stop=_stops(data.get("stop")),
    )


def _stops(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    found = [value] if type(value) is str else value
    if (
        type(found) is not list
        or len(found) > MOST_STOPS
        or not all(type(one) is str and 0 < len(one) <= LONGEST_STOP for one in found)
    ):
        raise InvalidError(
            f"stop must be a string, or at most {MOST_STOPS}, of 1 to {LONGEST_STOP} characters",
            field="stop",
        )
    return tuple(found)


def _stream(data: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether it is answered piece by piece, and the pieces end with the usage."""
    stream = fields.switch(data, "stream")
    options = data.get("stream_options")
    if options is None:
        return stream, False
    if not stream:
        raise InvalidError("stream_options is for streams: set stream", field="stream_options")
    if type(options) is not dict:
        raise InvalidError(
            f"stream_options must be an object, got {shown(options)}", field="stream_options"
        )
    for name, value in options.items():
        if name != "include_usage" and value is not None and value is not False:
            raise UnsupportedError(
                f"stream_options.{name[:60]} is not offered by this server: leave it out",
                field=f"stream_options.{name[:60]}",
            )
    usage = options.get("include_usage")
    if usage is not None and type(usage) is not bool:
        raise InvalidError(
            "stream_options.include_usage must be true or false",
            field="stream_options.include_usage",
        )
    return stream, bool(usage)


def _prompt(data: Mapping[str, Any]) -> str:
    value = data.get("prompt")
    if type(value) is list and len(value) == 1 and type(value[0]) is str:
        value = value[0]
    if type(value) is list and value:
        what = "several prompts" if type(value[0]) is str else "token ids"
        raise UnsupportedError(
            f"prompt: {what} in one request are not taken: send one text", field="prompt"
        )
    if type(value) is not str or not value:
        raise InvalidError("prompt must be a text that is not empty", field="prompt")
    return value


def _messages(data: Mapping[str, Any]) -> tuple[dict[str, str], ...]:
    value = data.get("messages")
    if type(value) is not list or not value:
        raise InvalidError("messages must be a list that is not empty", field="messages")
    if len(value) > MOST_MESSAGES:
        raise InvalidError(
            f"{len(value)} messages: at most {MOST_MESSAGES} are taken", field="messages"
        )
    return tuple(_message(place, one) for place, one in enumerate(value))


def _message(place: int, value: Any) -> dict[str, str]:
    where = f"messages[{place}]"
    if type(value) is not dict:
        raise InvalidError(f"{where} must be an object, got {shown(value)}", field=where)
    for name, given in value.items():
        if name not in {"role", "content"} and given not in (None, [], {}):
            raise UnsupportedError(
                f"{where}.{name[:60]} is not offered by this server: leave it out",
                field=f"{where}.{name[:60]}",
            )
    role = value.get("role")
    if type(role) is not str or not 0 < len(role) <= 32:
        raise InvalidError(
            f"{where}.role must be a short string, got {shown(role)}", field=f"{where}.role"
        )
    return {"role": role, "content": _content(where, value.get("content"))}


def _content(where: str, value: Any) -> str:
    where = f"{where}.content"
    if type(value) is str:
        return value
    if type(value) is not list:
        raise InvalidError(f"{where} must be a text, got {shown(value)}", field=where)
    parts = []
    for place, part in enumerate(value):
        kind = part.get("type") if type(part) is dict else None
        if kind != "text":
            raise UnsupportedError(
                f"{where}[{place}]: parts of type text are taken, got {shown(kind)}",
                field=f"{where}[{place}].type",
            )
        if part.keys() != {"type", "text"} or type(part["text"]) is not str:
            raise InvalidError(
                f"{where}[{place}] must have type and text, and no more", field=f"{where}[{place}]"
            )
        parts.append(part["text"])
    return "".join(parts)
