"""From a request to its generation: whether the model can, time-outs, and leaving."""

from modelworks.core.errors import UnsupportedError
from modelworks.core.generation import Prompt, Sampling
from modelworks.edge.exchange import Exchange
from modelworks.edge.patience import TIMEOUT, timeout_ms
from modelworks.edge.request import Request
from modelworks.serving.generating.generation import Admit, Generation, Reader, Times
from modelworks.serving.generating.open import Generations
from modelworks.serving.generating.tokens import Charged


def launch(
    generations: Generations | None,
    exchange: Exchange,
    prompt: Prompt,
    sampling: Sampling,
    reader: Reader,
    *,
    admit: Admit | None = None,
) -> Generation:
    """Begin a generation for a request that is not answered yet.

    It is stopped when the client leaves, when its `X-Timeout-Ms` is over, or when the model's own
    `timeout_ms` is and no piece has come. Whoever answers piece by piece takes over the first with
    the stream: see `sending`.

    Args:
        generations: of the live model; None = it does not generate.
        exchange: the request.
        prompt: what is continued.
        sampling: how.
        reader: is told of pieces, or why there are none.
        admit: see `Admit`; None = as the model says.

    Raises:
        UnsupportedError: the model does not generate.
        InvalidError: `X-Timeout-Ms` is no number.
        UnavailableError: the model has as many as it takes, or goes away.
    """
    if generations is None:
        raise UnsupportedError("this model gives no text piece by piece: ask it at /infer")
    begin_by_ns = 0
    if generations.timeout_ms:
        begin_by_ns = exchange.received_ns + int(1_000_000 * generations.timeout_ms)
    times = Times(exchange.received_ns, deadline_of(exchange), begin_by_ns)
    admit = admit or generations.admit
    meter = generations.meter_of(exchange.headers) if generations.meter_of is not None else None
    charged = Charged(meter, admit) if meter is not None else None
    admit = charged.admit if charged is not None else admit
    generation = Generation(generations, prompt, sampling, reader, times, admit)
    if charged is not None:
        charged.generation = generation
    generation.begin()
    exchange.on_gone = generation.stop
    if isinstance(exchange, Request):
        exchange.expect_leaving()
    return generation


def deadline_of(exchange: Exchange) -> int:
    """When the `X-Timeout-Ms` of a request is over, on `perf_counter_ns`'s clock; 0 = never.

    Raises:
        InvalidError: it is no number.
    """
    limit_ms = timeout_ms(exchange.headers[TIMEOUT]) if TIMEOUT in exchange.headers else 0
    return exchange.received_ns + 1_000_000 * limit_ms if limit_ms else 0
