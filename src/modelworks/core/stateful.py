"""Sequences: requests of one caller that a recurrent model answers with what it remembers.

See docs/sequences.md. The words `sequence_id`, `sequence_start` and `sequence_end` are Triton's.
"""

from dataclasses import dataclass
from typing import Final

from modelworks.core.errors import InvalidError

ZEROS: Final = "zeros"
_BOUNDS: Final = {
    "idle_s": (0.1, 86_400),
    "max": (1, 1_000_000),
    "max_bytes": (1, 1 << 40),
    "drain_s": (0, 25),
}


@dataclass(frozen=True, slots=True)
class State:
    """What a model gives back to itself from one request to the next.

    Attributes:
        input: of the model; callers do not see it.
        output: whose value is the next request's input; callers do not see it either.
        initial: `zeros`, or the name of a `.npy` file beside the model: what a sequence begins
            with, without the batch axis. A free axis of zeros is empty.
        axis: where the batch lies: 0, or 1 as in PyTorch's recurrent layers.
    """

    input: str
    output: str
    initial: str = ZEROS
    axis: int = 0


@dataclass(frozen=True, slots=True)
class Sequences:
    """How the sequences of one model are kept.

    Attributes:
        state: one or more.
        idle_s: a sequence that was not asked for so long is forgotten.
        max: sequences at most; one more is refused until another ends.
        max_bytes: of all their states.
        drain_s: how long a version that is replaced goes on for the sequences that it has.
    """

    state: tuple[State, ...]
    idle_s: float = 60.0
    max: int = 1000
    max_bytes: int = 256 << 20
    drain_s: float = 10.0

    def check(self, where: str = "sequences") -> None:
        """Refuse what cannot be.

        Raises:
            InvalidError: a value out of its bounds, no state, one twice; `field` names it.
        """
        for name, (lowest, highest) in _BOUNDS.items():
            value = getattr(self, name)
            if not lowest <= value <= highest:  # NaN is out of all bounds
                raise _wrong(where, name, f"{value} is not from {lowest} to {highest}")
        if not self.state:
            raise _wrong(where, "state", "none is named: [{input: h, output: h_out}]")
        for place, one in enumerate(self.state):
            path = f"state[{place}]"
            if not 0 <= one.axis <= 31:
                raise _wrong(where, f"{path}.axis", f"{one.axis} is not from 0 to 31")
            plain = one.initial.endswith(".npy") and "/" not in one.initial.replace("\\", "/")
            if one.initial != ZEROS and not plain:
                raise _wrong(
                    where,
                    f"{path}.initial",
                    f"'{one.initial[:40]}' is neither {ZEROS} nor the name of a .npy file that "
                    "lies beside the model",
                )
        for which in ("input", "output"):
            names = [getattr(one, which) for one in self.state]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise _wrong(where, "state", f"{which} '{twice[:60]}' is named twice")


@dataclass(frozen=True, slots=True)
class Step:
    """Which sequence a request belongs to.

    Attributes:
        id: a number from 1 to 2**64 - 1, or a text; `7` and `"7"` are two sequences.
        start: it is the first of the sequence: what was kept under that id is forgotten.
        end: it is the last: what is kept is forgotten after it.
    """

    id: int | str
    start: bool = False
    end: bool = False


def _wrong(where: str, name: str, why: str) -> InvalidError:
    path = f"{where}.{name}".lstrip(".")
    return InvalidError(f"{path}: {why}", field=path)
