"""A model that adds up what it is told, and steps of sequences that ask it."""

import time
from pathlib import Path

import numpy as np

from modelworks.core.errors import CrashedError
from modelworks.core.served import Batching
from modelworks.core.stateful import Sequences, State, Step
from modelworks.core.tensor import Datatype, Signature, TensorSpec
from modelworks.serving.batcher import Batcher, Member
from modelworks.serving.block import Block
from modelworks.serving.cost import Cost
from modelworks.serving.execute import joined
from modelworks.serving.sequences import remembering
from modelworks.serving.sequences.numbers import SequenceCounts, read_sequences
from modelworks.serving.sequences.states import States

CRASH = -2.0
SIGNATURE = Signature(
    (
        TensorSpec("x", Datatype.FP64, (None, 1)),
        TensorSpec("h", Datatype.FP64, (None, 1)),
    ),
    (
        TensorSpec("h_out", Datatype.FP64, (None, 1)),
        TensorSpec("y", Datatype.FP64, (None, 1)),
    ),
)
STATE = (State("h", "h_out"),)


class Adding:
    """`y = h_out = h + x`, in arrays that the next call writes over."""

    signature = SIGNATURE
    apart = False

    def __init__(self):
        self.calls = []
        self._own = np.zeros((2, 4096, 1))

    def infer(self, inputs):
        x, h = inputs["x"], inputs["h"]
        self.calls.append(x[:, 0].tolist())
        if (x == CRASH).any():
            raise CrashedError("it crashed")
        outputs = self._own[:, : len(x)]
        outputs[:] = x + h
        return [outputs[0], outputs[1]]

    def close(self):
        pass


LONGER = Signature(
    (SIGNATURE.inputs[0], TensorSpec("h", Datatype.FP64, (None, None))),
    (TensorSpec("h_out", Datatype.FP64, (None, None)), SIGNATURE.outputs[1]),
)


class Remembering(Adding):
    """`h_out` is `h` with `x` behind it, `y` the sum of all."""

    signature = LONGER

    def infer(self, inputs):
        x, h = inputs["x"], inputs["h"]
        self.calls.append(x[:, 0].tolist())
        longer = np.concatenate([h, x], axis=1)
        return [longer, longer.sum(axis=1, keepdims=True)]


class Told(Member):
    """One step; `answers` is what came."""

    __slots__ = ("_step", "answers", "live")

    def __init__(self, key, value, start=False, end=False, timeout_ms=0, now=None, rows=1):
        now = time.perf_counter_ns() if now is None else now
        deadline = now + 1_000_000 * timeout_ms if timeout_ms else 0
        super().__init__({"x": np.full((rows, 1), float(value))}, rows, None, now, deadline)
        self._step = None if key is None else Step(key, start, end)
        self.answers = []
        self.live = None

    @property
    def sequence(self):
        return self._step

    def succeed(self, outputs):
        (y,) = outputs
        self.answers.append(y.tolist()[0][0])

    def fail(self, error):
        self.answers.append(error)


class SequenceDesk:
    """The table of sequences in front of a batcher; made on a running loop."""

    def __init__(self, session=None, inline=True, limits=None, **said):
        self.session = session or Adding()
        declared = Sequences(STATE, **said)
        cost = Cost()
        for power in range(12):
            cost.learn(2**power, 1000 if inline else 100_000_000)
        self.batcher = Batcher(
            "m",
            self.session,
            limits or Batching(8, 64),
            cost,
            lambda call: None,
            None,
            lambda members: remembering.taken(joined, members),
        )
        self.block = Block()
        self.table = remembering.Remembering(
            self.batcher,
            declared,
            States(declared, self.session.signature, Path()),
            SequenceCounts(self.block.region("m", "1")),
            "m",
            batched=True,
        )

    @property
    def numbers(self):
        return read_sequences(self.block, self.block.models()["m", "1"])

    @property
    def quiet(self):
        """Whether nobody waits and nobody is held on to."""
        return not self.table._turns and not self.batcher.busy
