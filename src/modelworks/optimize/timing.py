"""How fast forms are on this machine: beside the source form, in the same rounds.

Each form is first loaded and called in a process of its own (`weigh`): what crashes is found there,
and memory is that of one form alone. Those that run are then called in turn in one process, bound
to one core where calls have one thread.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from modelworks.core import codec
from modelworks.core.errors import (
    CrashedError,
    InvalidError,
    ModelworksError,
    UnavailableError,
)
from modelworks.core.optimizing.variants import BatchTime, Goal, Measurement
from modelworks.optimize import arrays, energy, racing, running
from modelworks.optimize.asking import opened, told
from modelworks.optimize.calls import in_child, refuse_empty, sizes_of
from modelworks.optimize.cores import bound, idlest
from modelworks.optimize.forms import Form, Rows
from modelworks.optimize.hardware import accelerators, this_machine
from modelworks.optimize.together import noted
from modelworks.plugins.load import load

NOISE: Final = 0.1
"""The source form may be so far from itself before it is said and, in the time left, repeated."""
_STOLEN: Final = 0.1
_FIRST: Final = 0.7  # of the time; the rest is for what was noisy
_AGAIN: Final = 0.1  # of it has to be left for that
_PATIENCE_S: Final = 60.0
_SEED: Final = 0
_BESIDE: Final = (
    "it computes beside the processor: ratios are of the clock, and memory is that of the host"
)


@dataclass(frozen=True, slots=True)
class Weight:
    """What a form takes alone in a process.

    Attributes:
        load_s: seconds to load it, its engine being imported.
        memory_bytes: resident, added by loading it and by calls of every size.
    """

    load_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Timed:
    """What was measured.

    Attributes:
        source: the source form, in the same rounds.
        forms: one each, in the order asked; a text = why there is none.
        rounds: of each size.
        seconds: that it took.
    """

    source: Measurement
    forms: tuple[Measurement | str, ...]
    rounds: dict[int, int]
    seconds: float


@dataclass(slots=True)
class Scales:
    """Remembers what forms weigh, from one call of `timed` to the next.

    Attributes:
        weights: by form: recipe and folder.
    """

    weights: dict[tuple[str, str], Weight | str] = field(default_factory=dict)


def timed(
    source: Form,
    forms: Sequence[Form],
    rows: Rows,
    goal: Goal,
    into: Path,
    *,
    seconds: float = 20.0,
    scales: Scales | None = None,
) -> Timed:
    """Measure forms against the source form.

    Args:
        source: what others are compared with.
        forms: to be measured.
        rows: that they are called with.
        goal: numbers of rows, threads.
        into: an existing folder for what children write.
        seconds: of calls; loading comes on top.
        scales: of an earlier call: what is known is not weighed again.

    Raises:
        InvalidError: the source form does not run on these rows.
        CrashedError: the source form crashes.
        RefusedError: the source form takes longer than there is time.
    """
    refuse_empty(rows.count)
    began = time.perf_counter()
    scales = scales or Scales()
    order = _Order(source, rows, goal, into, seconds)
    weights = [_weighed(one, order, scales) for one in (source, *forms)]
    first = weights[0]
    if isinstance(first, str):
        raise InvalidError(f"the source form cannot be measured: {first}")
    running = [one for one, weight in zip(forms, weights[1:], strict=True) if _ran(weight)]
    raced, rounds = _raced(running, order)
    found: list[Measurement | str] = []
    left = iter(raced[1:])
    for form, weight in zip(forms, weights[1:], strict=True):
        result = weight if isinstance(weight, str) else next(left)
        if isinstance(result, str) or isinstance(weight, str):
            found.append(str(result))
        else:
            found.append(_measurement(result, weight, form, goal))
    own = _measurement(raced[0], first, source, goal)
    return Timed(own, tuple(found), rounds, time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class _Order:
    source: Form
    rows: Rows
    goal: Goal
    into: Path
    seconds: float

    def arguments(self, forms: Sequence[Form]) -> dict[str, Any]:
        first, *others = [told(one) for one in forms]
        for one in others:
            if one["signature"] == first["signature"]:  # that may name a thousand classes
                del one["signature"]
        return {
            "forms": [first, *others],
            "rows": str(self.rows.inputs.resolve()),
            "sizes": list(sizes_of(self.source.signature, self.goal.batches)),
            "threads": self.goal.threads,
            "seconds": self.seconds,
            "seed": _SEED,
            "by_clock": [running.beside(one.recipe) for one in forms],
        }

    def child(self, name: str, arguments: dict[str, Any], forms: Sequence[Form]) -> dict[str, Any]:
        counters = energy.energy_counters()
        files = (self.rows.inputs, *(one.path for one in counters))
        return in_child(
            f"{__name__}:{name}",
            {**arguments, "counters": energy.told(counters)},
            self.into,
            reads=(*files, *(one.folder for one in forms)),
            seconds=2 * self.seconds + _PATIENCE_S,
            threads=self.goal.threads,
            devices=accelerators() if any(running.beside(one.recipe) for one in forms) else (),
        )


def _ran(weight: Weight | str) -> bool:
    return isinstance(weight, Weight)


def _weighed(form: Form, order: _Order, scales: Scales) -> Weight | str:
    key = (form.recipe.id, str(form.folder))
    if key not in scales.weights:
        try:
            answer = order.child("weigh", order.arguments([form]), [form])
            scales.weights[key] = codec.decode(Weight, answer)
        except UnavailableError:  # a full disk is no fault of the form
            raise
        except ModelworksError as error:
            scales.weights[key] = error.message
    return scales.weights[key]


def _raced(forms: Sequence[Form], order: _Order) -> tuple[list[Any], dict[int, int]]:
    """Figures of the source form and of each form, or why there are none."""
    core = idlest() if order.goal.threads == 1 else None
    everyone = [order.source, *forms]
    arguments = {**order.arguments(everyone), "core": core}
    try:
        answer = order.child("run", arguments, everyone)
    except CrashedError:
        if len(forms) < 2:
            raise
        # One of them does not bear the others: each has a process with the source form alone.
        return _alone(forms, replace(order, seconds=order.seconds / len(forms)))
    rounds = {int(size): int(count) for size, count in answer["rounds"].items()}
    return list(answer["forms"]), rounds


def _alone(forms: Sequence[Form], order: _Order) -> tuple[list[Any], dict[int, int]]:
    own, rounds = _raced([], order)
    found: list[Any] = []
    for form in forms:
        try:
            (_, one), _ = _raced([form], order)
        except CrashedError as error:
            one = error.message
        found.append(one)
    return [*own, *found], rounds


def _measurement(raced: Mapping[str, Any], weight: Weight, form: Form, goal: Goal) -> Measurement:
    return Measurement(
        hardware=this_machine(),
        threads=goal.threads,
        times=tuple(codec.decode(BatchTime, one) for one in raced["times"]),
        load_s=weight.load_s,
        memory_bytes=weight.memory_bytes,
        size_bytes=size_bytes(form.folder),
        noise=raced["noise"],
        energy_j=raced["energy"],
        notes=tuple(raced["notes"]),
    )


def size_bytes(folder: Path) -> int:
    """Of all files in an artifact's folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def weigh(arguments: dict[str, Any], progress: Callable[[str], None]) -> dict[str, Any]:
    """The sandboxed function: one form alone."""
    form = codec.decode(Form, arguments["forms"][0])
    inputs = arrays.load(Path(arguments["rows"]), form.signature.inputs)
    given = {size: racing.taken(inputs, size)[:2] for size in arguments["sizes"]}
    load("engines", form.recipe.run.engine)  # the library is not the form's weight
    before = racing.resident_bytes()
    progress("loading")
    session, seconds = racing.timed_load(lambda: opened(form, arguments["threads"]))
    try:
        for calls in given.values():
            for one in (*calls, *calls):
                session.infer(one)
        added = max(0, racing.resident_bytes() - before)
    finally:
        session.close()
    found: dict[str, Any] = codec.encode(Weight(seconds, added))
    return found


def _told_once(forms: Sequence[dict[str, Any]]) -> list[Form]:
    """Forms of which those behind the first may have its signature."""
    signature = forms[0]["signature"]
    return [codec.decode(Form, {"signature": signature, **one}) for one in forms]


def run(arguments: dict[str, Any], progress: Callable[[str], None]) -> dict[str, Any]:
    """The sandboxed function: all forms in turn."""
    with bound(arguments["core"]):
        return _run(arguments, progress)


def _run(arguments: dict[str, Any], progress: Callable[[str], None]) -> dict[str, Any]:
    forms = _told_once(arguments["forms"])
    inputs = arrays.load(Path(arguments["rows"]), forms[0].signature.inputs)
    counters = energy.heard(arguments["counters"])
    threads, sizes = arguments["threads"], arguments["sizes"]
    sessions: list[Any] = []
    whys: dict[int, str] = {}
    for place, form in enumerate(forms):
        try:
            sessions.append(opened(form, threads))
        except ModelworksError as error:
            sessions.append(None)
            whys[place] = error.message
    given = {size: racing.taken(inputs, size) for size in sizes}
    done: dict[int, tuple[list[racing.Runner | str], int]] = {}
    notes: list[str] = []
    share = arguments["seconds"] / len(sizes)
    used, began = time.process_time(), time.perf_counter()
    for size in sizes:
        progress(f"calls of {size} rows")
        done[size] = _calm(sessions, given[size], share, arguments["seed"], size, notes)
        for place, one in enumerate(done[size][0]):
            if isinstance(one, str):
                sessions[place] = None
                whys.setdefault(place, one)
    wall = time.perf_counter() - began
    stolen = racing.share_stolen(time.process_time() - used, wall)
    if threads == 1 and stolen > _STOLEN:
        notes.append(
            f"others had the core for {stolen:.0%} of the time: wall times and p99 are longer than "
            "on a calm machine"
        )
    noise = max(racing.noise_of(_source(found)).noise for found, _ in done.values())
    largest = max(sizes)
    joules = energy.joules_a_row(sessions, given[largest], largest, counters)
    if counters:
        notes.append(energy.NOTE)
    answers: list[Any] = []
    for place in range(len(sessions)):
        if place in whys:
            answers.append(whys[place])
            continue
        clock = arguments["by_clock"][place]
        times = [_figures(found, place, size, by_clock=clock) for size, (found, _) in done.items()]
        said = [*notes, _BESIDE] if clock else notes
        said = [*said, *noted(sessions[place], given[largest][0])]
        answers.append({"times": times, "noise": noise, "energy": joules[place], "notes": said})
    return {"forms": answers, "rounds": {str(size): rounds for size, (_, rounds) in done.items()}}


def _calm(
    sessions: Sequence[Any],
    given: Sequence[Any],
    seconds: float,
    seed: int,
    size: int,
    notes: list[str],
) -> tuple[list[racing.Runner | str], int]:
    """The race, once more where it was noisy; of two the calmer one."""
    began = time.perf_counter()
    first = racing.race(sessions, given, seconds * _FIRST, seed)
    noise = racing.noise_of(_source(first[0])).noise
    left = seconds - (time.perf_counter() - began)
    if noise > NOISE and left > _AGAIN * seconds:
        with suppress(InvalidError):  # there was not even time for the fewest rounds
            second = racing.race(sessions, given, left, seed + 1)
            again = racing.noise_of(_source(second[0])).noise
            first, noise = (second, again) if again < noise else (first, noise)
    if noise > NOISE:
        notes.append(
            f"at {size} rows the source form was {noise:.0%} apart from itself in the same rounds: "
            "others use this machine, and ratios closer than that to 1 say nothing"
        )
    return first


def _source(found: Sequence[racing.Runner | str]) -> racing.Runner:
    first = found[0]
    assert isinstance(first, racing.Runner)  # noqa: S101 - else the race has raised
    return first


def _figures(
    found: Sequence[racing.Runner | str], place: int, size: int, *, by_clock: bool
) -> dict[str, Any]:
    one = found[place]
    assert isinstance(one, racing.Runner)  # noqa: S101 - the others are told apart before
    return racing.figures(_source(found), one, size, by_clock=by_clock)
