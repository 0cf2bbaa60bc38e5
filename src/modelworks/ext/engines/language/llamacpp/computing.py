"""A decoder by llama.cpp: sequences of one context, computed together.

All states share one memory of keys and values, which is taken when the model loads: as many tokens
as all slots can have, and those that are kept of earlier prompts.
"""

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from heapq import heappop, heappush
from typing import Any, Final

import numpy as np
from llama_cpp import llama_cpp as api

from modelworks.core.errors import CrashedError, InvalidError
from modelworks.ext.engines.language.llamacpp import library
from modelworks.ext.engines.language.llamacpp.reading import Reader
from modelworks.ext.engines.language.opened import Opened, Wish
from modelworks.ext.engines.language.template import Template
from modelworks.ext.engines.language.texts import once
from modelworks.ext.engines.language.turns import CHUNK, Part, Turns
from modelworks.ext.formats import gguf
from modelworks.ext.formats.language import Facts

_CONTEXT: Final = 4096  # where nothing is said
_LEAST: Final = 2
_MOST: Final = 1 << 31  # tokens of all together: llama.cpp counts them in 32 bits
_SEQUENCES: Final = 256  # LLAMA_MAX_SEQ
_KEPT_STATES: Final = 32
_HALF: Final = 2  # bytes of a number that is kept: llama.cpp's F16


def opened(wish: Wish) -> Opened:
    """Load; see `opened.opened`."""
    model = library.load(wish.folder / gguf.MODEL, check=wish.check)
    files = gguf.adapters_of(wish.folder)
    adapters = {name: library.adapter(model, name, file) for name, file in files.items()}
    vocabulary = library.Vocabulary(model)
    facts = _facts(model, vocabulary, wish.context)
    template = Template(facts.template, facts.marks)
    decoder = Computing(model, adapters, facts, wish)
    # What only fails when it runs fails now.
    for name in ("", *adapters) if wish.check else ("",):
        decoder.compute([Part(decoder.state(16, name), [max(facts.begin, 0)], wanted=True)])
    return Opened(
        generations=Turns(decoder, facts, wish.slots, wish.kept),
        template=template,
        context=facts.context,
        adapters=tuple(adapters),
        widest=vocabulary.widest,
        read=Reader(lambda text: once(vocabulary.read(text), vocabulary.begin)),
        spell=vocabulary.spell,
    )


def _facts(model: Any, vocabulary: library.Vocabulary, context: int) -> Facts:
    trained = api.llama_model_n_ctx_train(model) & 0xFFFFFFFF  # it is told as a signed number
    if context > trained > 0:
        raise InvalidError(
            f"context: {context} tokens, and the model was trained with {trained}", field="context"
        )
    context = context or min(trained, _CONTEXT) or _CONTEXT
    if context < _LEAST:
        raise InvalidError(f"context: {context} tokens hold no prompt and answer", field="context")
    template = api.llama_model_chat_template(model, None)
    return Facts(
        context=context,
        ends=vocabulary.ends,
        begin=vocabulary.begin,
        decoder=gguf.MODEL,
        kind=library.told(model, "general.architecture"),
        adapters={},
        template=template.decode("utf-8", "replace") if template else "",
        marks=vocabulary.marks,
        token_bytes=_HALF * api.llama_model_n_layer(model) * _wide(model),
    )


def _wide(model: Any) -> int:
    """Numbers that a layer keeps of a token: a head may be wider than its share of the vector."""
    heads = max(1, api.llama_model_n_head(model))
    share = api.llama_model_n_embd(model) // heads
    kind = library.told(model, "general.architecture")
    sizes = [library.told(model, f"{kind}.attention.{part}_length") for part in ("key", "value")]
    each = sum(int(size) if size.isdecimal() else share for size in sizes)
    kept: int = max(1, api.llama_model_n_head_kv(model))
    return kept * each


class Computing:
    """One model in memory; see `turns.Decoder`.

    Args:
        model: its handle.
        adapters: name -> handle.
        facts: of it.
        wish: how it is opened.

    Raises:
        InvalidError: there is no memory for so many tokens.
    """

    joint = True

    def __init__(self, model: Any, adapters: dict[str, Any], facts: Facts, wish: Wish) -> None:
        self._model = model
        self._adapters = adapters
        self._adapter = ""  # that is set
        self._vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
        kept = wish.kept // max(1, facts.token_bytes)
        self.states = min(_SEQUENCES, wish.slots + (_KEPT_STATES if kept else 0))
        batch = CHUNK + wish.slots
        wanted = api.llama_context_default_params()
        tokens = wish.slots * facts.context + kept
        if tokens >= _MOST:
            raise InvalidError(
                f"{tokens} tokens are more than llama.cpp counts (options slots, context, "
                "prefix_mib)",
                field="context",
            )
        wanted.n_ctx = tokens
        wanted.n_batch = wanted.n_ubatch = batch
        wanted.n_seq_max = self.states
        wanted.n_threads = wanted.n_threads_batch = wish.threads
        wanted.kv_unified = True
        library.why()
        self._context = api.llama_init_from_model(model, wanted)
        if not self._context:
            raise InvalidError(
                f"llama.cpp has no memory for {wanted.n_ctx} tokens (options slots, context, "
                f"prefix_mib): {library.why()}",
                field="context",
            )
        self._memory = api.llama_get_memory(self._context)
        self._batch = api.llama_batch_init(batch, 0, 1)
        self._free = list(range(self.states))

    def state(self, room: int, adapter: str) -> "_Sequence":  # noqa: ARG002 - all share one room
        """See `Decoder.state`."""
        if not self._free:
            raise CrashedError("every sequence of the model is taken")
        return _Sequence(self, heappop(self._free), adapter)

    def compute(self, parts: Sequence[Part]) -> list[Any]:
        """See `Decoder.compute`."""
        self._set(parts[0].model.adapter)
        batch, place = self._batch, 0
        wanted: list[int | None] = []
        for model, tokens, last in parts:
            for offset, token in enumerate(tokens):
                batch.token[place] = token
                batch.pos[place] = model.length + offset
                batch.n_seq_id[place] = 1
                batch.seq_id[place][0] = model.number
                batch.logits[place] = 0
                place += 1
            if last:
                batch.logits[place - 1] = 1
            wanted.append(place - 1 if last else None)
        batch.n_tokens = place
        code = api.llama_decode(self._context, batch)
        if code:
            for part in parts:  # some of it may have been computed; not all models can go back
                with suppress(CrashedError):
                    self.rewind(part.model, part.model.length)
            raise CrashedError(f"llama.cpp failed ({code}): {library.why()}")
        for part in parts:
            part.model.length += len(part.tokens)
        return [None if at is None else self._logits(at) for at in wanted]

    def _logits(self, place: int) -> Any:
        found = api.llama_get_logits_ith(self._context, place)
        return np.ctypeslib.as_array(found, (self._vocabulary,)).copy()

    def _set(self, adapter: str) -> None:
        if adapter == self._adapter:
            return
        handles = [self._adapters[adapter]] if adapter else []
        made = (api.llama_adapter_lora_p_ctypes * len(handles))(*handles)
        scales = (ctypes.c_float * len(handles))(*[1.0] * len(handles))
        if api.llama_set_adapters_lora(self._context, made, len(handles), scales):
            raise CrashedError(f"llama.cpp cannot set the adapter: {library.why()}")
        self._adapter = adapter

    def rewind(self, model: "_Sequence", length: int) -> None:
        """See `Decoder.rewind`."""
        if not api.llama_memory_seq_rm(self._memory, model.number, length, -1):
            raise CrashedError("the model cannot forget a part of a text")
        model.length = length

    def give_back(self, number: int) -> None:
        """A sequence is of no use any more."""
        api.llama_memory_seq_rm(self._memory, number, -1, -1)
        heappush(self._free, number)


class _Sequence:
    """What a model keeps of a text: a number of llama.cpp's, given back with the object."""

    __slots__ = ("_of", "adapter", "length", "number")

    def __init__(self, of: Computing, number: int, adapter: str) -> None:
        self._of = of
        self.number = number
        self.adapter = adapter
        self.length = 0

    def __del__(self) -> None:
        self._of.give_back(self.number)
