"""`/generate` and `/generate_stream`: Triton's generate extension over a session that generates."""

from collections.abc import Sequence
from dataclasses import replace

from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.generation import Piece
from modelworks.edge.exchange import Exchange
from modelworks.protocol.generate import Answers, Asked, decode
from modelworks.protocol.problems import problem
from modelworks.protocol.sse import HEADERS, SSE, event
from modelworks.serving.generating.generation import Generation
from modelworks.serving.generating.launch import launch
from modelworks.serving.generating.numbers import End
from modelworks.serving.generating.sending import Sending
from modelworks.serving.infer import JSON, readable, refuse
from modelworks.serving.live import Live


class _Whole:
    """Answers when the text is complete."""

    def __init__(self, live: Live, exchange: Exchange, asked: Asked) -> None:
        self.generation: Generation | None = None
        self._exchange = exchange
        self._answers = Answers(live.name, live.version, asked)
        self._parts: list[str] = []
        self._made = 0

    def took(self, pieces: Sequence[Piece]) -> None:
        """See `Reader`."""
        self._parts += [piece.text for piece in pieces]
        self._made += sum(piece.tokens for piece in pieces)
        last = pieces[-1]
        if last.finish is not None:
            text = "".join(self._parts)
            body = self._answers.whole(text, last.finish, last.prompt_tokens, self._made)
            self._exchange.reply(200, body, JSON)

    def failed(self, error: ModelworksError) -> None:
        """See `Reader`."""
        status, body, headers = problem(error)
        self._exchange.reply(status, body, JSON, headers)


class _Events:
    """Answers an event a piece, from the first one on."""

    def __init__(self, live: Live, exchange: Exchange, asked: Asked) -> None:
        self.generation: Generation | None = None
        self._exchange = exchange
        self._answers = Answers(live.name, live.version, asked)
        self._sending: Sending | None = None
        self._whole: list[Piece] | None = [] if asked.stream is False else None
        self._made = 0

    def took(self, pieces: Sequence[Piece]) -> None:
        """See `Reader`."""
        if self._whole is not None:
            self._whole += pieces
            if pieces[-1].finish is None:
                return
            text = "".join([piece.text for piece in self._whole])
            tokens = sum(piece.tokens for piece in self._whole)
            pieces = (replace(pieces[-1], text=text, tokens=tokens),)
        sending = self._sending
        if sending is None:
            stream = self._exchange.stream(200, SSE, HEADERS)
            sending = self._sending = Sending(stream, self._left)
        answers = self._answers
        self._made += sum(piece.tokens for piece in pieces)
        events = [answers.piece(p.text) for p in pieces if p.text and p.finish is None]
        last = pieces[-1]
        if last.finish is None:
            sending.write(b"".join(events))
        else:
            events.append(answers.last(last.text, last.finish, last.prompt_tokens, self._made))
            sending.finish(b"".join(events))

    def failed(self, error: ModelworksError) -> None:
        """See `Reader`; behind the first event the status is said, so an event says it."""
        status, body, headers = problem(error)
        if self._sending is None:
            self._exchange.reply(status, body, JSON, headers)
        else:
            self._sending.finish(event(body))

    def _left(self, slow: bool) -> None:  # noqa: FBT001 - as `Sending` calls it
        if self.generation is not None:
            self.generation.stop(End.SLOW if slow else End.LEFT)


def generate(live: Live, exchange: Exchange) -> None:
    """`POST /v2/models/{m}/generate`: one JSON object when the text is complete."""
    try:
        asked = decode(exchange.body)
        if asked.stream:
            raise InvalidError(
                "stream: /generate answers with one object; events come from /generate_stream",
                field="parameters.stream",
            )
        _begin(live, exchange, asked, _Whole(live, exchange, asked))
    except (ModelworksError, RecursionError) as error:
        refuse(exchange, readable(error), live.recorder, live.tap)


def generate_stream(live: Live, exchange: Exchange) -> None:
    """`POST /v2/models/{m}/generate_stream`: server-sent events; one where `stream` is false."""
    try:
        asked = decode(exchange.body)
        _begin(live, exchange, asked, _Events(live, exchange, asked))
    except (ModelworksError, RecursionError) as error:
        refuse(exchange, readable(error), live.recorder, live.tap)


def _begin(live: Live, exchange: Exchange, asked: Asked, reader: _Whole | _Events) -> None:
    generations = live.generations
    reader.generation = launch(generations, exchange, asked.prompt, asked.sampling, reader)
