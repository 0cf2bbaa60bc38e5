"""A decoder by onnxruntime-genai; loaded in the model's own process only.

Its calls keep Python's lock for as long as they take, so they may not be made where a loop runs.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime_genai as genai

from modelworks.core.errors import InvalidError
from modelworks.ext.engines.language.opened import Opened, Wish
from modelworks.ext.engines.language.template import Template
from modelworks.ext.engines.language.turns import Part, Turns
from modelworks.ext.formats.genai import read
from modelworks.ext.formats.language import Facts

genai.disable_telemetry_events()
_REASON: Final = 240


def opened(wish: Wish) -> Opened:
    """Load; see `opened.opened`."""
    facts = read(wish.folder)
    template = Template(facts.template, facts.marks)
    decoder = Computing(wish.folder, facts, wish.threads)
    # What only fails when it runs fails now.
    for adapter in ("", *facts.adapters) if wish.check else ("",):
        decoder.compute([Part(decoder.state(16, adapter), [facts.ends[0]], wanted=True)])
    turns = Turns(decoder, facts, wish.slots, wish.kept)
    return Opened(turns, template, facts.context, tuple(facts.adapters))


class Computing:
    """One model in memory; see `turns.Decoder`.

    Args:
        folder: with `genai_config.json`.
        facts: of it.
        threads: of one step.

    Raises:
        InvalidError: it does not load.
    """

    joint = False  # the library joins sequences as a static batch: who comes later would wait
    states = 0

    def __init__(self, folder: Path, facts: Facts, threads: int) -> None:
        settings = {"intra_op_num_threads": threads, "inter_op_num_threads": 1}
        try:
            config = genai.Config(str(folder))
            config.overlay(json.dumps({"model": {"decoder": {"session_options": settings}}}))
            self._model = genai.Model(config)
            self._adapters = genai.Adapters(self._model)
            for name, file in facts.adapters.items():
                self._adapters.load(str(file), name)
        except Exception as error:  # the library has no base of its own
            said = " ".join(str(error).replace(str(folder), folder.name).split())
            raise InvalidError(f"onnxruntime-genai cannot load it: {said[:_REASON]}") from error

    def state(self, room: int, adapter: str) -> Any:
        """See `Decoder.state`."""
        wanted = genai.GeneratorParams(self._model)
        wanted.set_search_options(max_length=room, batch_size=1, num_beams=1)
        made = genai.Generator(self._model, wanted)
        if adapter:
            made.set_active_adapter(self._adapters, adapter)
        return made

    def compute(self, parts: Sequence[Part]) -> list[Any]:
        """See `Decoder.compute`."""
        [part] = parts
        part.model.append_tokens(np.array(part.tokens, np.int32))
        if not part.wanted:
            return [None]
        found = np.asarray(part.model.get_logits())
        return [found.reshape(-1, found.shape[-1])[-1]]

    def rewind(self, model: Any, length: int) -> None:
        """See `Decoder.rewind`."""
        model.rewind_to(length)
