"""What a reference finds in some of its rows, to say of others whether they are like them."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelworks.monitor.drift import derive
from modelworks.monitor.drift.derive import Kind
from modelworks.monitor.drift.reference import Source
from modelworks.protocol.records.describing import marks_of
from modelworks.stats.clusters import centres

FEATURES: Final = frozenset({".unknown", ".cluster", ".nearest"})
"""Endings of what is derived by what was found."""
_WORDS: Final = 200_000


def fitted(source: Source, column: Any, rows: NDArray[np.int64], seed: int) -> Any:
    """The hashes of a text's words, the centres of a long vector's clusters; None = neither.

    Args:
        source: of any kind.
        column: of all rows.
        rows: in which to look. The features that are derived from what is found are counted over
            the others, for of these rows everything is known.
        seed: of the clusters.
    """
    if source.kind is Kind.TEXT:
        found: set[int] = set()
        for row in rows.tolist():
            if isinstance(column[row], str) and len(found) < _WORDS:
                found |= marks_of(column[row])
        return np.array(sorted(found), np.uint32)
    if source.kind is not Kind.VECTOR or source.width <= derive.SHORT:
        return None
    vectors = derive.matrix(column, source.width)[rows]
    vectors = vectors[np.isfinite(vectors).all(1)]
    return centres(vectors, seed) if len(vectors) else None
