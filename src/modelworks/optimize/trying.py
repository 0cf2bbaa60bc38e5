"""One candidate after the other: made, timed for a moment, held against the gates, noted."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from modelworks.core.errors import ModelworksError, UnavailableError
from modelworks.core.model import Verdict
from modelworks.core.optimizing.recipes import Recipe
from modelworks.core.optimizing.variants import Ending, Finding, Goal, Measurement
from modelworks.optimize import scoring
from modelworks.optimize.applying import NOT_NOW, Failure, Say
from modelworks.optimize.bench import Bench
from modelworks.optimize.forms import Form
from modelworks.optimize.memory import full
from modelworks.optimize.planning import Candidate
from modelworks.optimize.run import Run, RunFile
from modelworks.optimize.standing import Standing, Watch, front_of, unwatched

LATE: Final = "the time was over"
"""How `Finding.why` begins where more time would have it tried: it is tried in the next run."""

_MOST_FOLLOWED: Final = 6
_FOLLOWING: Final = 0.03  # of the time that is left, for one refused form
_FOLLOWING_S: Final = 20.0


def unfinished(finding: Finding) -> bool:
    """Whether a candidate is to be tried in the next run: nothing is known of it yet."""
    return finding.why.startswith((LATE, NOT_NOW))


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take.

    Attributes:
        making: monotonic seconds until which candidates are begun.
        end: monotonic seconds at which all is over.
        moment: seconds of the first measurement of a candidate.
    """

    making: float
    end: float
    moment: float

    @classmethod
    def of(cls, budget_s: float, began: float) -> "Pace":
        """Three quarters to find forms, one to measure the best again; began on the same clock."""
        return cls(began + 0.75 * budget_s, began + budget_s, min(6.0, max(0.5, budget_s / 60)))


class Tried:
    """What became of candidates so far: in memory and in the file of the run.

    Args:
        run: what an earlier run left; its findings are not tried again.
        file: of the run.
        path: of that file, for messages.
    """

    def __init__(self, run: Run, file: RunFile, path: Path) -> None:
        kept = [one for one in run.findings if not unfinished(one)]
        self._found = {one.recipe.id: one for one in kept}
        self._late: dict[str, Finding] = {}
        self._file, self._path = file, path
        self.known = len(self._found)

    def __contains__(self, recipe: Recipe) -> bool:
        return recipe.id in self._found

    def get(self, recipe: Recipe) -> Finding | None:
        """What became of it."""
        return self._found.get(recipe.id)

    def note(self, finding: Finding) -> Finding:
        """Keep what became of a candidate.

        Raises:
            UnavailableError: the disk is full.
        """
        if unfinished(finding):
            self._found.pop(finding.recipe.id, None)  # what was known of it is not enough
            self._late[finding.recipe.id] = finding
        else:
            self._late.pop(finding.recipe.id, None)
            self._found[finding.recipe.id] = finding
        self.write(lambda: self._file.finding(finding))
        return finding

    def write(self, act: Callable[[], None]) -> None:
        """Write to the run's file.

        Raises:
            UnavailableError: the disk is full.
        """
        try:
            act()
        except OSError as error:
            raise full(self._path, error) from error

    @property
    def ids(self) -> set[str]:
        """Of everything that is finished."""
        return set(self._found)

    @property
    def all(self) -> tuple[Finding, ...]:
        """Every finding, those for which there was no time last."""
        return (*self._found.values(), *self._late.values())

    def of(self, ending: Ending) -> list[Finding]:
        """Findings that ended so and were measured, in their order."""
        return [one for one in self._found.values() if one.ending is ending and one.measured]


class Trying:
    """Tries candidates.

    Args:
        bench: where forms are made, timed and judged.
        goal: what is wanted.
        tried: what is known already.
        pace: how long things may take.
        say: told how it goes.
        watch: told how the best forms stand, after every candidate.

    Attributes:
        source: the source form's measurement; the newest one.
    """

    def __init__(
        self,
        bench: Bench,
        goal: Goal,
        tried: Tried,
        pace: Pace,
        say: Say,
        watch: Watch = unwatched,
    ) -> None:
        self.source: Measurement | None = None
        self._watch = watch
        self._followed = 0
        self._bench, self._goal, self._tried, self._pace, self._say = bench, goal, tried, pace, say

    def all(self, candidates: Sequence[Candidate], round_: str) -> None:
        """Try them in their order, as long as there is time; the others are noted as late."""
        new = [one.recipe for one in candidates if one.recipe not in self._tried]
        for number, recipe in enumerate(new, 1):
            if time.monotonic() >= self._pace.making:
                self._tried.note(Finding(recipe, Ending.PRUNED, f"{LATE} before it was tried"))
                continue
            left = self._pace.end - time.monotonic()
            where = f"{round_} {number}/{len(new)}: {recipe.title}"
            self._say(f"{where} ({left:.0f} s left; best so far: {self.best_words()})")
            self.one(recipe)

    def one(self, recipe: Recipe) -> Finding:
        """Try one, and keep what became of it."""
        known = self._tried.get(recipe)
        if known is not None:
            return known
        began = time.monotonic()
        try:
            finding = self._tried_out(recipe)
        except UnavailableError as error:
            finding = Finding(recipe, Ending.FAILED, f"{NOT_NOW}: {error.message}")
        except ModelworksError as error:
            finding = Finding(recipe, Ending.FAILED, error.message)
            if time.monotonic() >= self._pace.end:
                finding = Finding(recipe, Ending.PRUNED, f"{LATE}: {error.message}")
        if finding.ending is not Ending.KEPT:
            self._bench.let_go(recipe)
        noted = self._tried.note(replace(finding, seconds=time.monotonic() - began))
        self._watch(self.standing())
        return noted

    def standing(self) -> Standing:
        """How it stands: the best forms so far, how many were tried, the time that is left."""
        kept = self._tried.of(Ending.KEPT)
        left = max(0.0, self._pace.end - time.monotonic())
        tried = sum(one.ending is not Ending.PRUNED for one in self._tried.all)
        return Standing(front_of(kept, self._goal, self.source), tried, left)

    def best(self) -> Finding | None:
        """The best form so far that nothing speaks against and that is worth it."""
        return next(iter(self.worth()), None)

    def worth(self) -> list[Finding]:
        """All of those, the best first."""
        source = self.source
        if source is None:
            return []
        kept = [
            one
            for one in self._tried.of(Ending.KEPT)
            if scoring.better(self._goal, _measured(one), source).verdict is Verdict.PASSED
        ]
        return ranked(kept, self._goal, source)

    def best_words(self) -> str:
        """The same for the progress line."""
        found = self.best()
        if found is None or self.source is None:
            return "the source form"
        value = scoring.gain(self._goal.objective, _measured(found), self.source)
        return f"{found.recipe.title} {value:.2f} x"

    def _tried_out(self, recipe: Recipe) -> Finding:
        form = self._bench.make(recipe, self._pace.making, self._say)
        if isinstance(form, Failure):
            timely = not form.late or form.why.startswith((LATE, NOT_NOW))
            why = form.why if timely else f"{LATE}: {form.why}"
            return Finding(recipe, form.ending, why)
        timed = self._bench.timed((form,), self._pace.moment)
        self.source = timed.source
        found = timed.forms[0]
        if isinstance(found, str):
            return Finding(recipe, Ending.FAILED, found)
        if scoring.hopeless(self._goal, found, timed.source):
            why = scoring.better(self._goal, found, timed.source).summary
            return Finding(recipe, Ending.SLOWER, why, (), found)
        return self._judged(recipe, form, found)

    def _judged(self, recipe: Recipe, form: Form, found: Measurement) -> Finding:
        judged = self._bench.looked(form, self._pace.end)
        failed = [gate for gate in judged.gates if gate.verdict is Verdict.FAILED]
        if failed:
            why = "; ".join(gate.summary for gate in failed[:3])
            parts = self._parts(form)
            return Finding(
                recipe, Ending.REFUSED, why, judged.gates, found, worst=judged.worst, parts=parts
            )
        why = "nothing speaks against it yet"
        return Finding(recipe, Ending.KEPT, why, judged.gates, found, worst=judged.worst)

    def _parts(self, form: Form) -> str:
        """Where a refused form parts from the source form, of the first few: it takes seconds."""
        seconds = min(_FOLLOWING_S, _FOLLOWING * (self._pace.making - time.monotonic()))
        if self._followed >= _MOST_FOLLOWED or seconds < 1 or _kept(form.recipe):
            return ""
        self._followed += 1
        return self._bench.parts(form, seconds)


def ranked(found: Iterable[Finding], goal: Goal, source: Measurement | None) -> list[Finding]:
    """Findings that were measured, the best at what is wanted first."""
    if source is None:
        return []
    measured = [one for one in found if one.measured is not None]
    return sorted(measured, key=lambda one: -scoring.gain(goal.objective, _measured(one), source))


def best_at_each(found: Sequence[Finding]) -> list[Finding]:
    """The first, then the fastest at each number of rows, then the others in their order.

    What comes next starts from few forms: those that are fast at few rows alone must not take all
    of the places.
    """
    sizes = sorted({time.rows for one in found for time in _measured(one).times})
    fastest = [max(found, key=lambda one: _at(one, size)) for size in sizes]
    unique = {one.recipe.id: one for one in (*found[:1], *fastest, *found)}
    return list(unique.values())


def _at(found: Finding, rows: int) -> float:
    return next((one.ratio for one in _measured(found).times if one.rows == rows), 0.0)


def _kept(recipe: Recipe) -> bool:
    """Whether operators were put back to float: its first form was followed already."""
    return any(step.keep for step in recipe.steps)


def _measured(found: Finding) -> Measurement:
    assert found.measured is not None  # noqa: S101 - callers ask for those that are
    return found.measured
