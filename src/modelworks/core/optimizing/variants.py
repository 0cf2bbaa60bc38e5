"""What is wanted of an optimization, what was measured and judged, and the variant it left."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from modelworks.core.errors import InvalidError
from modelworks.core.model import Artifact, Verdict
from modelworks.core.optimizing.recipes import Recipe
from modelworks.core.tensor import Signature

SOURCE: Final = "source"
"""Name of the form that was imported; no variant is called so."""


MOST_BATCHES: Final = 16
"""Numbers of rows that one search measures: each of them gets its share of the time."""

METRICS: Final = ("", "accuracy", "auc", "log_loss", "mae", "rmse")
"""What quality may be measured by."""


class Objective(StrEnum):
    """What a variant is to be best at."""

    P99 = "p99"  # wall time of one call of few rows
    THROUGHPUT = "throughput"  # rows a second, of many rows
    SIZE = "size"  # bytes of the artifact
    MEMORY = "memory"  # bytes that it takes while it runs
    ENERGY = "energy"  # joules a row; refused where nobody can read them
    COST = "cost"  # money a million rows: time times the price of the machine


@dataclass(frozen=True, slots=True)
class Goal:
    """What a user can give and what they want.

    Attributes:
        objective: what is to be best.
        max_drop: of the quality metric, in its own unit (0.005 = half a point); at most.
        confidence: that the drop is not larger, one-sided.
        agreement: share of rows whose label stays; without labels the only thing that is known.
        cosine: of outputs without a meaning (embeddings), mean over the rows; the worst row may be
            as low as `worst_cosine`.
        worst_cosine: see `cosine`.
        gain: ratio to the source form that counts as better; below it a form is not kept.
        batches: numbers of rows in a call that are measured.
        threads: of one call.
        budget_s: seconds for everything.
        price: of an hour of this machine, any currency; for `Objective.COST`.
        metric: of quality; empty = accuracy of classes, mean absolute error of numbers. What falls
            when it gets better (log loss, errors) may rise by `max_drop` of the source's own.
        slice_drop: what `max_drop` is for one declared slice; 0 = the same.
        calibration: that the calibration error may rise by.
    """

    objective: Objective = Objective.P99
    max_drop: float = 0.005
    confidence: float = 0.95
    agreement: float = 0.99
    cosine: float = 0.99
    worst_cosine: float = 0.95
    gain: float = 1.05
    batches: tuple[int, ...] = (1, 16)
    threads: int = 1
    budget_s: float = 600.0
    price: float = 0.0
    metric: str = ""
    slice_drop: float = 0.0
    calibration: float = 0.02

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            InvalidError: a value out of its bounds; `field` names it.
        """
        bounds = {
            "max_drop": (0.0, 1.0),
            "confidence": (0.5, 0.9999),
            "agreement": (0.0, 1.0),
            "cosine": (-1.0, 1.0),
            "worst_cosine": (-1.0, 1.0),
            "gain": (1.0, 1000.0),
            "threads": (1, 1024),
            "budget_s": (1.0, 7 * 86_400.0),
            "price": (0.0, 1e9),
            "slice_drop": (0.0, 1.0),
            "calibration": (0.0, 1.0),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:  # NaN is out of all bounds
                raise InvalidError(f"{name}: {value} is not from {low:g} to {high:g}", field=name)
        if self.metric not in METRICS:
            wanted = ", ".join(METRICS[1:])
            raise InvalidError(f"metric: '{self.metric}' is none of {wanted}", field="metric")
        if not self.batches or any(not 1 <= size <= 65_536 for size in self.batches):
            raise InvalidError("batches: from 1 to 65536 rows are wanted", field="batches")
        if len(set(self.batches)) > MOST_BATCHES:
            raise InvalidError(
                f"batches: {len(set(self.batches))} numbers of rows; at most {MOST_BATCHES} are "
                "measured",
                field="batches",
            )


@dataclass(frozen=True, slots=True)
class Hardware:
    """What something was measured on.

    Attributes:
        processor: as the system calls it.
        features: of it that engines use (`avx2`, `avx512_vnni`), sorted.
        cores: that this process may use.
        kind: class of hardware (`x86-64 avx512_vnni`); a variant is offered to machines of its own.
    """

    processor: str
    features: tuple[str, ...]
    cores: int
    kind: str


@dataclass(frozen=True, slots=True)
class BatchTime:
    """Calls of one number of rows, beside the source form's in the same rounds.

    Attributes:
        rows: of a call.
        ratio: how many times faster than the source form: median over the rounds of the ratio of
            CPU times.
        low: lower end of its interval.
        high: upper end.
        cpu_us: CPU microseconds a call: lower quartile, median, upper quartile.
        wall_us: wall microseconds a call: the same.
        p99_us: wall microseconds that 99 of 100 calls stay below.
        calls: that were measured.
        wall_ratio: the same as `ratio`, `low`, `high`, of wall times; of more than one thread this
            is what a caller sees.
    """

    rows: int
    ratio: float
    low: float
    high: float
    cpu_us: tuple[float, float, float]
    wall_us: tuple[float, float, float]
    p99_us: float
    calls: int
    wall_ratio: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One form on one machine.

    Attributes:
        hardware: where.
        threads: of one call.
        times: by number of rows, rising.
        load_s: seconds to load it.
        memory_bytes: resident memory that loading and calls added.
        size_bytes: of the artifact.
        noise: the source form against itself in the same rounds: how far the ratio was from 1.
        energy_j: joules a row at the largest batch; None = nobody can read them here.
        notes: what is to be known beside the figures: noise, calls that others disturbed.
    """

    hardware: Hardware
    threads: int
    times: tuple[BatchTime, ...]
    load_s: float
    memory_bytes: int
    size_bytes: int
    noise: float = 0.0
    energy_j: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition that a form met or missed.

    Attributes:
        name: `accuracy`, `agreement`, `cosine`, `calibration`, `latency`...
        verdict: how it ended; SKIPPED says why in `summary`.
        summary: one sentence with the figures.
        slice: of the rows; empty = all of them.
        value: what was seen.
        low: lower end of its interval.
        high: upper end.
        limit: what it was held against.
    """

    name: str
    verdict: Verdict
    summary: str
    slice: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None


class Ending(StrEnum):
    """What became of a candidate."""

    KEPT = "kept"  # it passed every gate
    REFUSED = "refused"  # a gate
    SLOWER = "slower"  # not better than the source form, or than something kept
    FAILED = "failed"  # a pass or the engine; `why` is its message
    PRUNED = "pruned"  # not tried: a known fact speaks against it, or the time was over


@dataclass(frozen=True, slots=True)
class Finding:
    """One candidate and what became of it.

    Attributes:
        recipe: of it.
        ending: how it ended.
        why: one sentence.
        gates: that were tried.
        measured: None = it was not.
        seconds: that it took.
        worst: rows whose answers differ most: place among the rows of evaluation, both answers.
        variant: its name, where it was kept.
        parts: where its values part from the source form's, of a form that a gate refused; empty =
            nobody looked, or it cannot be told.
    """

    recipe: Recipe
    ending: Ending
    why: str
    gates: tuple[Gate, ...] = ()
    measured: Measurement | None = None
    seconds: float = 0.0
    worst: tuple[dict[str, Any], ...] = ()
    variant: str = ""
    parts: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """One optimized form of a version, for one class of hardware.

    Attributes:
        model: its name.
        version: its number.
        name: within the version: letters, digits, `-`, `_`, `.`; at most 64.
        recipe: how it was made.
        artifact: its bytes.
        signature: the version's, or what the form narrows of it.
        measurement: how fast it is.
        source: the same of the source form, in the same run.
        gates: that it passed.
        goal: it was made for.
        environment: library -> version.
        front: no other variant of the run is at least as good in everything and better in one.
        created_ns: UTC nanoseconds.
        actor: who asked for it.
    """

    model: str
    version: str
    name: str
    recipe: Recipe
    artifact: Artifact
    signature: Signature
    measurement: Measurement
    source: Measurement
    gates: tuple[Gate, ...]
    goal: Goal
    environment: dict[str, str] = field(default_factory=dict)
    front: bool = True
    created_ns: int = 0
    actor: str = ""

    @property
    def ref(self) -> str:
        """`fraud:1.2.0#int8`."""
        return f"{self.model}:{self.version}#{self.name}"
