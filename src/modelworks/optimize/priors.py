"""What to try first: how much passes have gained on models of a kind, on CPUs of today.

They order the search and decide nothing: what is slow here is found to be so. The figures are ours
(docs/optimize.md), one thread, against ONNX Runtime's float32.
"""

from fnmatch import fnmatchcase
from typing import Final

from modelworks.core.optimizing.passes import PassFacts
from modelworks.core.optimizing.variants import Objective
from modelworks.optimize.sketch import Kind

_GAINS: Final[dict[Kind, tuple[tuple[str, float], ...]]] = {
    Kind.TREES: (("trees*", 3.0), ("ort_optimize", 1.05)),
    Kind.DENSE: (
        ("low_rank", 8.0),
        ("prune_*", 5.0),
        ("litert_int8*", 4.5),
        ("int8_trained", 2.4),
        ("int8_*", 2.5),
        ("distil*", 2.2),
        ("weights_int4", 2.0),
        ("nncf_int8", 1.7),
        ("nncf_weights", 1.6),
        ("litert", 1.1),
    ),
    Kind.CONV: (
        ("distil*", 2.5),
        ("prune_*", 2.4),
        ("int8_static", 2.0),
        ("int8_trained", 1.9),
        ("nncf_int8", 1.6),
        ("cascade", 1.5),
        ("openvino", 1.1),
        ("int8_dynamic", 0.1),
    ),
    Kind.ATTENTION: (
        ("nncf_int8", 2.8),
        ("nncf_weights", 2.4),
        ("int8_dynamic", 1.9),
        ("int8_static", 1.6),
        ("openvino", 1.2),
        ("transformer_fusions", 1.05),
    ),
    Kind.RECURRENT: (("int8_dynamic", 1.8), ("openvino", 1.2)),
    Kind.OTHER: (),
}
_SIZES: Final = (("*int4*", 6.0), ("*int8*", 3.8), ("distil*", 3.0), ("*16", 2.0), ("*prune*", 2.0))
_EXACT, _LOSSY = 1.02, 1.2


def expected(kind: Kind, objective: Objective, steps: tuple[PassFacts, ...]) -> float:
    """About how many times better a form may be; several passes share their merit."""
    if not steps:
        return 1.0
    single = [_one(kind, objective, step) for step in steps]
    best = max(single)
    others = [value for value in single if value > 1.1 and value is not best]
    for value in others:
        best *= value**0.5
    return best


def _one(kind: Kind, objective: Objective, step: PassFacts) -> float:
    if objective is Objective.SIZE:
        table: tuple[tuple[str, float], ...] = _SIZES
    else:
        table = _GAINS[kind]
    for pattern, value in table:
        if fnmatchcase(step.name, pattern):
            return value
    return _EXACT if step.exact else _LOSSY
