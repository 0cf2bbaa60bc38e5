"""Where does a conversion that failed part from its source? Asked of the importer that made it."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from modelworks.core.imports import Imported
from modelworks.evaluation.parity import ParityReport
from modelworks.evaluation.probes import Probe, narrow

_MOST: Final = 16


def where(imported: Imported, probes: Sequence[Probe], report: ParityReport) -> str:
    """One clause, with what stands before it; "" = nobody knows.

    Args:
        imported: the conversion.
        probes: rows that were compared.
        report: of the comparison.
    """
    if imported.parting is None or not report.worst:
        return ""
    group = report.worst[0].group
    inputs = next((probe.inputs for probe in probes if probe.name == group), None)
    if inputs is None or any(not np.ndim(array) for array in inputs.values()):
        return ""
    rows = [one.row for one in report.worst if one.group == group][:_MOST]
    fixed = {spec.shape[0] for spec in imported.signature.inputs if spec.shape} - {None}
    chosen = rows if not fixed else list(range(max(size or 0 for size in fixed)))
    given = {name: array[chosen] for name, array in inputs.items()}
    found = imported.parting(narrow(given, imported.signature))
    return f"; {found}" if found else ""
