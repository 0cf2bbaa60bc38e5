"""Text from a model that generates: conversations and completions, whole or as events."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter_ns
from typing import Any, Final

from modelworks.core.errors import (
    CrashedError,
    DeadlineError,
    ModelworksError,
    NotFoundError,
    UnavailableError,
    UnsupportedError,
)
from modelworks.core.generation import Piece, Prompt
from modelworks.core.seams import Conversing
from modelworks.edge.exchange import Exchange
from modelworks.edge.request import Request
from modelworks.protocol.openai.answers import Answers, usage_of
from modelworks.protocol.openai.asked import Asked
from modelworks.protocol.openai.errors import in_their_form
from modelworks.protocol.problems import problem
from modelworks.protocol.sse import HEADERS, SSE, event
from modelworks.serving.generating import End, Generation, Generations, Sending, launch
from modelworks.serving.generating.launch import deadline_of
from modelworks.serving.infer import JSON, refuse
from modelworks.serving.live import Live
from modelworks.serving.openai.dressed import bare

_log = logging.getLogger("modelworks.serving")
_CHATS: Final = 256  # conversations of one worker that wait to be written as prompts
_UNBOUNDED: Final = 1024  # of an answer whose length nobody bounds, by a model without a context
_LATE: Final = "the request's time-out was over before its conversation was written as a prompt"


class _Reading:
    """What both ways of answering share."""

    def __init__(self, exchange: Exchange, asked: Asked) -> None:
        self.generation: Generation | None = None
        self.exchange = exchange
        self.answers = Answers(asked)
        self.made = 0

    def usage(self, last: Piece) -> dict[str, Any]:
        """What it took."""
        return usage_of(last.prompt_tokens, self.made, last.cached_tokens)

    def refused(self, error: ModelworksError) -> None:
        """Nothing was sent yet."""
        status, body, headers = problem(error)
        self.exchange.reply(status, body, JSON, headers)


class _Whole(_Reading):
    """Answers when the text is complete."""

    def __init__(self, exchange: Exchange, asked: Asked) -> None:
        super().__init__(exchange, asked)
        self._parts: list[str] = []

    def took(self, pieces: Sequence[Piece]) -> None:
        """See `Reader`."""
        self._parts += [piece.text for piece in pieces]
        self.made += sum(piece.tokens for piece in pieces)
        last = pieces[-1]
        if last.finish is not None:
            text = "".join(self._parts)
            self.exchange.reply(200, self.answers.whole(text, last.finish, self.usage(last)), JSON)

    def failed(self, error: ModelworksError) -> None:
        """See `Reader`."""
        self.refused(error)


class _Events(_Reading):
    """Answers an event a piece, from the first one on."""

    def __init__(self, exchange: Exchange, asked: Asked) -> None:
        super().__init__(exchange, asked)
        self._sending: Sending | None = None

    def took(self, pieces: Sequence[Piece]) -> None:
        """See `Reader`."""
        told = []
        sending = self._sending
        if sending is None:
            stream = self.exchange.stream(200, SSE, HEADERS)
            sending = self._sending = Sending(stream, self._left)
            told.append(self.answers.first())
        self.made += sum(piece.tokens for piece in pieces)
        told += [self.answers.piece(piece.text) for piece in pieces if piece.text]
        last = pieces[-1]
        if last.finish is None:
            sending.write(b"".join(told))
        else:
            told.append(self.answers.last(last.finish, self.usage(last)))
            sending.finish(b"".join(told))

    def failed(self, error: ModelworksError) -> None:
        """See `Reader`; behind the first event the status is said, so an event says it."""
        if self._sending is None:
            self.refused(error)
        else:
            status, body, _ = problem(error)
            self._sending.finish(event(in_their_form(status, body)[1]))

    def _left(self, slow: bool) -> None:  # noqa: FBT001 - as `Sending` calls it
        if self.generation is not None:
            self.generation.stop(End.SLOW if slow else End.LEFT)


class _Patience:
    """Holds a request to its `X-Timeout-Ms` while its conversation is written as a prompt.

    Raises:
        InvalidError: it is no number.

    Attributes:
        over: the time is, and the request was told so.
    """

    def __init__(self, live: Live, exchange: Exchange) -> None:
        self.over = False
        self._live = live
        self._exchange = exchange
        self._timer: asyncio.TimerHandle | None = None
        until_ns = deadline_of(exchange)
        if until_ns:
            left_s = max(0.0, (until_ns - perf_counter_ns()) / 1e9)
            self._timer = asyncio.get_running_loop().call_later(left_s, self._late)

    def end(self) -> None:
        """It is written, or cannot be."""
        if self._timer is not None:
            self._timer.cancel()

    def _late(self) -> None:
        self.over = True
        if not self._exchange.gone:
            refuse(self._exchange, DeadlineError(_LATE), self._live.recorder)


class Texts:
    """Answers requests for text, of one worker."""

    def __init__(self) -> None:
        self._writing = 0

    def answer(self, asked: Asked, adapter: str, live: Live, exchange: Exchange) -> None:
        """Answer, now or when the model has.

        Args:
            asked: the request.
            adapter: of the model; empty = none.
            live: the model.
            exchange: the request's, dressed.
        """
        try:
            generations = live.generations
            if generations is None:
                raise UnsupportedError(
                    f"model '{live.name}' makes no text: ask it at /v2/models/{live.name}/infer",
                    field="model",
                )
            session = generations.session
            _has(live, session, adapter)
            if asked.chat and isinstance(session, Conversing):
                self._converse(live, session, asked, adapter, exchange)
            else:
                text = _plain(asked.messages) if asked.chat else asked.prompt
                _begin(generations, asked, Prompt(text, adapter), exchange)
        except ModelworksError as error:
            refuse(exchange, error, live.recorder)

    def _converse(
        self, live: Live, session: Conversing, asked: Asked, adapter: str, exchange: Exchange
    ) -> None:
        """Have the conversation written as a prompt, aside from the loop, then begin."""
        if self._writing >= _CHATS:
            raise UnavailableError(f"{_CHATS} conversations wait to be written; try again")
        generations = live.generations
        assert generations is not None  # noqa: S101 - the caller looked
        patience = _Patience(live, exchange)

        async def write() -> None:
            problem: ModelworksError | None = None
            try:
                text = await asyncio.to_thread(session.chat, asked.messages)
                if not (patience.over or exchange.gone):
                    _begin(generations, asked, Prompt(text, adapter), exchange)
            except ModelworksError as error:
                problem = error
            except Exception:  # noqa: BLE001 - the client must get an answer
                _log.exception("a conversation could not be written")
                problem = CrashedError("the engine failed: see the server's log")
            finally:
                self._writing -= 1
                patience.end()
            if problem is not None and not patience.over:
                refuse(exchange, problem, live.recorder)

        self._writing += 1
        request = bare(exchange)
        if isinstance(request, Request):
            request.expect_leaving()
        generations.aside(write())


def _has(live: Live, session: Any, adapter: str) -> None:
    known = session.adapters if isinstance(session, Conversing) else ()
    if adapter and adapter not in known:
        has = f"its adapters are {', '.join(known)}" if known else "it has no adapters"
        raise NotFoundError(
            f"model '{live.name}' has no adapter '{adapter[:60]}'; {has}", field="model"
        )


def _begin(generations: Generations, asked: Asked, prompt: Prompt, exchange: Exchange) -> None:
    session = generations.session
    sampling = asked.sampling
    if not sampling.max_tokens:
        most = session.context if isinstance(session, Conversing) else _UNBOUNDED
        sampling = replace(sampling, max_tokens=most)
    reader = (_Events if asked.stream else _Whole)(exchange, asked)
    reader.generation = launch(generations, bare(exchange), prompt, sampling, reader)


def _plain(messages: Sequence[Mapping[str, str]]) -> str:
    """A conversation for a model that has no way of its own."""
    lines = [f"{message['role']}: {message['content']}" for message in messages]
    return "\n".join([*lines, "assistant:"])
