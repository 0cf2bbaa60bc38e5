"""Requests with a trace, one a bucket of a model's latency histogram: exemplars of OpenMetrics.

Only a request whose caller keeps a trace of it pays for them (`edge.request.Sampled`). Each worker
has its own: a scrape shows those of the worker that answers it.
"""

import time
from time import perf_counter_ns
from typing import Final

from modelworks.edge.trace import trace_of
from modelworks.protocol.openmetrics import Exemplar, placed
from modelworks.serving.metrics import BOUNDS
from modelworks.serving.traces import Kept

_BOUNDS: Final = tuple(float(label) for _, label in BOUNDS)
_LABELS: Final = (*(label for _, label in BOUNDS), "+Inf")
_MODELS: Final = 2048

Key = tuple[str, str]


class Examples:
    """The newest of each bucket, by model and version.

    Attributes:
        found: what `metrics.families` shows.
    """

    def __init__(self) -> None:
        self.found: dict[Key, dict[str, Exemplar]] = {}

    def take(self, request: Kept, model: Key) -> None:
        """An answer that was just given."""
        taken = (perf_counter_ns() - request.received_ns) / 1e9
        trace = trace_of(request.headers)
        if trace is None:
            return
        mine = self.found.get(model)
        if mine is None:
            if len(self.found) >= _MODELS:
                return
            mine = self.found[model] = {}
        label = _LABELS[placed(taken, _BOUNDS)]
        mine[label] = Exemplar({"trace_id": trace.trace_id}, taken, time.time())
