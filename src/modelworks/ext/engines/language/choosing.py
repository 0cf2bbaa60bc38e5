"""The next token from a model's logits."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelworks.core.errors import CrashedError
from modelworks.core.generation import Sampling


class Choosing:
    """One generation's way of choosing.

    Args:
        sampling: temperature, top_p, top_k, repetition_penalty, seed count here.
    """

    __slots__ = ("_random", "_sampling")

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed)

    def choose(self, logits: Any, seen: Sequence[int]) -> int:
        """The next token.

        Args:
            logits: [tokens of the vocabulary], FP32.
            seen: prompt and answer so far; counts for the repetition penalty (Keskar et al. 2019,
                CTRL, section 4.1) alone.

        Raises:
            CrashedError: the logits are no numbers.
        """
        sampling = self._sampling
        if sampling.repetition_penalty != 1.0 and len(seen):
            logits = _penalized(logits, seen, sampling.repetition_penalty)
        best = int(logits.argmax())
        if not np.isfinite(logits[best]):
            raise CrashedError("the model's logits are no numbers")
        if sampling.temperature <= 0.0:
            return best
        scaled = logits.astype(np.float64)
        scaled = (scaled - scaled[best]) / sampling.temperature
        places = None
        if 0 < sampling.top_k < len(scaled):
            places = np.argpartition(scaled, -sampling.top_k)[-sampling.top_k :]
            scaled = scaled[places]
        shares = np.exp(scaled)
        shares /= shares.sum()
        if sampling.top_p < 1.0:
            shares = _nucleus(shares, sampling.top_p)
        place = int(np.searchsorted(np.cumsum(shares), self._random.random(), side="right"))
        place = min(place, int(np.flatnonzero(shares)[-1]))
        return place if places is None else int(places[place])


def _penalized(logits: Any, seen: Sequence[int], penalty: float) -> Any:
    places = np.unique(np.asarray(seen, np.int64))
    places = places[(places >= 0) & (places < len(logits))]
    found = logits.astype(np.float32)
    known = found[places]
    found[places] = np.where(known < 0, known * penalty, known / penalty)
    return found


def _nucleus(shares: Any, top_p: float) -> Any:
    """The smallest set of tokens whose shares reach `top_p` (Holtzman et al. 2020, section 3.1)."""
    order = np.argsort(-shares, kind="stable")
    reached = np.cumsum(shares[order])
    kept = order[: int(np.searchsorted(reached, top_p, side="left")) + 1]
    found = np.zeros_like(shares)
    found[kept] = shares[kept]
    return found / found.sum()
