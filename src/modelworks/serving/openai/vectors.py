"""Embeddings from a model that makes one vector of a text, or of token ids."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError, ModelworksError, UnsupportedError
from modelworks.core.seams import Counting
from modelworks.core.tensor import Datatype, Signature, Tensors, TensorSpec
from modelworks.edge.exchange import Exchange
from modelworks.edge.patience import TIMEOUT
from modelworks.protocol.openai.embeddings import Wanted, write_embeddings
from modelworks.serving.infer import JSON, Answering, bound, refuse
from modelworks.serving.live import Live

_log = logging.getLogger("modelworks.serving")
_IDS: Final = "input_ids"
_MASK: Final = "attention_mask"
_TYPES: Final = "token_type_ids"
_NAMES: Final = ("sentence_embedding", "embeddings", "embedding", "pooler_output")
_FLOATS: Final = {Datatype.FP32: "<f4", Datatype.FP16: "<f2", Datatype.FP64: "<f8"}
_CELLS: Final = 1 << 20  # token ids of one request, all filled up to the longest
_SHORT: Final = 4096  # characters: counting the tokens of more would hold up the loop


class _Member(Answering):
    """A request for embeddings in the model's queue."""

    __slots__ = ("_place", "_wanted")

    def __init__(
        self, exchange: Exchange, live: Live, inputs: Tensors, wanted: Wanted, place: int
    ) -> None:
        rows = len(wanted.texts) or len(wanted.tokens)
        shape = None if live.one_shape else live.shape_of(inputs)
        super().__init__(exchange, live, inputs, rows if live.batched else 1, shape)
        self._wanted = wanted
        self._place = place

    def succeed(self, outputs: Sequence[Any]) -> None:
        """See `Member.succeed`; the engine may use its own arrays again."""
        wanted, live = self._wanted, self.live
        rows = np.array(outputs[self._place], np.float32)
        count = _counter(live)
        if rows.ndim != 2 or len(rows) != (len(wanted.texts) or len(wanted.tokens)):
            self.fail(UnsupportedError(_NO_VECTORS.format(live.name), field="model"))
        elif wanted.dimensions and wanted.dimensions != rows.shape[1]:
            self.fail(
                InvalidError(
                    f"dimensions: this model's embeddings have {rows.shape[1]}, and no others",
                    field="dimensions",
                )
            )
        elif wanted.tokens:
            self._reply(rows, sum(map(len, wanted.tokens)))
        elif count is None:
            self._reply(rows, 0)
        elif sum(map(len, wanted.texts)) <= _SHORT:
            self._reply(rows, count(wanted.texts))
        else:
            self._count(rows, count)

    def _count(self, rows: Any, count: Callable[[Sequence[str]], int]) -> None:
        """Count tokens aside from the loop, then answer."""

        async def work() -> None:
            try:
                tokens = await asyncio.to_thread(count, self._wanted.texts)
            except Exception:  # noqa: BLE001 - a count is not worth an answer
                _log.exception("the tokens of an embedding could not be counted")
                tokens = 0
            self._reply(rows, tokens)

        task = asyncio.get_running_loop().create_task(work())
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    def _reply(self, rows: Any, tokens: int) -> None:
        self.exchange.reply(200, write_embeddings(self._wanted, rows, tokens), JSON)


_tasks: set[asyncio.Task[None]] = set()  # owned until they are done
_NO_VECTORS: Final = "model '{}' gives no embeddings: one vector of numbers a row is wanted"


def embed(wanted: Wanted, live: Live, exchange: Exchange) -> None:
    """Answer a request for embeddings.

    Args:
        wanted: the request.
        live: the model.
        exchange: the request's, dressed.
    """
    try:
        signature = live.signature
        place = _output(live.name, signature)
        inputs = _texts(live.name, signature, wanted) if wanted.texts else _ids(live, wanted)
        if live.checks is not None:
            live.checks.check(inputs)
        member = _Member(exchange, live, inputs, wanted, place)
        if TIMEOUT in exchange.headers:
            bound(member, exchange.headers[TIMEOUT])
        live.batcher.submit(member)
    except ModelworksError as error:
        refuse(exchange, error, live.recorder)
    else:
        exchange.on_gone = member.left


def embeds(signature: Signature) -> bool:
    """Whether a model may be asked for embeddings."""
    try:
        _output("", signature)
    except UnsupportedError:
        return False
    names = {spec.name for spec in signature.inputs}
    return _IDS in names or [spec.datatype for spec in signature.inputs] == [Datatype.BYTES]


def _output(model: str, signature: Signature) -> int:
    """Which output is the embedding."""
    found = [
        place
        for place, spec in enumerate(signature.outputs)
        if spec.datatype in _FLOATS and len(spec.shape) == 2
    ]
    named = [place for place in found if signature.outputs[place].name in _NAMES]
    for places in (named, found):
        if len(places) == 1:
            return places[0]
    raise UnsupportedError(_NO_VECTORS.format(model), field="model")


def _texts(model: str, signature: Signature, wanted: Wanted) -> Tensors:
    spec = signature.inputs[0]
    if len(signature.inputs) != 1 or spec.datatype is not Datatype.BYTES:
        raise UnsupportedError(
            f"model '{model}' takes no texts: import it with its tokenizer, or send token ids",
            field="input",
        )
    array = np.empty(len(wanted.texts), object)
    array[:] = [text.encode() for text in wanted.texts]
    return {spec.name: array.reshape(-1, *(1,) * (len(spec.shape) - 1))}


def _ids(live: Live, wanted: Wanted) -> Tensors:
    specs = {spec.name: spec for spec in live.signature.inputs}
    others = specs.keys() - {_IDS, _MASK, _TYPES}
    if _IDS not in specs or others:
        raise UnsupportedError(f"model '{live.name}' takes no token ids: send texts", field="input")
    longest = max(map(len, wanted.tokens))
    if _MASK not in specs and any(len(row) != longest for row in wanted.tokens):
        raise UnsupportedError(
            f"model '{live.name}' takes no mask: inputs must be equally long", field="input"
        )
    if len(wanted.tokens) * longest > _CELLS:
        raise InvalidError(
            f"{len(wanted.tokens)} inputs, filled up to the {longest} token ids of the longest, "
            f"are more than {_CELLS}: send fewer at a time",
            field="input",
        )
    ids = np.zeros((len(wanted.tokens), longest), np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(wanted.tokens):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    made = {_IDS: ids, _MASK: mask, _TYPES: np.zeros_like(ids)}
    return {name: made[name].astype(_whole(spec)) for name, spec in specs.items()}


def _whole(spec: TensorSpec) -> str:
    return "<i4" if spec.datatype is Datatype.INT32 else "<i8"


def _counter(live: Live) -> Callable[[Sequence[str]], int] | None:
    session = live.loaded.session
    return session.count_texts if isinstance(session, Counting) else None
