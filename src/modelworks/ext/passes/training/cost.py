"""About how long it takes to teach a whole net; for the plan of a search, read without PyTorch."""

from typing import Final

from modelworks.core.optimizing.passes import PassJob

_BATCH: Final = 64
_THRICE: Final = 3  # forwards, and twice as much backwards
_USED: Final = 16  # times that a weight of a convolution is used in a picture, and more


def seconds(job: PassJob, begin_s: float, step_s: float, multiplied: float) -> float:
    """Of `settings["steps"]` updates of all weights.

    Args:
        job: the net's file tells its weights, its signature whether it sees pictures.
        begin_s: before the first update.
        step_s: of an update, apart from its arithmetic.
        multiplied: multiplications a second, of one thread.
    """
    weights = sum(each.stat().st_size for each in job.source.rglob("*")) / 4
    images = any(len(spec.shape) > 2 for spec in job.signature.inputs)
    each = _THRICE * _BATCH * weights * (_USED if images else 1)
    return begin_s + float(job.settings["steps"]) * (step_s + each / multiplied)
