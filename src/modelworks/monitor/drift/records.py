"""Records as the columns that a reference knows."""

from collections.abc import Mapping
from typing import Any, Final

from modelworks.core.records import Batch

_INPUTS: Final = "in."
_OUTPUTS: Final = "out."


def columns_of(batch: Batch) -> Mapping[str, Any]:
    """Inputs under their own names, outputs as `out.NAME`; refused requests have no line."""
    status = batch.columns.get("status")
    kept = None if status is None else status < 400
    whole = kept is None or bool(kept.all())
    found = {}
    for name, column in batch.columns.items():
        if name.startswith(_INPUTS):
            found[name.removeprefix(_INPUTS)] = column if whole else column[kept]
        elif name.startswith(_OUTPUTS):
            found[name] = column if whole else column[kept]
    return found
