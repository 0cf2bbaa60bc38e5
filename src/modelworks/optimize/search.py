"""The search: rounds of candidates, the operators to blame, the finals; within its time."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.core.optimizing.variants import Ending, Finding, Measurement
from modelworks.core.served import ENGINES
from modelworks.optimize import enabling, planning, scoring
from modelworks.optimize.applying import NOT_NOW, Say
from modelworks.optimize.bench import Bench
from modelworks.optimize.fallback import Fallback
from modelworks.optimize.finals import Finals
from modelworks.optimize.mending import mending, spared
from modelworks.optimize.moving import moved
from modelworks.optimize.proving import given_up
from modelworks.optimize.run import Run, RunFile
from modelworks.optimize.standing import Watch, unwatched
from modelworks.optimize.trying import LATE, Pace, Tried, Trying, best_at_each, ranked, unfinished

_BLAMED: Final = 2  # forms whose operators are looked into
_HALF: Final = 0.5
_TOGETHER: Final = 2  # pairs of what helped, then a third with the best of them


@dataclass(frozen=True, slots=True)
class Journal:
    """Where the search writes what it finds.

    Attributes:
        run: as it was read from there, or new.
        file: its writer.
        path: of the file.
        watch: told how the best forms stand, after every candidate.
    """

    run: Run
    file: RunFile
    path: Path
    watch: Watch = unwatched


class Search:
    """One search.

    Args:
        bench: where forms are made, timed and judged.
        ground: what the plan is made for.
        journal: what is known, and where more is written.
        pace: how long it may take.
        say: told how it goes.
        now: UTC nanoseconds.
        only: try this recipe and nothing else.
    """

    def __init__(
        self,
        bench: Bench,
        ground: planning.Ground,
        journal: Journal,
        pace: Pace,
        say: Say,
        now: Callable[[], int],
        only: Recipe | None = None,
    ) -> None:
        self._only = only
        self._bench, self._ground, self._journal = bench, ground, journal
        self._pace, self._say, self._now = pace, say, now
        self._tried = Tried(journal.run, journal.file, journal.path)
        self._trying = Trying(bench, ground.goal, self._tried, pace, say, journal.watch)
        self._own = Execution(ENGINES.get(ground.format, ""))
        together, count = only is None, journal.run.data.evaluation
        self._finals = Finals(bench, ground.goal, self._tried, pace, say, join=together, rows=count)

    def run(self) -> Run:
        """Search, decide, and write how it ended.

        Raises:
            ModelworksError: the source form cannot be run; the run's file cannot be written.
        """
        tried, trying = self._tried, self._trying
        if self._journal.run.conclusion:  # until the next end it is none: a kill may come before
            tried.write(self._journal.file.again)
        if tried.known:
            self._say(f"{tried.known} candidates are finished from an earlier run")
        source = self._source()
        if self._only is None:
            self._rounds()
        else:
            trying.all([planning.Candidate(self._only, 1.0)], "recipe")
        finals = self._finals
        source = finals.run(trying.source or source, self._own)
        tried.write(lambda: self._journal.file.source(source))
        for note in dict.fromkeys(finals.notes):
            tried.write(lambda note=note: self._journal.file.note(note))  # type: ignore[misc]
        return self._ended(source, tuple(dict.fromkeys(finals.notes)))

    def _rounds(self) -> None:
        """What is planned beforehand, then what follows from what was found.

        Passes that train take minutes each: they wait until all that takes seconds was tried.
        """
        tried, trying, ground = self._tried, self._trying, self._ground
        for finding in planning.pruned(ground):
            if finding.recipe not in tried:
                tried.note(finding)
        first = planning.singles(ground)
        trying.all([one for one in first if not one.dear], "pass")
        for _ in range(_TOGETHER):  # few forms, and what they gain together settings do not
            self._together()
        self._elsewhere()
        self._settings()  # a setting is a second's work where the operators to blame are minutes
        self._blame()
        trying.all([one for one in first if one.dear], "pass that trains")
        self._mend()
        self._together()
        if trying.source is not None:
            pairs = enabling.enabled(ground, tried.all, trying.source, tried.ids)
            trying.all(pairs, "pair")
        self._elsewhere()
        self._settings()

    def _together(self) -> None:
        """What helped so far, put together."""
        found = planning.composed(self._ground, self._good(), self._tried.ids)
        self._trying.all(found, "together")

    def _elsewhere(self) -> None:
        """The best of fewer bits, in other engines."""
        self._trying.all(moved(self._ground, self._good(), self._tried.ids), "elsewhere")

    def _settings(self) -> None:
        """Other settings of the best so far, and of what is faster and lost too much."""
        best = [*self._good(), *self._fast()]
        self._trying.all(planning.varied(self._ground, best, self._tried.ids), "settings")

    def best(self) -> Finding | None:
        """The best form so far, for who ends the search early: proved now, where it was not."""
        worth, source = self._trying.worth(), self._trying.source
        return self._finals.prover.first(worth, source) if source else None

    def so_far(self) -> Run:
        """The run as it stands."""
        source = self._trying.source or self._journal.run.source
        return replace(self._journal.run, source=source, findings=self._tried.all)

    def _source(self) -> Measurement:
        """Measure the source form by itself: what it cannot do, nothing made of it can."""
        self._say("measuring the form that was imported")
        timed = self._bench.timed((), self._pace.moment)
        self._trying.source = timed.source
        self._tried.write(lambda: self._journal.file.source(timed.source))
        return timed.source

    def _good(self) -> list[Recipe]:
        """Recipes that passed the gates and helped, the best first."""
        goal, source = self._ground.goal, self._trying.source
        least = (1 + goal.gain) / 2  # what is nearly worth it may be so with another setting
        found = [
            one
            for one in ranked(self._tried.of(Ending.KEPT), goal, source)
            if source and one.measured
            if scoring.gain(goal.objective, one.measured, source) >= least
        ]
        return [one.recipe for one in best_at_each(found)]

    def _fast(self) -> list[Recipe]:
        """Recipes that would be better than all that passed, and lost too much."""
        return [one.recipe for one in self._refused()[:_BLAMED]]

    def _refused(self) -> list[Finding]:
        goal, source = self._ground.goal, self._trying.source
        glanced = filter(given_up, self._tried.of(Ending.REFUSED))
        refused = ranked(glanced, goal, source)
        best = self._trying.best()
        if source is None or best is None or best.measured is None:
            return refused
        least = scoring.gain(goal.objective, best.measured, source)
        return [
            one
            for one in refused
            if one.measured and scoring.gain(goal.objective, one.measured, source) > least
        ]

    def _blame(self) -> None:
        """Fast forms that lost too much: their worst operators go back to float."""
        for finding in self._refused()[:_BLAMED]:
            last = finding.recipe.steps[-1] if finding.recipe.steps else None
            facts = self._ground.known.facts.get(last.name) if last else None
            if last is None or last.keep or facts is None or not facts.keeps:
                continue
            now = time.monotonic()
            until = now + _HALF * (self._pace.making - now)
            self._bench.make(
                finding.recipe, until, self._say
            )  # it is there: what of, is told again
            applied = self._bench.applied(finding.recipe)
            if applied is None or len(applied.operators) < 2 or now >= self._pace.making:
                continue
            blamed = Fallback(self._bench, finding.recipe, applied.operators, until, self._say)
            blamed.search(self._passes)

    def _mend(self) -> None:
        """Fast forms that lost too much: what is taught to lose less."""
        refused = [one.recipe for one in self._refused()[:_BLAMED]]
        self._trying.all(mending(self._ground, refused), "taught")
        ended = [one.recipe.steps for one in self._tried.all if not unfinished(one)]
        for finding in spared(self._ground, {steps[-1].name for steps in ended if steps}):
            self._tried.note(finding)

    def _passes(self, recipe: Recipe) -> bool | None:
        ending = self._trying.one(recipe).ending
        if ending is Ending.REFUSED:
            return False
        return True if ending is Ending.KEPT else None

    def _ended(self, source: Measurement, notes: tuple[str, ...]) -> Run:
        kept = ranked(self._tried.of(Ending.KEPT), self._ground.goal, source)
        others = [one for one in self._tried.all if one.ending is not Ending.KEPT]
        found = (*kept, *others)
        words = conclusion(found, self._ground.goal.budget_s)
        ended = self._now()
        self._tried.write(lambda: self._journal.file.end(ended, words))
        return replace(
            self._journal.run,
            source=source,
            findings=found,
            notes=(*self._journal.run.notes, *notes),
            ended_ns=ended,
            conclusion=words,
        )


def conclusion(found: tuple[Finding, ...], budget_s: float) -> str:
    """How a search ended, in a sentence or two."""
    kept = [one for one in found if one.ending is Ending.KEPT]
    late = [one for one in found if one.why.startswith(LATE)]
    counts = {
        "refused by a gate": sum(one.ending is Ending.REFUSED for one in found),
        "not better": sum(one.ending is Ending.SLOWER for one in found),
        "failed": sum(one.ending is Ending.FAILED for one in found),
    }
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    if kept:
        best = kept[0]
        words = f"{best.recipe.title}: {best.why}"
        more = f" and {len(kept) - 1} more kept" if len(kept) > 1 else " kept"
        words = f"{words};{more}" + (f"; {told}" if told else "")
    else:
        words = "leave it as it is: nothing that was tried is better and still good enough"
        words += f" ({told})" if told else " (nothing here fits this model)"
        if not told and any(map(unfinished, found)):
            words = "nothing was tried, so it is left as it is"
    if late:
        words += f"; for {len(late)} there was no time within {budget_s:.0f} s"
    if any(one.why.startswith(NOT_NOW) for one in found):
        words += "; some could not be tried now: the same command goes on when that is mended"
    return words
