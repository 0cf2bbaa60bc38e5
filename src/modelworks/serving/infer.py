"""The hot path of one model: bytes to a member of a batch, its outputs to bytes."""

import logging
from collections.abc import Hashable, Sequence
from time import perf_counter_ns
from typing import Any, Final

from modelworks.core.errors import DeadlineError, InvalidError, ModelworksError, UnavailableError
from modelworks.core.tensor import Tensors
from modelworks.edge.exchange import Exchange
from modelworks.protocol.oip import (
    InferRequest,
    encode_response,
    parse_header_length,
)
from modelworks.protocol.oip.templates import AnswerWriter
from modelworks.protocol.problems import problem, status_of
from modelworks.serving.batcher import Call, Member, answer_each
from modelworks.serving.live import Live
from modelworks.serving.statistics import Outcome, Recorder

_log = logging.getLogger("modelworks.serving")
JSON: Final = b"application/json"
_LENGTH: Final = b"inference-header-content-length"


def outcome_of(error: Exception) -> Outcome:
    """Under which name a refusal is counted."""
    if isinstance(error, DeadlineError):
        return Outcome.EXPIRED
    if isinstance(error, UnavailableError):
        return Outcome.REJECTED
    return Outcome.FAILED if status_of(error) == 500 else Outcome.INVALID


def refuse(exchange: Exchange, error: Exception, recorder: Recorder) -> None:
    """Answer with an error and count it."""
    status, body, headers = problem(error)
    recorder.ended(outcome_of(error), perf_counter_ns() - exchange.received_ns)
    exchange.reply(status, body, JSON, headers)


class Answering(Member):
    """A member that answers an exchange; kinds of request differ in how they write outputs."""

    __slots__ = ("exchange", "live")

    def __init__(
        self, exchange: Exchange, live: Live, inputs: Tensors, rows: int, timeout_us: int = 0
    ) -> None:
        received = exchange.received_ns
        super().__init__(
            inputs,
            rows if live.batched else 1,
            None if live.one_shape else shape_of(inputs),
            received,
            received + 1000 * timeout_us if timeout_us else 0,
        )
        self.exchange = exchange
        self.live = live

    def fail(self, error: ModelworksError) -> None:
        """See `Member.fail`."""
        refuse(self.exchange, error, self.live.recorder)

    def left(self) -> None:
        """The client is gone: leave the queue alone, harm no neighbour."""
        if self.waiting:
            self.live.batcher.cancel(self)
            self.live.recorder.ended(Outcome.CANCELLED, 0)


def shape_of(inputs: Tensors) -> Hashable:
    """What the inputs of members have to have in common to share a batch."""
    return tuple([array.shape[1:] for array in inputs.values()])


class InferMember(Answering):
    """A request of the Open Inference Protocol."""

    __slots__ = ("plain", "request")

    def __init__(self, exchange: Exchange, live: Live, request: InferRequest) -> None:
        super().__init__(exchange, live, request.inputs, request.rows, request.timeout_us)
        self.request = request
        self.plain = AnswerWriter.takes(request)

    def succeed(self, outputs: Sequence[Any]) -> None:
        """See `Member.succeed`."""
        live = self.live
        body, kind, headers = encode_response(
            live.name, live.version, self.request, outputs, live.signature
        )
        self.exchange.reply(200, body, kind, headers)


def infer(exchange: Exchange, live: Live) -> None:
    """`POST /v2/models/{m}/infer`."""
    try:
        length = exchange.headers.get(_LENGTH)
        request = live.reader.read(
            exchange.body, None if length is None else parse_header_length(length)
        )
        member = InferMember(exchange, live, request)
        live.batcher.submit(member)
    except (ModelworksError, RecursionError) as error:
        refuse(exchange, readable(error), live.recorder)
    else:
        exchange.on_gone = member.left


def answer(live: Live, call: Call) -> None:
    """Answer a call's members: all at once where every one wants plain JSON."""
    members = [m for m in call.members if type(m) is InferMember and m.plain]
    bodies = None
    if len(members) == len(call.members):
        bodies = live.writer.write(call.results, [member.request.rows for member in members])
    if bodies is None:
        answer_each(call)
        return
    for member, body in zip(members, bodies, strict=True):
        try:
            member.exchange.reply(200, body, JSON)
        except Exception:  # noqa: BLE001 - one connection's trouble is not its neighbours'
            _log.exception("an answer could not be sent")


def readable(error: Exception) -> Exception:
    """The error as it may be told."""
    if isinstance(error, RecursionError):
        return InvalidError("the body is nested too deeply", field="body")
    return error
