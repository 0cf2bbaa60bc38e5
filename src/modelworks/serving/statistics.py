"""Counts and latency histograms of one model: what a recorder writes and what a reader sums up."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from time import perf_counter_ns, time_ns
from typing import Final

from modelworks.serving.batcher import Call
from modelworks.serving.block import SERVER, Block
from modelworks.serving.execute import Cut
from modelworks.serving.histograms import CELLS, OCTAVES, Histogram, histogram_of, place_of


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
    CUTS = 32
    HISTOGRAMS = 64
    BATCHES = 816


GAUGES: Final = range(Cell.READY, Cell.LAST_MS)
_OUTCOMES: Final = tuple(Outcome)
_PLACE: Final = {outcome: Cell.OUTCOMES + place for place, outcome in enumerate(_OUTCOMES)}
_CUT: Final = {cut: Cell.CUTS + place for place, cut in enumerate(Cut)}
_STAGES: Final = tuple(Stage)
_FIRST: Final = {s: Cell.HISTOGRAMS + place * (CELLS + 1) for place, s in enumerate(_STAGES)}
_DENSE: Final = 128  # batch sizes up to here are counted one by one
_SIZES: Final = (*range(1, _DENSE + 1), *(2**power for power in range(8, 32)))
_ROW: Final = 4  # calls, input, infer, output


def batch_row(size: int) -> int:
    """The row of batch statistics for a batch of `size`; over 128, the next power of two below."""
    return size - 1 if size <= _DENSE else min(_DENSE + size.bit_length() - 9, len(_SIZES) - 1)


class Recorder:
    """Writes one model's numbers; called on the loop's thread only."""

    def __init__(self, cells: memoryview) -> None:
        self.cells = cells
        for cell in GAUGES:
            cells[cell] = 0

    @classmethod
    def of_model(
        cls, block: Block, name: str, version: str, *, patient: bool = False
    ) -> "Recorder":
        """For one version; `patient`: its batches may wait for company."""
        return (WaitRecorder if patient else cls)(block.region(name, version))

    @classmethod
    def of_server(cls, block: Block) -> "Recorder":
        """For requests that name no model."""
        return cls(block.cells(SERVER))

    def ready(self, *, value: bool) -> None:
        """The gauge of readiness."""
        self.cells[Cell.READY] = value

    def waiting(self, items: int) -> None:
        """The gauge of the queue."""
        self.cells[Cell.WAITING] = items

    def limits(self, size: int, delay_ms: float) -> None:
        """The limits in force."""
        self.cells[Cell.LIMIT] = size
        self.cells[Cell.DELAY_US] = round(1000 * delay_ms)

    def read(self) -> "Numbers":
        """What this worker has counted."""
        return numbers_of(self.cells.tolist())

    def call(self, call: Call) -> None:
        """An engine call and all whom it answered, just now."""
        cells = self.cells
        now = perf_counter_ns()
        members = call.members
        count = len(members)
        rows = call.rows
        cells[4] += 1
        cells[_CUT[call.cut]] += 1
        row = 816 + 4 * (rows - 1 if 0 < rows <= _DENSE else batch_row(max(1, rows)))
        cells[row] += 1
        taken_in = call.joined - call.started
        inferred = call.inferred - call.joined
        taken_out = now - call.inferred
        cells[row + 1] += taken_in
        cells[row + 2] += inferred
        cells[row + 3] += taken_out
        if call.error is not None or not count:
            return
        cells[2] = time_ns() // 1_000_000
        cells[3] += rows
        cells[6] += taken_in * count
        cells[7] += inferred * count
        cells[8] += taken_out * count
        cells[16] += count
        self._stages(call, now)

    def _stages(self, call: Call, now: int) -> None:
        # A bucket is found without a search: `| 4` spares numbers under 4 a case of their own.
        cells = self.cells
        started = call.started
        total = queued = decoded = 0
        for member in call.members:
            received, ready = member.received_ns, member.queued_ns
            taken = now - received
            total += taken
            taken |= 4
            bits = taken.bit_length()
            cells[_TOTAL + OCTAVES[bits] + (taken >> bits - 3)] += 1
            taken = started - ready
            queued += taken
            taken |= 4
            bits = taken.bit_length()
            cells[_QUEUE + OCTAVES[bits] + (taken >> bits - 3)] += 1
            taken = ready - received
            decoded += taken
            taken |= 4
            bits = taken.bit_length()
            cells[_DECODE + OCTAVES[bits] + (taken >> bits - 3)] += 1
        cells[_TOTAL + CELLS] += total
        cells[_QUEUE + CELLS] += queued
        cells[_DECODE + CELLS] += decoded
        self._shared(call, now)

    def _shared(self, call: Call, now: int) -> None:
        """What is the same for every member of a call."""
        cells = self.cells
        count = len(call.members)
        taken = call.joined - call.started
        cells[_GATHER + place_of(taken)] += count
        cells[_GATHER + CELLS] += taken * count
        taken = call.inferred - call.joined
        cells[_COMPUTE + place_of(taken)] += count
        cells[_COMPUTE + CELLS] += taken * count
        taken = now - call.inferred
        cells[_ENCODE + place_of(taken // count)] += count
        cells[_ENCODE + CELLS] += taken

    def ended(self, outcome: Outcome, taken_ns: int) -> None:
        """A request that was not answered with a prediction."""
        self.cells[_PLACE[outcome]] += 1
        if outcome is not Outcome.CANCELLED:
            self.cells[Cell.FAIL_NS] += taken_ns


class WaitRecorder(Recorder):
    """Of a model whose batches wait for company: it tells that from waiting for the engine."""

    def __init__(self, cells: memoryview) -> None:
        super().__init__(cells)
        self._free = 0  # when the engine became free, same clock as the members'

    def _stages(self, call: Call, now: int) -> None:
        cells = self.cells
        started = call.started
        free = min(self._free, started)
        self._free = now
        for member in call.members:
            received, ready = member.received_ns, member.queued_ns
            alone = max(ready, free)  # from here on nobody but company was waited for
            for first, taken in (
                (_TOTAL, now - received),
                (_QUEUE, alone - ready),
                (_WAIT, started - alone),
                (_DECODE, ready - received),
            ):
                cells[first + place_of(taken)] += 1
                cells[first + CELLS] += taken
        self._shared(call, now)


_TOTAL: Final = _FIRST[Stage.TOTAL]
_QUEUE: Final = _FIRST[Stage.QUEUE]
_WAIT: Final = _FIRST[Stage.WAIT]
_DECODE: Final = _FIRST[Stage.DECODE]
_GATHER: Final = _FIRST[Stage.GATHER]
_COMPUTE: Final = _FIRST[Stage.COMPUTE]
_ENCODE: Final = _FIRST[Stage.ENCODE]


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
