"""Requests of models with a cache: the same bytes get the same bytes, and nothing is decoded.

Models without a cache are asked by `infer` and `predict` themselves.
"""

from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Final

from modelworks.edge.exchange import Exchange, Headers
from modelworks.edge.patience import TIMEOUT
from modelworks.serving.cache import keys
from modelworks.serving.cache.flights import Cached
from modelworks.serving.infer import infer
from modelworks.serving.live import Live
from modelworks.serving.predict import predict
from modelworks.serving.tap import ROWS
from modelworks.serving.waiting import Act

_LENGTH: Final = b"inference-header-content-length"
_LARGE_RAW: Final = 65_536
"""Bytes of a binary body from which on its tensors are digested alone: they lie there as they are,
and to digest twice costs more than to decode."""


def infer_again(live: Live, exchange: Exchange) -> None:
    """`POST /v2/models/{m}/infer` of a model with a cache."""
    head = exchange.headers.get(_LENGTH, b"")
    large = len(exchange.body) > (_LARGE_RAW if head else keys.LARGEST)
    if large or TIMEOUT in exchange.headers:
        infer(live, exchange)
    else:
        _again(live, exchange, infer, keys.of_body(b"v2", exchange.body, head), 200)


def predict_again(live: Live, exchange: Exchange) -> None:
    """`POST /predict/{m}` of a model with a cache."""
    if len(exchange.body) > keys.LARGEST or TIMEOUT in exchange.headers:
        predict(live, exchange)
    else:
        _again(live, exchange, predict, keys.of_body(b"rows", exchange.body), ROWS)


def act_of(live: Live, act: Act) -> Act:
    """What answers for this model: `act`, or the same behind its cache."""
    if not isinstance(live.batcher, Cached):
        return act
    return infer_again if act is infer else predict_again if act is predict else act


def _again(live: Live, exchange: Exchange, act: Act, key: bytes, status: int) -> None:
    cached = live.batcher
    assert isinstance(cached, Cached)  # noqa: S101 - `act_of` looked
    began = perf_counter_ns()
    found = cached.reply(key)
    if found is None:
        act(live, _Noting(exchange, cached, key))
        return
    body, kind, headers = found
    exchange.reply(200, body, kind, headers)
    cached.replied(exchange.received_ns, began)
    if live.tap is not None:
        live.tap.kept(exchange, body, headers, status)


class _Noting:
    """An exchange whose answer is kept for the same bytes."""

    __slots__ = ("_cached", "_exchange", "_key")

    def __init__(self, exchange: Exchange, cached: Cached, key: bytes) -> None:
        self._exchange = exchange
        self._cached = cached
        self._key = key

    def __getattr__(self, name: str) -> Any:
        """All that is not told otherwise is the exchange's own."""
        return getattr(self._exchange, name)

    @property
    def on_gone(self) -> Callable[[], None] | None:
        """See `Exchange`."""
        return self._exchange.on_gone

    @on_gone.setter
    def on_gone(self, called: Callable[[], None] | None) -> None:
        self._exchange.on_gone = called

    def reply(self, status: int, body: bytes, content_type: bytes, headers: Headers = ()) -> None:
        """See `Exchange`."""
        if status == 200:
            self._cached.note(self._key, (body, content_type, headers))
        self._exchange.reply(status, body, content_type, headers)
