"""Answers with text: whole objects, and the chunks of a stream."""

import time
from typing import Any, Final

import orjson

from modelworks.core.generation import Finish
from modelworks.core.ids import uuid7
from modelworks.protocol.openai.asked import Asked
from modelworks.protocol.sse import event

DONE: Final = event(b"[DONE]")
_REASONS: Final = {Finish.STOP: "stop", Finish.LENGTH: "length"}


def usage_of(prompt: int, made: int, cached: int) -> dict[str, Any]:
    """What it took, in tokens.

    Args:
        prompt: of the prompt.
        made: new ones.
        cached: of the prompt, that were not computed again.
    """
    return {
        "prompt_tokens": prompt,
        "completion_tokens": made,
        "total_tokens": prompt + made,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


class Answers:
    """Writes the answer to one request.

    Args:
        asked: the request.
    """

    __slots__ = ("_chat", "_end", "_head", "_start", "_usage")

    def __init__(self, asked: Asked) -> None:
        self._chat = asked.chat
        self._usage = asked.usage
        kind = "chat.completion" if asked.chat else "text_completion"
        self._head = {
            "id": f"{'chatcmpl' if asked.chat else 'cmpl'}-{uuid7().replace('-', '')}",
            "object": f"{kind}.chunk" if asked.stream and asked.chat else kind,
            "created": int(time.time()),
            "model": asked.model,
        }
        # Of a chunk only the text differs.
        form = b'"delta":{"content":' if asked.chat else b'"text":'
        self._start = orjson.dumps(self._head)[:-1] + b',"choices":[{"index":0,' + form
        tail = b',"logprobs":null,"finish_reason":null}]'
        tail += b',"usage":null}' if asked.usage else b"}"
        self._end = b"}" + tail if asked.chat else tail

    def whole(self, text: str, finish: Finish, usage: dict[str, Any]) -> bytes:
        """The whole answer, as one JSON object."""
        said: dict[str, Any] = {"text": text}
        if self._chat:
            said = {"message": {"role": "assistant", "content": text, "refusal": None}}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": _REASONS[finish]}
        return orjson.dumps({**self._head, "choices": [choice], "usage": usage})

    def first(self) -> bytes:
        """The event before the first text: who speaks."""
        return self._event({"role": "assistant", "content": ""}) if self._chat else b""

    def piece(self, text: str) -> bytes:
        """An event with a further piece of the text."""
        return event(self._start + orjson.dumps(text) + self._end)

    def last(self, finish: Finish, usage: dict[str, Any]) -> bytes:
        """The last events."""
        told = self._event({}, _REASONS[finish])
        if self._usage:
            told += event(orjson.dumps({**self._head, "choices": [], "usage": usage}))
        return told + DONE

    def _event(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        said: dict[str, Any] = {"delta": delta} if self._chat else {"text": ""}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish}
        data = {**self._head, "choices": [choice]}
        return event(orjson.dumps(data | {"usage": None} if self._usage else data))
