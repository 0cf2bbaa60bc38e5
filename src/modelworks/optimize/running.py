"""How a form may be run: options of its engine that are worth a try, where they can do anything.

Pure: what a machine has is told by its features (`optimize.hardware`), and what is not there is not
tried.
"""

from typing import Final

from modelworks.core.optimizing.passes import PassFacts
from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.core.optimizing.variants import Goal, Objective

Options = tuple[tuple[str, str], ...]

PROVIDER: Final = "provider"
_ACCELERATORS: Final = {"cuda": "cuda", "tensorrt": "cuda"}
"""Values of `provider` -> the feature without which there is nothing to be had."""

_PRECISIONS: Final = (
    ("bf16", frozenset({"avx512_bf16", "amx_bf16", "bf16"})),
    ("f16", frozenset({"avx512_fp16", "fp16"})),
)
"""Values of OpenVINO's `precision`, and the features of which one is enough. Without them OpenVINO
computes such numbers in float32, with conversions around."""

_HALVES: Final = ("fp16", "mixed_precision")
_MOST_SIZES: Final = 4  # numbers of rows that an engine compiles for by themselves
_MOST_THREADS: Final = 4


def beside(recipe: Recipe) -> bool:
    """Whether calls are computed beside the processor: its CPU time says nothing of them then."""
    return any(_accelerated(one.run) for one in (recipe, *recipe.parts))


def _accelerated(run: Execution) -> bool:
    return run.engine == "onnxruntime" and dict(run.options).get(PROVIDER, "cpu") != "cpu"


def rounds(recipe: Recipe) -> bool:
    """Whether the way of running alone changes answers by more than another order of sums."""
    return beside(recipe) or any(_coarse(one.run) for one in (recipe, *recipe.parts))


def _coarse(run: Execution) -> bool:
    return run.engine == "openvino" and dict(run.options).get("precision", "f32") != "f32"


def otherwise(
    engine: str,
    goal: Goal,
    features: tuple[str, ...],
    often: tuple[int, ...] | None,
) -> list[Options]:
    """Options that may make a form better at what is wanted.

    Args:
        engine: that runs it.
        goal: what is wanted.
        features: of the machine.
        often: sizes of the inputs' free axes behind that of the rows; None = nobody knows them.
    """
    if engine == "openvino":
        return _of_openvino(goal, features, often)
    if engine != "onnxruntime":
        return []
    found: list[Options] = []
    if goal.objective is Objective.MEMORY:
        found.append((("arena", "off"),))
    if goal.threads > 1:
        threads = str(min(goal.threads, _MOST_THREADS))
        found.append((("execution", "parallel"), ("inter_threads", threads)))
    return [*found, *_accelerators(features)]


def at_once(
    last: PassFacts, goal: Goal, features: tuple[str, ...], often: tuple[int, ...] | None
) -> list[Options]:
    """Options to try a form with although it may be slow without them.

    Half precision is made for accelerators; a float32 network that another engine is slow at may
    be fast in bfloat16.

    Args:
        last: pass of the form's recipe.
        goal: what is wanted.
        features: of the machine.
        often: as for `otherwise`.
    """
    if last.engine == "onnxruntime" and last.name in _HALVES:
        return _accelerators(features)
    if last.engine == "openvino" and last.exact:
        return [one for one in _of_openvino(goal, features, often) if "precision" in dict(one)]
    return []


def sized(engine: str, goal: Goal, often: tuple[int, ...] | None) -> Options:
    """What a form is run with to begin with: OpenVINO compiles once more for the rows of a call.

    Without that a small transformer took 1.7 times as long. Empty for other engines, where nobody
    knows the sizes, and where memory is what is wanted.
    """
    if engine != "openvino" or often is None:
        return ()
    if goal.objective in {Objective.MEMORY, Objective.SIZE}:
        return ()
    return (("reshape", _sizes(goal.batches, often)),)


def _accelerators(features: tuple[str, ...]) -> list[Options]:
    """Options of ONNX Runtime by which it computes beside the processor."""
    return [((PROVIDER, word),) for word, need in _ACCELERATORS.items() if need in features]


def _of_openvino(
    goal: Goal, features: tuple[str, ...], often: tuple[int, ...] | None
) -> list[Options]:
    if goal.objective in {Objective.MEMORY, Objective.SIZE}:
        return []
    sizes = sized("openvino", goal, often)
    words = [word for word, needs in _PRECISIONS if needs.intersection(features)]
    return [*([sizes] if sizes else []), *((("precision", word), *sizes) for word in words)]


def _sizes(batches: tuple[int, ...], often: tuple[int, ...]) -> str:
    """`1x32,16x32`: what OpenVINO's engine compiles for once more."""
    return ",".join("x".join(map(str, (rows, *often))) for rows in batches[:_MOST_SIZES])
