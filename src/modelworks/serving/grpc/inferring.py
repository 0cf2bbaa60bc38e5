"""A prediction asked by gRPC: a message to a member of a batch, its outputs to a message.

Requests by gRPC and by HTTP share batches: a member's inputs are arrays here before it is queued.
"""

from collections.abc import Hashable, Sequence
from typing import Any, Final, cast

from modelworks.core.errors import ModelworksError
from modelworks.core.stateful import Step
from modelworks.core.tensor import Tensors
from modelworks.edge.exchange import Exchange
from modelworks.edge.patience import TIMEOUT
from modelworks.protocol.oip.request import InferRequest
from modelworks.protocol.oip.sequences import no_sequences
from modelworks.protocol.oip_grpc.responses import MessageWriter
from modelworks.protocol.oip_grpc.templates import MessageReader, parts_of
from modelworks.protocol.records.calls import JSON_LENGTH, MESSAGE
from modelworks.serving.grpc.exchange import Asked
from modelworks.serving.infer import Answering, bound, readable, refuse
from modelworks.serving.live import Live

_MARKS: Final = 1024
_marked: dict[int, tuple[dict[bytes, bytes], dict[bytes, bytes]]] = {}


class Messages:
    """What reads and writes the messages of one loaded model.

    Attributes:
        reader: of its requests.
        writer: of its answers.
    """

    __slots__ = ("reader", "writer")

    def __init__(self, live: Live) -> None:
        self.reader = MessageReader(live.signature)
        self.writer = MessageWriter(live.name, live.version, live.signature)


class MessageMember(Answering):
    """A request that came as a message.

    Attributes:
        request: decoded, or that of the template it was read by; its id is `own`.
        own: the id.
    """

    __slots__ = ("own", "request")

    def __init__(
        self,
        exchange: Exchange,
        live: Live,
        request: InferRequest,
        inputs: Tensors,
        shape: Hashable,
        own: str,
    ) -> None:
        rows = request.rows if live.batched else 1
        super().__init__(exchange, live, inputs, rows, shape, request.timeout_us)
        self.request = request
        self.own = own

    @property
    def priority(self) -> int:
        """See `Member`."""
        return self.request.priority

    @property
    def sequence(self) -> Step | None:
        """See `Member`."""
        return self.request.sequence

    def succeed(self, outputs: Sequence[Any]) -> None:
        """See `Member.succeed`."""
        live = self.live
        body = _messages(live).writer.write(self.request, outputs, self.own)
        self.exchange.reply(200, body, b"")
        if live.tap is not None:
            live.tap.one(self, body, (), 200)


def infer_message(live: Live, exchange: Exchange) -> None:
    """`ModelInfer`, and each request of a `ModelStreamInfer`: fulfils `waiting.Act`."""
    try:
        if live.tap is not None:
            exchange.headers = marked(exchange.headers)
        asked = exchange if isinstance(exchange, Asked) else None
        member = _member(live, exchange, asked)
        if asked is not None and asked.call.timeout_us:
            until = asked.call.received_ns + 1000 * asked.call.timeout_us
            if not 0 < member.deadline_ns < until:
                member.deadline_ns = until
        if TIMEOUT in exchange.headers:
            bound(member, exchange.headers[TIMEOUT])
        live.batcher.submit(member)
    except (ModelworksError, RecursionError) as error:
        refuse(exchange, readable(error), live.recorder, live.tap)
    else:
        exchange.on_gone = member.left


def _member(live: Live, exchange: Exchange, asked: Asked | None) -> MessageMember:
    """The request, decoded.

    Raises:
        InvalidError: it is not what the model takes.
        UnsupportedError: it asks for what is not offered.
    """
    message = exchange.body
    reader = _messages(live).reader
    if asked is not None:
        start, own = asked.start, asked.own
    else:  # a copy for a shadow, which has the bytes alone and lets the answer go
        found = parts_of(message)
        start, own = (None, "") if found is None else found[1:]
    inputs: Tensors | None = None
    request: InferRequest | None = None
    template = None if start is None else reader.recognise(message, start)
    if template is not None and start is not None:
        inputs = template.read(message, start)
        request = template.request
    if inputs is None or request is None:
        request = reader.read(message, start)
        if request.sequence is not None and live.served.sequences is None:
            raise no_sequences(request.sequence)
        inputs, own = request.inputs, request.id
    if live.checks is not None:
        live.checks.check(inputs)
    shape = None if live.one_shape else live.shape_of(inputs)
    return MessageMember(exchange, live, request, inputs, shape, own)


def _messages(live: Live) -> Messages:
    """Made when the first message for a model comes."""
    found = live.messages
    if found is None:
        found = live.messages = Messages(live)
    return cast("Messages", found)


def marked(headers: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The headers with what tells the logger that the bodies are messages; calls share theirs."""
    known = _marked.get(id(headers))
    if known is not None and known[0] is headers:
        return known[1]
    made = {**headers, JSON_LENGTH: MESSAGE}
    if len(_marked) >= _MARKS:
        _marked.clear()
    _marked[id(headers)] = (headers, made)
    return made
