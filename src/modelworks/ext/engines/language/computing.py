"""A decoder by onnxruntime-genai; loaded in the model's own process only.

Its calls keep Python's lock for as long as they take, so they may not be made where a loop runs.
"""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime_genai as genai

from modelworks.core.errors import InvalidError
from modelworks.ext.formats.genai import Facts

genai.disable_telemetry_events()
_REASON: Final = 240


class Computing:
    """One model in memory; see `turns.Decoder`.

    Args:
        folder: with `genai_config.json`.
        facts: of it.
        threads: of one step.

    Raises:
        InvalidError: it does not load.
    """

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

    def add(self, model: Any, tokens: list[int]) -> None:
        """See `Decoder.add`."""
        model.append_tokens(np.array(tokens, np.int32))

    def logits(self, model: Any) -> Any:
        """See `Decoder.logits`."""
        found = np.asarray(model.get_logits())
        return found.reshape(-1, found.shape[-1])[-1]

    def rewind(self, model: Any, length: int) -> None:
        """See `Decoder.rewind`."""
        model.rewind_to(length)
