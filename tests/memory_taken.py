"""How much memory code of ours takes, by Python's own count; what others do meanwhile left out."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def counted(file: str) -> Iterator[Callable[[], int]]:
    """Count from here on; the call gives the bytes that are still held.

    Args:
        file: of the test: what it allocates itself counts too (`__file__`). A process that has run
            thousands of tests has threads and libraries that allocate beside it.
    """
    ours = [tracemalloc.Filter(True, one) for one in ("*/modelworks/*", str(Path(file)))]
    gc.collect()
    tracemalloc.start()
    try:
        before = _held(ours)
        yield lambda: _held(ours) - before
    finally:
        tracemalloc.stop()


def _held(ours: list[tracemalloc.Filter]) -> int:
    gc.collect()
    kept = tracemalloc.take_snapshot().filter_traces(ours)
    return sum(trace.size for trace in kept.traces)
