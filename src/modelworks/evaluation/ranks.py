"""Metrics of rankings: the first k items of each query.

Sources: NDCG: Jarvelin and Kekalainen, ACM TOIS 20 (2002), with gains equal to the relevance and
logarithms of base 2; equal scores share the mean of their places' discounts (McSherry and Najork,
ECIR 2008). In all other metrics equal scores count against the model: the relevant item comes last.
"""

from typing import Any, Final

import numpy as np

from modelworks.core.errors import InvalidError
from modelworks.evaluation.measured import Measured, average, proportion
from modelworks.evaluation.predictions import Predictions
from modelworks.stats.intervals import LEVEL, Floats

TOP: Final = 10


def of_ranks(given: Predictions, level: float = LEVEL, top: int = TOP) -> list[Measured]:
    """NDCG@k, MAP@k, MRR, recall@k and hit rate@k: means over the queries.

    A query without a relevant item has no value and is left out. MAP@k divides by the number of
    relevant items, at most k; MRR looks at the whole list.

    Args:
        given: of a ranking.
        level: of the intervals, the queries being the rows.
        top: k.

    Raises:
        InvalidError: k below 1.
    """
    if top < 1:
        raise InvalidError(f"top: {top} is below 1", field="top")
    relevance, queries = given.truth, given.queries
    order = np.lexsort((relevance, -given.scores, queries))  # ties: the least relevant first
    query, gain, score = queries[order], relevance[order], given.scores[order]
    count = int(queries.max()) + 1
    starts = np.searchsorted(query, np.arange(count))
    rank = np.arange(len(query)) - starts[query]  # 0 = the first
    hit, shown = gain > 0, rank < top
    relevant = np.bincount(query, hit, count)
    running = np.cumsum(hit)
    before = np.concatenate([[0], running])[starts]
    precision = (running - before[query]) / (rank + 1)

    def per_query(values: Floats) -> Floats:
        found: Floats = np.bincount(query, values, count).astype(np.float64)
        return found

    with np.errstate(all="ignore"):
        ndcg = per_query(gain * _shared(query, score, rank, top)) / _ideal(given, top)
        mean = per_query(precision * (hit & shown)) / np.minimum(relevant, top)
        found = per_query(hit & shown) / relevant
        first = np.full(count, np.inf)
        np.minimum.at(first, query[hit], rank[hit])
        reciprocal = 1 / (first + 1)
    some = relevant > 0
    ones = np.ones(count)

    def named(name: str, values: Floats) -> Measured:
        return average(name, np.where(some, values, np.nan), ones, level)

    return [
        named(f"ndcg@{top}", ndcg),
        named(f"map@{top}", mean),
        named("mrr", reciprocal),
        named(f"recall@{top}", found),
        proportion(f"hit_rate@{top}", _ones(some & (first < top)), _ones(some), level),
    ]


def _ones(mask: Any) -> Floats:
    return np.asarray(mask, np.float64)


def _discounts(places: Floats, top: int) -> Floats:
    return np.where(places < top, 1 / np.log2(places + 2), 0.0)


def _shared(query: Floats, score: Floats, rank: Floats, top: int) -> Floats:
    """The discount of each place, equal scores of a query sharing theirs."""
    same = (query[1:] == query[:-1]) & (score[1:] == score[:-1])
    run = np.cumsum(np.concatenate([[0], ~same]))
    sums = np.bincount(run, _discounts(rank, top))
    found: Floats = (sums / np.bincount(run))[run]
    return found


def _ideal(given: Predictions, top: int) -> Floats:
    """The best that each query could reach."""
    order = np.lexsort((-given.truth, given.queries))
    query, gain = given.queries[order], given.truth[order]
    starts = np.searchsorted(query, np.arange(int(query.max()) + 1))
    rank = np.arange(len(query)) - starts[query]
    return np.bincount(query, gain * _discounts(rank, top)).astype(np.float64)
