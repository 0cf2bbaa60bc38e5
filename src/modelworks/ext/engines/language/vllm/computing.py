"""A decoder by vLLM, which shares the model among generations itself; see `opened.Generations`."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from modelworks.core.errors import InvalidError
from modelworks.core.generation import Finish, Sampling
from modelworks.ext.engines.language.opened import Opened, Wish, Word
from modelworks.ext.engines.language.template import Template
from modelworks.ext.engines.language.vllm import alone
from modelworks.ext.formats.decoder import RANKS, rank_of, read
from modelworks.ext.formats.language import Facts

_CONTEXT: Final = 4096  # where nothing is said
_REASON: Final = 240
_BLOCK: Final = 128  # tokens of a page of its memory on the CPU


def opened(wish: Wish) -> Opened:
    """Load; see `opened.opened`."""
    facts = read(wish.folder)
    if wish.context > facts.context:
        raise InvalidError(
            f"context: {wish.context} tokens, and the model was made for {facts.context}",
            field="context",
        )
    template = Template(facts.template, facts.marks)
    context = wish.context or min(facts.context, _CONTEXT)
    alone.prepare(Path(tempfile.gettempdir()))
    generations = Running(facts, wish, context)
    return Opened(generations, template, context, tuple(facts.adapters))


class Running:
    """All generations of one model; see `opened.Generations`.

    Args:
        facts: of the model.
        wish: how it is opened.
        context: tokens of a prompt and its answer at most.

    Raises:
        InvalidError: it does not load.
    """

    def __init__(self, facts: Facts, wish: Wish, context: int) -> None:
        import vllm  # noqa: PLC0415 - it looks at the environment when it is imported
        from vllm.lora.request import LoRARequest  # noqa: PLC0415
        from vllm.sampling_params import RequestOutputKind  # noqa: PLC0415

        self._vllm: Any = vllm
        self._delta = RequestOutputKind.DELTA
        self._ends = facts.ends
        self._context = context
        self._adapters = {
            name: LoRARequest(name, place, str(folder))
            for place, (name, folder) in enumerate(facts.adapters.items(), 1)
        }
        self._told: list[Word] = []  # not told yet
        self._cached: dict[int, int] = {}  # of who is under way
        try:
            self._engine = vllm.LLMEngine.from_engine_args(_arguments(vllm, facts, wish, context))
            for adapter in self._adapters.values():  # read now, not in a step that others share
                self._engine.add_lora(adapter)
        except Exception as error:  # the library has no base of its own
            said = " ".join(str(error).replace(str(wish.folder), wish.folder.name).split())
            raise InvalidError(f"vLLM cannot load it: {said[:_REASON]}") from error

    @property
    def busy(self) -> bool:
        """See `Generations.busy`."""
        return bool(self._told) or bool(self._engine.has_unfinished_requests())

    def enter(self, number: int, prompt: list[int], adapter: str, sampling: Sampling) -> None:
        """See `Generations.enter`."""
        try:
            self._engine.add_request(
                str(number),
                {"prompt_token_ids": prompt},
                self._sampling(sampling, self._context - len(prompt)),
                lora_request=self._adapters[adapter] if adapter else None,
            )
        except Exception as error:  # noqa: BLE001 - the library has no base of its own
            self._told.append((number, -1, Finish.ERROR.value, 0, _said(error)))
        else:
            self._cached[number] = 0

    def _sampling(self, sampling: Sampling, room: int) -> Any:
        return self._vllm.SamplingParams(
            max_tokens=min(sampling.max_tokens, room),
            temperature=sampling.temperature,
            top_p=sampling.top_p or 1e-6,  # 0: the likeliest token
            top_k=sampling.top_k,
            repetition_penalty=sampling.repetition_penalty,
            seed=sampling.seed,
            stop_token_ids=list(self._ends),
            detokenize=False,
            output_kind=self._delta,
        )

    def stop(self, number: int) -> list[Word]:
        """See `Generations.stop`."""
        cached = self._cached.pop(number, None)
        if cached is None:
            return []
        self._engine.abort_request([str(number)])
        return [(number, -1, Finish.CANCELLED.value, cached, "")]

    def step(self, between: Callable[[], None] | None = None) -> list[Word]:  # noqa: ARG002
        """See `Generations.step`; one step is everybody's."""
        told, self._told = self._told, []
        if not self._engine.has_unfinished_requests():
            return told
        try:
            for output in self._engine.step():
                told += self._words(output)
        except Exception as error:  # noqa: BLE001 - the library has no base of its own
            why = _said(error)
            for number, cached in self._cached.items():
                self._engine.abort_request([str(number)])
                told.append((number, -1, Finish.ERROR.value, cached, why))
            self._cached.clear()
        return told

    def _words(self, output: Any) -> Iterator[Word]:
        number = int(output.request_id)
        if number not in self._cached:  # it was stopped meanwhile
            return
        cached = self._cached[number] = int(output.num_cached_tokens or 0)
        [answer] = output.outputs
        tokens = [int(token) for token in answer.token_ids]
        ended = answer.finish_reason == "stop"
        if ended and tokens and tokens[-1] in self._ends:
            del tokens[-1]
        for token in tokens:
            yield number, token, "", cached, ""
        if output.finished:
            del self._cached[number]
            finish = {"stop": Finish.STOP, "length": Finish.LENGTH}.get(answer.finish_reason)
            why = "" if finish else f"vLLM ended it: {answer.finish_reason}"
            yield number, -1, (finish or Finish.ERROR).value, cached, why


def _arguments(vllm: Any, facts: Facts, wish: Wish, context: int) -> Any:
    pages = -(-context // _BLOCK) + 1
    room = wish.slots * pages * _BLOCK * facts.token_bytes + wish.kept
    adapters: dict[str, Any] = {}
    if facts.adapters:
        ranks = [rank_of(folder) for folder in facts.adapters.values()]
        adapters = {
            "enable_lora": True,
            # One place more than there are adapters, so that the last is empty: on the CPU vLLM
            # computes those without an adapter by the last place where others have one.
            "max_loras": len(ranks) + 1,
            "max_lora_rank": next(each for each in RANKS if each >= max(ranks)),
        }
    return vllm.EngineArgs(
        model=str(wish.folder),
        skip_tokenizer_init=True,  # texts are read on the server's side
        trust_remote_code=False,
        enforce_eager=True,  # a compiler would have to begin processes
        max_model_len=context,
        max_num_seqs=wish.slots,
        enable_prefix_caching=wish.kept > 0,
        kv_cache_memory_bytes=room,
        load_format="safetensors",
        disable_log_stats=True,
        **adapters,
    )


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
