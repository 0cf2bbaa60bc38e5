"""`POST /predict/{model}`: plain rows in, labels and confidence out, through the same queue."""

from collections.abc import Sequence
from typing import Any

from modelworks.core.errors import ModelworksError
from modelworks.edge.exchange import Exchange
from modelworks.edge.patience import TIMEOUT
from modelworks.protocol.predictions import encode_predictions
from modelworks.protocol.rows import PlainRows
from modelworks.serving.infer import JSON, Answering, bound, readable, refuse
from modelworks.serving.live import Live
from modelworks.serving.tap import ROWS


class PredictMember(Answering):
    """A request of plain rows."""

    __slots__ = ("warnings",)

    def __init__(self, exchange: Exchange, live: Live, rows: PlainRows) -> None:
        shape = None if live.one_shape else live.shape_of(rows.inputs)
        super().__init__(exchange, live, rows.inputs, rows.rows if live.batched else 1, shape)
        self.warnings = rows.warnings

    def succeed(self, outputs: Sequence[Any]) -> None:
        """See `Member.succeed`."""
        live = self.live
        body = encode_predictions(live.name, live.version, live.signature, outputs, self.warnings)
        self.exchange.reply(200, body, JSON)
        if live.tap is not None:
            live.tap.one(self, body, (), ROWS)


def predict(live: Live, exchange: Exchange) -> None:
    """Decode and queue."""
    try:
        member = PredictMember(exchange, live, live.rows(exchange.body))
        headers = exchange.headers
        if TIMEOUT in headers:
            bound(member, headers[TIMEOUT])
        live.batcher.submit(member)
    except (ModelworksError, RecursionError) as error:
        refuse(exchange, readable(error), live.recorder, live.tap)
    else:
        exchange.on_gone = member.left
