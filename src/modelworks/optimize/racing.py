"""Inside the child: forms called in turn, round after round, in one process.

A machine's speed drifts, so only ratios within a round are looked at; the source form runs twice a
round, and how far its two runs are apart is the noise (`measure.compare`).
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError, ModelworksError
from modelworks.core.seams import Session
from modelworks.core.tensor import Tensors
from modelworks.measure.compare import FEWEST_ROUNDS, Ratio, ratio_of

SLOT_S: Final = 0.004
"""A form's turn lasts about so long, or one call."""
MOST_ROUNDS: Final = 200
LEAST_ROUNDS: Final = 3
"""Of which there is a middle, and something on both sides of it."""
_PATIENCE_S: Final = 10.0
_MOST_CALLS: Final = 1000
_DIFFERENT: Final = 16


@dataclass(slots=True)
class Runner:
    """A form in the race.

    Attributes:
        session: loaded.
        calls: of a turn.
        cpu: nanoseconds a call, one a round; of the source form two a round, in turn.
        wall: the same of the wall clock, medians.
        walls: of every call.
    """

    session: Session
    calls: int = 1
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    walls: list[int] = field(default_factory=list)

    def warm(self, given: Sequence[Tensors]) -> None:
        """Call it until it is warm, and find out how many calls make a turn."""
        self.session.infer(given[0])
        began, calls = time.perf_counter(), 0
        while calls < 3 or (calls < 200 and time.perf_counter() - began < 2 * SLOT_S):
            self.session.infer(given[calls % len(given)])
            calls += 1
        each = (time.perf_counter() - began) / calls
        self.calls = min(_MOST_CALLS, max(1, round(SLOT_S / each)))

    def turn(self, given: Sequence[Tensors]) -> None:
        """Call it and note the times."""
        infer, clock = self.session.infer, time.perf_counter_ns
        if self.calls > 1:  # others had the caches
            infer(given[0])
        spans = []
        used = time.process_time_ns()
        for number in range(self.calls):
            inputs = given[number % len(given)]
            began = clock()
            infer(inputs)
            spans.append(clock() - began)
        self.cpu.append((time.process_time_ns() - used) / self.calls)
        self.wall.append(float(np.median(spans)))
        self.walls += spans


def taken(inputs: Tensors, rows: int) -> list[dict[str, Any]]:
    """Different calls of so many rows; rows come again where there are fewer."""
    count = min(len(array) for array in inputs.values())
    calls = max(1, min(_DIFFERENT, count // rows))
    found = []
    for number in range(calls):
        places = np.arange(number * rows, (number + 1) * rows) % count
        found.append({n: np.ascontiguousarray(array[places]) for n, array in inputs.items()})
    return found


def race(
    sessions: Sequence[Session | None], given: Sequence[Tensors], seconds: float, seed: int
) -> tuple[list[Runner | str], int]:
    """Rounds until the time is over.

    Args:
        sessions: the source form's first; None = not in the race.
        given: calls, taken in turn.
        seconds: for everything.
        seed: of the order in a round.

    Returns:
        A runner a session, or why it is not in the race; and the number of rounds.

    Raises:
        InvalidError: the source form refuses the rows, or calls take so long that there are not
            even the rounds of which a middle can be told.
    """
    end = time.perf_counter() + seconds
    found: list[Runner | str] = []
    for place, session in enumerate(sessions):
        if session is None:
            found.append("not loaded")
            continue
        runner = Runner(session)
        try:
            runner.warm(given)
        except ModelworksError as error:
            if not place:
                raise InvalidError(f"the source form does not run: {error.message}") from error
            found.append(error.message)
            continue
        found.append(runner)
    runners = [one for one in found if isinstance(one, Runner)]
    turns = [runners[0], *runners]
    order = random.Random(seed)  # noqa: S311 - no secret
    rounds, longest = 0, 0.0
    while rounds < MOST_ROUNDS:
        began = time.perf_counter()
        if rounds >= FEWEST_ROUNDS and began + longest > end:
            break
        late = began - end - seconds  # even the fewest take twice as long as there is time
        if late > 0 and (rounds >= LEAST_ROUNDS or late > _PATIENCE_S):
            break
        order.shuffle(turns)
        for runner in turns:
            runner.turn(given)
        rounds += 1
        longest = max(longest, time.perf_counter() - began)
    if rounds < LEAST_ROUNDS:
        raise InvalidError(
            f"the time was over after {rounds} rounds of calls, and {LEAST_ROUNDS} at least tell "
            "anything: give more with --budget, or fewer rows with --batches",
            field="budget",
        )
    return found, rounds


def noise_of(source: Runner) -> Ratio:
    """The source form against itself."""
    return ratio_of(source.cpu[1::2], source.cpu[::2])


def figures(source: Runner, runner: Runner, rows: int, *, by_clock: bool = False) -> dict[str, Any]:
    """A runner's times beside the source form's, as `BatchTime` has them.

    Args:
        source: the source form's.
        runner: the form's.
        rows: of a call.
        by_clock: it computes beside the processor: `ratio` is the clock's, too.
    """
    own = runner is source

    def ratio(kind: str) -> Ratio:
        both = np.asarray(getattr(source, kind), np.float64).reshape(-1, 2).mean(axis=1)
        mine = both if own else np.asarray(getattr(runner, kind), np.float64)
        return ratio_of(both.tolist(), mine.tolist())

    wall = ratio("wall")
    cpu = wall if by_clock else ratio("cpu")
    spans = np.asarray(runner.walls, np.float64) / 1e3
    used = np.asarray(runner.cpu, np.float64) / 1e3
    return {
        "rows": rows,
        "ratio": cpu.ratio,
        "low": cpu.low,
        "high": cpu.high,
        "cpu_us": np.percentile(used, [25, 50, 75]).tolist(),
        "wall_us": np.percentile(spans, [25, 50, 75]).tolist(),
        "p99_us": float(np.percentile(spans, 99)),
        "calls": len(spans),
        "wall_ratio": [wall.ratio, wall.low, wall.high],
    }


def resident_bytes() -> int:
    """Of this process; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * 4096


def timed_load(load: Callable[[], Session]) -> tuple[Session, float]:
    """A session and the seconds that loading took."""
    began = time.perf_counter()
    session = load()
    return session, time.perf_counter() - began


def share_stolen(cpu_s: float, wall_s: float) -> float:
    """Share of the wall time in which one busy thread did not run."""
    return max(0.0, 1 - cpu_s / wall_s) if wall_s > 0 and math.isfinite(cpu_s) else 0.0
