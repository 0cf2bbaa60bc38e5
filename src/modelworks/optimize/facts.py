"""What is known before anything is tried: the passes that are here, and what speaks against them.

Facts of passes are read in a child process and remembered: to import all their libraries takes
longer than many a search.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from modelworks.core import codec, digest
from modelworks.core.errors import InvalidError, ModelworksError, NotFoundError
from modelworks.core.files import replace_text
from modelworks.core.optimizing.passes import Need, PassFacts, Setting
from modelworks.core.optimizing.variants import Hardware, Objective
from modelworks.optimize.sketch import Kind
from modelworks.plugins.load import available
from modelworks.sandbox import jobs
from modelworks.sandbox.jobs import Job
from modelworks.sandbox.limits import GIB, Limits
from modelworks.sandbox.watch import Outcome

Runner = Callable[[Job, Callable[[str], None] | None], Outcome]

_LIMITS: Final = Limits(memory_bytes=16 * GIB, cpu_seconds=240, wall_seconds=240.0)
_LOWERING: Final = ("*int8*", "*int4*", "*fp16*", "*bf16*", "mixed_precision", "nncf_*")
_FACTORS: Final = ("low_rank",)  # smaller by arithmetic: seconds, and nothing is rounded
_EXTRA: Final = re.compile(r"^([A-Za-z0-9._-]+).*extra == ['\"]([a-z0-9-]+)['\"]")

# First pass, a later one, why not. Names may have wildcards.
_PAIRS: Final = (
    ("ort_optimize", "*", "what ONNX Runtime fused for itself is read by nothing else"),
    ("magnitude", "*int8*", "zeros of single weights make nothing smaller or faster after int8"),
    ("cascade", "*", "a cascade is of forms that are finished"),
    ("trees", "*", "trees that were taken out of their graph are finished"),
)


_NETWORKS: Final = frozenset(Kind) - {Kind.TREES}
_OF_NETWORKS: Final = "it is for networks, and this is an ensemble of trees"

# Pass, kinds of models that it can do something for, why not for others.
_KINDS: Final = (
    (
        "trees*",
        frozenset({Kind.TREES, Kind.OTHER}),
        "it is for ensembles of trees, and here are none",
    ),
    *((name, _NETWORKS, _OF_NETWORKS) for name in (*_LOWERING, "litert*", "openvino*", "prune_*")),
    *((name, _NETWORKS, _OF_NETWORKS) for name in ("low_rank", "magnitude", "weights_*")),
    ("transformer_fusions", frozenset({Kind.ATTENTION, Kind.OTHER}), "there is no attention here"),
)


@dataclass(frozen=True, slots=True)
class Known:
    """The passes of this installation.

    Attributes:
        facts: of those that can be used, by name.
        absent: why others cannot, by name: the sentence names the cure.
    """

    facts: Mapping[str, PassFacts]
    absent: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Have:
    """What a run can give its passes.

    Attributes:
        rows: there are rows to calibrate by.
        labels: they have labels.
        hardware: of this machine.
        objective: that is asked for.
        kind: of model.
    """

    rows: bool
    labels: bool
    hardware: Hardware
    objective: Objective
    kind: Kind = Kind.OTHER


def known_passes(
    names: Sequence[str], memory: Path, work: Path, runner: Runner = jobs.run
) -> Known:
    """Read what passes say of themselves.

    Args:
        names: that are wanted; none = all that are installed.
        memory: file that remembers facts; it is written anew where some were read.
        work: an empty folder for the child.
        runner: `sandbox.jobs.run`.

    Raises:
        NotFoundError: a name that no installed pass has.
    """
    points = available("passes")
    unknown = sorted(set(names) - set(points))
    if unknown:
        raise NotFoundError(
            f"no pass '{unknown[0]}' (installed: {', '.join(sorted(points)) or 'none'})",
            field="passes",
        )
    wanted = sorted(names or points)
    marks = {name: _mark(points[name].value) for name in wanted}
    remembered = _remembered(memory)
    found = {name: one for name in wanted if (one := _known(remembered.get(name), marks[name]))}
    absent: dict[str, str] = {}
    fresh = [name for name in wanted if name not in found]
    read = _read(fresh, work, runner, absent)
    found.update(read)
    if read:
        told = {name: {"mark": marks[name], "facts": codec.encode(read[name])} for name in read}
        with suppress(OSError):  # a full disk is said where something is lost by it
            replace_text(memory, json.dumps(remembered | told))
    return Known(found, absent)


def _read(
    names: Sequence[str], work: Path, runner: Runner, absent: dict[str, str]
) -> dict[str, PassFacts]:
    """In one child; where that dies, without the pass that it was at."""
    left = list(names)
    while left:
        told: list[str] = []
        job = Job("modelworks.optimize.child:facts", {"names": left}, work, _LIMITS)
        try:
            value = runner(job, told.append).value
        except ModelworksError as error:
            at = told[-1] if told and told[-1] in left else left[0]
            absent[at] = f"the pass {at} cannot be loaded: {error.message}"
            left.remove(at)
            continue
        for name, library in value["missing"].items():
            absent[name] = missing(name, str(library))
        for name, why in value["broken"].items():
            absent[name] = f"the pass {name} cannot be loaded: {why}"
        return {name: _decoded(data) for name, data in value["facts"].items()}
    return {}


def missing(name: str, library: str) -> str:
    """What is said of a pass whose library is not installed."""
    extra = _extra_of(library)
    cure = f': pip install "modelworks[{extra}]"' if extra else ""
    return f"the pass {name} needs {library}, which is not installed{cure}"


def _extra_of(library: str) -> str:
    """The extra that brings a library; those of this shop first."""
    wanted = library.partition(".")[0].replace("_", "-").lower()
    try:
        lines = requires("modelworks") or []
    except PackageNotFoundError:
        return ""
    matches = [found for line in lines if (found := _EXTRA.match(line)) is not None]
    extras = [one[2] for one in matches if one[1].replace("_", "-").lower() == wanted]
    return min(extras, key=lambda extra: (not extra.startswith("optimize"), extra), default="")


def _mark(value: str) -> str:
    """What is another when a pass's code is."""
    module = value.partition(":")[0]
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):  # a package above it is gone: loading it says so
        return value
    if spec is None or spec.origin is None:
        return value
    origin = Path(spec.origin)
    entries = digest.tree(origin.parent if origin.name == "__init__.py" else origin)
    return digest.of_entries([(value, ""), *(e for e in entries if e[0].endswith(".py"))])


def _remembered(memory: Path) -> dict[str, Any]:
    try:
        data = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _known(told: Any, mark: str) -> PassFacts | None:
    """Remembered facts; None = of other code, of another Modelworks, or damaged."""
    try:
        return _decoded(told["facts"]) if told["mark"] == mark else None
    except (InvalidError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _decoded(data: Mapping[str, Any]) -> PassFacts:
    plain = {name: value for name, value in data.items() if name not in {"needs", "settings"}}
    settings = tuple(_setting(one) for one in data["settings"])
    needs = frozenset(Need(one) for one in data["needs"])
    return replace(codec.decode(PassFacts, plain), needs=needs, settings=settings)


def _setting(data: Any) -> Setting:
    found = codec.decode(Setting, data)
    default = found.default
    return replace(found, default=tuple(default)) if isinstance(default, list) else found


def versions(facts: PassFacts) -> dict[str, str]:
    """Versions of the libraries that a pass works with; `-` = not installed."""
    found = {}
    for name in facts.libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "-"
    return found


def lowers(facts: PassFacts) -> bool:
    """Whether a pass stores or computes numbers with fewer bits."""
    named = any(fnmatchcase(facts.name, one) for one in _LOWERING)
    return not facts.exact and (facts.keeps or named) and facts.name not in _FACTORS


def shrinks(facts: PassFacts) -> bool:
    """Whether a pass makes another, smaller network."""
    return not facts.exact and not lowers(facts) and not facts.size_only


def trains(facts: PassFacts) -> bool:
    """Whether the smaller network has to learn, which takes minutes."""
    return shrinks(facts) and facts.name not in _FACTORS


def against_pass(facts: PassFacts, have: Have) -> str:
    """Why a pass is not tried at all; empty = it may be."""
    name, lacking = facts.name, [f for f in facts.hardware if f not in have.hardware.features]
    sizes = have.objective is Objective.SIZE
    kinds = next((one for one in _KINDS if fnmatchcase(name, one[0])), ("", set(Kind), ""))
    reasons = (
        (have.kind not in kinds[1], f"{name}: {kinds[2]}"),
        (bool(facts.unsearched), f"{name}: {facts.unsearched}"),
        (not facts.verified, f"what {name} writes cannot be run here: no search chooses it"),
        (
            facts.size_only and not sizes,
            f"{name} makes files smaller and nothing faster: --objective size tries it",
        ),
        (bool(lacking), f"{name} needs {', '.join(lacking)}, which this machine has not"),
        (
            Need.LABELS in facts.needs and not have.labels,
            f"{name} needs rows with labels: --calibration FILE --label COL",
        ),
        (
            Need.ROWS in facts.needs and not have.rows,
            f"{name} needs rows to calibrate by: --calibration FILE",
        ),
    )
    return next((words for speaks, words in reasons if speaks), "")


def against_order(steps: Iterable[PassFacts]) -> str:
    """Why one pass after the other does no good; empty = it may."""
    seen: list[PassFacts] = []
    for step in steps:
        for first in seen:
            if first.name == step.name:
                return f"{step.name} twice is {step.name} once"
            if lowers(first) and lowers(step):
                return f"{step.name} after {first.name} rounds twice and gains once"
            for one, other, why in _PAIRS:
                if fnmatchcase(first.name, one) and fnmatchcase(step.name, other):
                    return f"{step.name} after {first.name}: {why}"
        if seen and seen[-1].produces not in step.consumes:
            return f"{step.name} does not read what {seen[-1].name} writes"
        seen.append(step)
    return ""
