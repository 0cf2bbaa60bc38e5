"""Rows drawn from a signature, for who gave none."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from modelworks.core.imports import Ranges
from modelworks.core.made_up import values_for
from modelworks.core.outer import Plan
from modelworks.core.tensor import Signature
from modelworks.evaluation.probes import generate
from modelworks.evaluation.stepwise import likely

ROWS: Final = 512
_SORTS: Final = ("range", "missing")
_LARGEST: Final = 64 << 20


def drawn(
    signature: Signature, ranges: Mapping[str, Ranges], seed: int, *, missing: bool
) -> dict[str, Any]:
    """Rows as callers might send them.

    Args:
        signature: what callers send.
        ranges: of the features, where they are known; steps say more.
        seed: the same seed gives the same rows.
        missing: some rows have gaps, where the model takes them.
    """
    known = {**likely(Plan(signature, ())), **ranges}
    rows = max(16, min(ROWS, _LARGEST // max(1, _row_bytes(signature))))
    sorts = _SORTS if missing and not signature.steps else _SORTS[:1]
    probes = [p for p in generate(signature, known, seed, rows) if p.name in sorts]
    random = np.random.default_rng(seed)
    found = {}
    for spec in signature.inputs:
        parts = [probe.inputs[spec.name] for probe in probes]
        array = np.concatenate(parts)
        values = values_for(signature.steps, spec.name)
        if values:
            pool = np.empty(len(values), object)
            pool[:] = values
            array = pool[random.integers(0, len(values), array.shape)]
        found[spec.name] = array
    return found


def _row_bytes(signature: Signature) -> int:
    return sum(
        8 * int(np.prod([size or 3 for size in spec.shape[1:]])) for spec in signature.inputs
    )
