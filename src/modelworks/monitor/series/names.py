"""Which series are kept together, and what becomes of each when windows are made longer. Pure."""

from enum import StrEnum
from typing import Final

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400
RESOLUTIONS: Final = (MINUTE, HOUR, DAY)
"""Seconds of a window; each is rolled up from the one before."""

_TRAFFIC: Final = frozenset({"requests", "errors", "rejected", "invalid"})
_COUNTS: Final = _TRAFFIC | {"predictions", "records", "feedback", "quality_rows", "business_rows"}
_DATA: Final = frozenset({"missing", "out_of_range", "new_category", "wrong_type"})
STAGES: Final = ("latency", "queue", "compute")
"""Each has `STAGE_bucket` (label `le`, seconds) and `STAGE_sum`, from which its figures come."""

PARTS: Final = (
    "traffic",
    "buckets",
    "drift",
    "data",
    "quality",
    "business",
    "system",
    "other",
)
"""What `part_of` answers."""


class Roll(StrEnum):
    """What longer windows are made of."""

    SUM = "sum"
    MEAN = "mean"  # of the windows that have a value
    MAX = "max"
    DERIVED = "derived"  # from the buckets of the longer window: never a mean of percentiles


def part_of(name: str) -> str:
    """The series that lie in the same chunks: what is asked for together."""
    if name in _TRAFFIC or name.endswith("_ms"):
        return "traffic"
    if name.endswith(("_bucket", "_sum")):
        return "buckets"
    if name.startswith("drift"):
        return "drift"
    if name in _DATA:
        return "data"
    first = name.partition("_")[0]
    if first in {"quality", "business"}:
        return first
    return "system" if name.startswith(("host_", "process_", "model_")) else "other"


def roll_of(name: str) -> Roll:
    """How a series of this name is rolled up."""
    if name in _COUNTS or name.endswith(("_bucket", "_sum", "_total")):
        return Roll.SUM
    stage, _, rest = name.partition("_")
    if stage in STAGES and rest in {"p50_ms", "p90_ms", "p99_ms", "mean_ms"}:
        return Roll.DERIVED
    return Roll.MAX if name.endswith("_max") else Roll.MEAN
