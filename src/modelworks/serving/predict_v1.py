"""`POST /v1/models/{m}:predict`: instances in, predictions out, through the same queue."""

from collections.abc import Sequence
from typing import Any

from modelworks.core.errors import ModelworksError
from modelworks.edge.exchange import Exchange
from modelworks.edge.patience import TIMEOUT
from modelworks.protocol.kserve_v1 import decode_instances, encode_answers
from modelworks.protocol.predictions import encode_predictions
from modelworks.protocol.rows import PlainRows
from modelworks.serving.infer import JSON, Answering, bound, readable, refuse
from modelworks.serving.live import Live
from modelworks.serving.tap import ROWS


class V1Member(Answering):
    """A request of instances."""

    __slots__ = ()

    def __init__(self, exchange: Exchange, live: Live, rows: PlainRows) -> None:
        shape = None if live.one_shape else live.shape_of(rows.inputs)
        super().__init__(exchange, live, rows.inputs, rows.rows if live.batched else 1, shape)

    def succeed(self, outputs: Sequence[Any]) -> None:
        """See `Member.succeed`."""
        live = self.live
        self.exchange.reply(200, encode_answers(live.signature, outputs), JSON)
        if live.tap is not None:  # records know one form of plain answers
            body = encode_predictions(live.name, live.version, live.signature, outputs)
            live.tap.one(self, body, (), ROWS)


def predict_v1(live: Live, exchange: Exchange) -> None:
    """Decode and queue."""
    try:
        rows = decode_instances(exchange.body, live.signature)
        if live.checks is not None:
            live.checks.check(rows.inputs)
        member = V1Member(exchange, live, rows)
        headers = exchange.headers
        if TIMEOUT in headers:
            bound(member, headers[TIMEOUT])
        live.batcher.submit(member)
    except (ModelworksError, RecursionError) as error:
        refuse(exchange, readable(error), live.recorder, live.tap)
    else:
        exchange.on_gone = member.left
