"""A model that counts what it computes, and members that ask it: for caches and sequences."""

import time
from dataclasses import dataclass, field

import numpy as np

from modelworks.core.caching import AnswerCache
from modelworks.core.errors import CrashedError, InvalidError
from modelworks.core.served import Batching
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.serving.batcher import Batcher, Member
from modelworks.serving.block import Block
from modelworks.serving.cache.flights import Cached, aboard
from modelworks.serving.cache.numbers import CacheCounts, read_cache
from modelworks.serving.cost import Cost
from modelworks.serving.execute import joined

SIGNATURE = Signature(
    (TensorSpec("x", Datatype.FP64, (None, None)),), (TensorSpec("y", Datatype.FP64, (None,)),)
)
INVALID, CRASH = -1.0, -2.0


@dataclass
class Doubling:
    """`y = 2 * first column`, in an array that the next call writes over; it counts."""

    signature: Signature = SIGNATURE
    calls: list = field(default_factory=list)
    apart: bool = False

    def __post_init__(self):
        self._own = np.zeros(4096)

    def infer(self, inputs):
        x = inputs["x"]
        self.calls.append(x[:, 0].tolist())
        if (x[:, 0] == INVALID).any():
            raise InvalidError("a bad row")
        if (x[:, 0] == CRASH).any():
            raise CrashedError("it crashed")
        out = self._own[: len(x)]
        np.multiply(x[:, 0], 2, out=out)
        return [out]

    def close(self):
        pass


class Asked(Member):
    """Asks for `values`; `answers` is what came."""

    __slots__ = ("_priority", "answers")

    def __init__(self, *values, priority=0, timeout_ms=0, now=None):
        now = time.perf_counter_ns() if now is None else now
        x = np.array(values, float)[:, None]
        deadline = now + 1_000_000 * timeout_ms if timeout_ms else 0
        super().__init__({"x": x}, len(values), 1, now, deadline)
        self._priority = priority
        self.answers = []

    @property
    def priority(self):
        return self._priority

    def succeed(self, outputs):
        self.answers.append(outputs[0].tolist())

    def fail(self, error):
        self.answers.append(error)

    @property
    def wanted(self):
        return [[2 * value for value in self.inputs["x"][:, 0].tolist()]]


class Desk:
    """A cache in front of a batcher; made on a running loop."""

    def __init__(self, session=None, shared=None, inline=True, limits=None, **policy):
        self.session = session or Doubling()
        self.block = Block()
        cells = self.block.region("m", "1")
        cost = Cost()
        for power in range(12):
            cost.learn(2**power, 1000 if inline else 100_000_000)
        self.answered = []
        self.batcher = Batcher(
            "m",
            self.session,
            limits or Batching(8, 64),
            cost,
            lambda call: None,
            None,
            lambda members: aboard(joined, members),
        )
        self.cached = Cached(
            self.batcher,
            AnswerCache(**policy),
            ["x"],
            CacheCounts(cells),
            self.answered.append,
            lambda answer: answer(None),
            shared,
        )

    @property
    def numbers(self):
        return read_cache(self.block, self.block.models()["m", "1"])

    @property
    def empty(self):
        """Whether nobody and nothing is held on to, but for what is kept."""
        cached = self.cached
        return not cached._flights and not cached._riding and not self.batcher.busy
