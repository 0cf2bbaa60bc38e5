"""Counts and latency histograms of one model: what a recorder writes and what a reader sums up."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from time import perf_counter_ns, time_ns
from typing import Any, Final

import numpy as np

from modelworks.serving.batcher import Call
from modelworks.serving.block import SERVER, Block
from modelworks.serving.execute import Cut
from modelworks.serving.histograms import (
    CELLS,
    Histogram,
    bits_of,
    histogram_of,
    place_of,
    places_of,
)


class Stage(StrEnum):
    """What a histogram measures, of every answered request."""

    TOTAL = "total"  # from the last byte of the request to the last answer of its batch
    DECODE = "decode"  # bytes to tensors, and the checks
    QUEUE = "queue"  # until the engine began; without the batch wait, where there is one
    WAIT = "batch_wait"  # of models with a delay: the engine was free, and waited for company
    GATHER = "gather"  # the batch's inputs read and joined
    COMPUTE = "compute"  # the engine's call
    ENCODE = "encode"  # its share of writing the batch's answers


class Outcome(StrEnum):
    """How a request ended."""

    SUCCESS = "success"
    INVALID = "invalid"  # the caller's fault
    REJECTED = "rejected"  # queue full, loading, unloading
    EXPIRED = "expired"  # its time-out was over
    FAILED = "failed"  # our fault
    CANCELLED = "cancelled"  # the client left before the answer


CODES: Final = {
    Outcome.SUCCESS: "2xx",
    Outcome.INVALID: "4xx",
    Outcome.REJECTED: "5xx",
    Outcome.EXPIRED: "5xx",
    Outcome.FAILED: "5xx",
    Outcome.CANCELLED: "none",
}


class Cell(IntEnum):
    """Where a number lies in a region."""

    READY = 0  # gauges first: a new worker zeroes them
    WAITING = 1
    LAST_MS = 2
    ITEMS = 3
    CALLS = 4
    FAIL_NS = 5
    INPUT_NS = 6
    INFER_NS = 7
    OUTPUT_NS = 8
    LIMIT = 9  # rows of a batch at most, and the delay, as in force in this worker
    DELAY_US = 10
    OUTCOMES = 16
    LIFETIMES = 24  # to 29: see `lifetimes`
    RECORDS = 11  # to 14: see `recorded`
    CUTS = 32
    CACHE = 44  # to 51: see `cache.numbers`
    SEQUENCES = 52  # to 59: see `sequences.numbers`
    HISTOGRAMS = 64
    BATCHES = 816


GAUGES: Final = range(Cell.READY, Cell.LAST_MS)
_OUTCOMES: Final = tuple(Outcome)
_PLACE: Final = {outcome: Cell.OUTCOMES + place for place, outcome in enumerate(_OUTCOMES)}
_CANCELLED: Final = Outcome.CANCELLED
_FAIL_NS: Final = int(Cell.FAIL_NS)
_CUT: Final = {cut: Cell.CUTS + place for place, cut in enumerate(Cut)}
_STAGES: Final = tuple(Stage)
_FIRST: Final = {s: Cell.HISTOGRAMS + place * (CELLS + 1) for place, s in enumerate(_STAGES)}
_DENSE: Final = 128  # batch sizes up to here are counted one by one
_SIZES: Final = (*range(1, _DENSE + 1), *(2**power for power in range(8, 32)))
_ROW: Final = 4  # calls, input, infer, output
_NOTES: Final = 8  # numbers of a call: members, rows, four times, cut, whether it went well
_COUNT, _ROWS, _STARTED, _ENDED, _CUTS, _GOOD = 0, 1, 2, 5, 6, 7
_NOTED: Final = 1 << 16  # members at most that are noted and not yet counted


def batch_rows(sizes: Any) -> Any:
    """The rows of batch statistics for `sizes`; over 128, the next power of two below."""
    larger = np.minimum(_DENSE + bits_of(sizes) - 9, len(_SIZES) - 1)
    return np.where(sizes <= _DENSE, sizes - 1, larger)


def _firsts(*stages: Stage) -> Any:
    """The first cells of histograms, as a column."""
    return np.array([[_FIRST[stage]] for stage in stages])


_OWN: Final = (Stage.TOTAL, Stage.DECODE, Stage.QUEUE)  # of each member


class Recorder:
    """Writes one model's numbers; called on the loop's thread only."""

    _own = _firsts(*_OWN)
    _shared = _firsts(Stage.GATHER, Stage.COMPUTE, Stage.ENCODE)  # of a call, and so of its members

    def __init__(self, cells: memoryview) -> None:
        self.cells = cells
        self._array: Any = np.frombuffer(cells, dtype=np.int64)
        self._calls = array("q")  # `_NOTES` numbers each
        self._received = array("q")  # of all members of those calls
        self._queued = array("q")
        self._under_way: Iterator[bool] | None = None
        for cell in GAUGES:
            cells[cell] = 0

    @classmethod
    def of_model(
        cls, block: Block, name: str, version: str, *, patient: bool = False
    ) -> "Recorder":
        """For one version; `patient`: its batches may wait for company."""
        recorder = (WaitRecorder if patient else cls)(block.region(name, version))
        block.before_reading(name, version, recorder.settle)
        return recorder

    @classmethod
    def of_server(cls, block: Block) -> "Recorder":
        """For requests that name no model."""
        return cls(block.cells(SERVER))

    def ready(self, *, value: bool) -> None:
        """The gauge of readiness."""
        self.cells[Cell.READY] = value

    def waiting(self, items: int) -> None:
        """The gauge of the queue."""
        self.cells[1] = items

    def limits(self, size: int, delay_ms: float) -> None:
        """The limits in force."""
        self.cells[Cell.LIMIT] = size
        self.cells[Cell.DELAY_US] = round(1000 * delay_ms)

    def read(self) -> "Numbers":
        """What this worker has counted."""
        self.settle()
        return numbers_of(self.cells.tolist())

    @property
    def noted(self) -> bool:
        """Whether something waits to be counted."""
        return bool(self._calls)

    def call(self, call: Call) -> None:
        """Note an engine call and all whom it answered, just now; somebody should settle later."""
        members = call.members
        self._calls.extend(
            (
                *(len(members), call.rows, call.started, call.joined, call.inferred),
                *(perf_counter_ns(), _CUT[call.cut], call.error is None),
            )
        )
        if len(members) == 1:
            self._received.append(members[0].received_ns)
            self._queued.append(members[0].queued_ns)
        else:
            self._received.extend([member.received_ns for member in members])
            self._queued.extend([member.queued_ns for member in members])
        if len(self._received) >= _NOTED:
            self.settle()

    def settle(self) -> None:
        """Count what was noted, all together."""
        for _ in range(2):  # what is half counted, and what was noted since
            while self.step():
                pass

    def step(self) -> bool:
        """Count a part of what was noted; True where the next one should follow soon."""
        if self._under_way is None:
            if not self._calls:
                return False
            self._under_way = self._settling()
        if next(self._under_way, False):
            return True
        self._under_way = None
        return False

    def _settling(self) -> Iterator[bool]:
        """Count what is noted now; True after each part but the last."""
        calls = np.frombuffer(self._calls, dtype=np.int64).reshape(-1, _NOTES)
        received = np.frombuffer(self._received, dtype=np.int64)
        queued = np.frombuffer(self._queued, dtype=np.int64)
        self._calls, self._received, self._queued = array("q"), array("q"), array("q")
        cells = self._array
        cells[Cell.CALLS] += len(calls)
        cells += np.bincount(calls[:, _CUTS], minlength=len(cells))
        self._batched(calls)
        yield True
        good = calls[:, _GOOD]
        if not good.all():
            mine = np.repeat(good, calls[:, _COUNT]) == 1
            calls, received, queued = calls[good == 1], received[mine], queued[mine]
        if len(calls):
            yield from self._answered(calls, received, queued)

    def _batched(self, calls: Any) -> None:
        """Count the calls, and what they took, by their rows."""
        place = batch_rows(np.maximum(calls[:, _ROWS], 1))
        table = self._array[Cell.BATCHES : Cell.BATCHES + _ROW * len(_SIZES)].reshape(-1, _ROW)
        table[:, 0] += np.bincount(place, minlength=len(_SIZES))
        # Floats add these exactly: they stay below 2**53 ns, a hundred days.
        for column, taken in enumerate(np.diff(calls[:, _STARTED : _ENDED + 1]).T, 1):
            sums = np.bincount(place, weights=taken, minlength=len(_SIZES))
            table[:, column] += sums.astype(np.int64)

    def _answered(self, calls: Any, received: Any, queued: Any) -> Iterator[bool]:
        """Count calls that did not fail, and the members of all of them."""
        counts, rows, started, joined, inferred, ended = calls.T[:_CUTS]
        cells = self._array
        lag = perf_counter_ns() - int(ended[-1])
        cells[Cell.LAST_MS] = (time_ns() - lag) // 1_000_000
        cells[Cell.ITEMS] += rows.sum()
        cells[Cell.INPUT_NS] += ((joined - started) * counts).sum()
        cells[Cell.INFER_NS] += ((inferred - joined) * counts).sum()
        cells[Cell.OUTPUT_NS] += ((ended - inferred) * counts).sum()
        cells[_PLACE[Outcome.SUCCESS]] += len(received)
        shared = np.stack((joined - started, inferred - joined, (ended - inferred) // counts))
        if len(received) > len(calls):
            self._add(self._shared, shared, counts)
            yield True
            until, began = np.repeat((ended, started), counts, axis=1)
        else:
            self._add(self._shared, shared)
            until, began = ended, started
        waits = self._waits(began, queued, ended, counts)
        self._add(self._own, np.stack((until - received, queued - received, *waits)))

    def _waits(self, started: Any, queued: Any, ended: Any, counts: Any) -> tuple[Any, ...]:  # noqa: ARG002 - for those who tell two kinds of waiting apart
        """What members waited."""
        return (started - queued,)

    def _add(self, firsts: Any, taken: Any, times: Any = None) -> None:
        """Count durations, a row a histogram; each so many `times`."""
        cells = self._array
        places = places_of(taken)
        places += firsts
        if times is None:
            cells += np.bincount(places.ravel(), minlength=len(cells))
            cells[firsts[:, 0] + CELLS] += taken.sum(axis=1)
        else:
            every = np.tile(times, len(taken))
            counts = np.bincount(places.ravel(), weights=every, minlength=len(cells))
            cells += counts.astype(np.int64)
            cells[firsts[:, 0] + CELLS] += taken @ times

    def answered(self, taken_ns: int) -> None:
        """A request that was answered without a call of the batcher."""
        cells = self.cells
        cells[_PLACE[Outcome.SUCCESS]] += 1
        cells[_FIRST[Stage.TOTAL] + place_of(taken_ns)] += 1
        cells[_FIRST[Stage.TOTAL] + CELLS] += taken_ns
        cells[Cell.LAST_MS] = time_ns() // 1_000_000

    def ended(self, outcome: Outcome, taken_ns: int) -> None:
        """A request that was not answered with a prediction."""
        cells = self.cells
        cells[_PLACE[outcome]] += 1
        if outcome is not _CANCELLED:
            cells[_FAIL_NS] += taken_ns


class WaitRecorder(Recorder):
    """Of a model whose batches wait for company: it tells that from waiting for the engine."""

    _own = _firsts(*_OWN, Stage.WAIT)

    def __init__(self, cells: memoryview) -> None:
        super().__init__(cells)
        self._free = 0  # when the engine became free, same clock as the members'

    def _waits(self, started: Any, queued: Any, ended: Any, counts: Any) -> tuple[Any, ...]:
        free = np.repeat(np.concatenate(([self._free], ended[:-1])), counts)
        self._free = int(ended[-1])
        # From then on nobody but company was waited for.
        alone = np.minimum(np.maximum(queued, free), started)
        return alone - queued, started - alone


@dataclass(frozen=True, slots=True)
class BatchRow:
    """Engine calls of one batch size, and their nanoseconds."""

    size: int
    calls: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0

    def since(self, before: "BatchRow") -> "BatchRow":
        """The calls after `before`."""
        return BatchRow(
            self.size,
            self.calls - before.calls,
            self.input_ns - before.input_ns,
            self.infer_ns - before.infer_ns,
            self.output_ns - before.output_ns,
        )


@dataclass(frozen=True, slots=True)
class Numbers:
    """One model's numbers, of one worker or summed over all."""

    outcomes: dict[Outcome, int]
    cuts: dict[Cut, int]
    stages: dict[Stage, Histogram]
    batches: tuple[BatchRow, ...]
    items: int
    calls: int
    waiting: int
    last_ms: int
    fail_ns: int
    input_ns: int
    infer_ns: int
    output_ns: int

    @property
    def failures(self) -> int:
        """Requests that were answered with an error."""
        ours = (Outcome.INVALID, Outcome.REJECTED, Outcome.EXPIRED, Outcome.FAILED)
        return sum(self.outcomes[outcome] for outcome in ours)

    def since(self, before: "Numbers") -> "Numbers":
        """What was counted after `before`; gauges stay as they are."""
        old = {row.size: row for row in before.batches}
        batches = (row.since(old.get(row.size, BatchRow(row.size))) for row in self.batches)
        return Numbers(
            outcomes={name: n - before.outcomes[name] for name, n in self.outcomes.items()},
            cuts={name: n - before.cuts[name] for name, n in self.cuts.items()},
            stages={name: one.since(before.stages[name]) for name, one in self.stages.items()},
            batches=tuple(row for row in batches if row.calls),
            items=self.items - before.items,
            calls=self.calls - before.calls,
            waiting=self.waiting,
            last_ms=self.last_ms,
            fail_ns=self.fail_ns - before.fail_ns,
            input_ns=self.input_ns - before.input_ns,
            infer_ns=self.infer_ns - before.infer_ns,
            output_ns=self.output_ns - before.output_ns,
        )


def read(block: Block, index: int) -> Numbers:
    """The numbers of a region, over all workers."""
    each = block.each(index)
    return numbers_of([int(value) for value in each.sum(axis=0)], int(each[:, Cell.LAST_MS].max()))


def numbers_of(cells: Sequence[int], last_ms: int = 0) -> Numbers:
    """The numbers of one region's cells: one worker's, or a sum of them."""
    return Numbers(
        outcomes={outcome: cells[place] for outcome, place in _PLACE.items()},
        cuts={cut: cells[place] for cut, place in _CUT.items()},
        stages={stage: histogram_of(cells, first) for stage, first in _FIRST.items()},
        batches=tuple(_batches(cells)),
        items=cells[Cell.ITEMS],
        calls=cells[Cell.CALLS],
        waiting=cells[Cell.WAITING],
        last_ms=last_ms or cells[Cell.LAST_MS],
        fail_ns=cells[Cell.FAIL_NS],
        input_ns=cells[Cell.INPUT_NS],
        infer_ns=cells[Cell.INFER_NS],
        output_ns=cells[Cell.OUTPUT_NS],
    )


def _batches(cells: Sequence[int]) -> list[BatchRow]:
    rows = []
    for place, size in enumerate(_SIZES):
        row = Cell.BATCHES + _ROW * place
        if cells[row]:
            rows.append(BatchRow(size, *cells[row : row + _ROW]))
    return rows
