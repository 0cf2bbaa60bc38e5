"""Whether rows of a call can be answered apart: what decides if callers of a server share calls."""

from typing import Final

import numpy as np

from modelworks.core.errors import ModelworksError
from modelworks.core.seams import Session
from modelworks.core.tensor import Tensors
from modelworks.protocol.nearness import near

MIXED: Final = (
    "what a row is answered depends a little on the rows beside it: a server gives every request a "
    "call of its own, and callers who ask at the same time share none"
)
_ROWS: Final = 3
_ABSOLUTE, _RELATIVE = 1e-5, 1e-3  # as the server asks when it loads a model


def noted(session: Session, given: Tensors) -> list[str]:
    """What is to be known of a form in this; empty = its rows can be answered apart."""
    return [MIXED] if mixed(session, given) else []


def mixed(session: Session, given: Tensors) -> bool:
    """Whether what a row is answered depends on the rows beside it, as a server finds out too.

    Args:
        session: of a form.
        given: a call; the first few of its rows are taken.
    """
    count = min(_ROWS, *(len(array) for array in given.values()))
    signature = session.signature
    if count < 2 or not signature.batch_axis:
        return False
    parts = [slice(row, row + 1) for row in range(count)]
    try:
        together, *alone = (
            # A copy: an engine may keep what it gave.
            [np.array(one) for one in session.infer({n: a[part] for n, a in given.items()})]
            for part in (slice(count), *parts)
        )
    except ModelworksError:  # said where it is called as it was asked to be
        return False
    return not all(
        near(every[part], one, spec.datatype, _ABSOLUTE, _RELATIVE)
        for part, outputs in zip(parts, alone, strict=True)
        for spec, every, one in zip(signature.outputs, together, outputs, strict=True)
    )
