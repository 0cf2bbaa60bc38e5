"""The forms that passed, measured again together: halved until few are left, those for longer."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from modelworks.core.errors import ModelworksError, UnavailableError
from modelworks.core.model import Verdict
from modelworks.core.optimizing.recipes import Execution, Recipe
from modelworks.core.optimizing.variants import Ending, Finding, Goal, Measurement
from modelworks.optimize import scoring
from modelworks.optimize.applying import NOT_NOW, Failure, Say
from modelworks.optimize.bench import Bench
from modelworks.optimize.forms import Form
from modelworks.optimize.proving import Prover, inherited
from modelworks.optimize.trying import LATE, Pace, Tried, best_at_each, ranked

_LEAST_S = 2.0
_EACH = 4  # first moments of measurement: more of it says nothing new of a form
_WORTH = 1.05  # a part of its own must be so much better at its number of rows


class Finals:
    """Measures the best again, puts them together by rows, and says which ones stay.

    Args:
        bench: where forms are made, timed and judged.
        goal: what is wanted.
        tried: what is known.
        pace: how long things may take.
        say: told how it goes.
        join: forms may be put together by rows.
        rows: that decide.
    """

    def __init__(
        self,
        bench: Bench,
        goal: Goal,
        tried: Tried,
        pace: Pace,
        say: Say,
        *,
        join: bool = True,
        rows: int = 0,
    ) -> None:
        self._join = join
        self.prover = Prover(bench, goal, tried, rows, say)
        self.notes: list[str] = []
        self._bench, self._goal, self._tried, self._pace, self._say = bench, goal, tried, pace, say

    def run(self, source: Measurement, own: Execution) -> Measurement:
        """Decide; findings are noted.

        Args:
            source: the source form's measurement so far.
            own: how the source form is run.

        Returns:
            The source form's, in the rounds that decided.
        """
        self.prover.run(source, time.monotonic() + self._left() / 2, self._pace.end)
        self.notes += [told] if (told := self.prover.told()) else []
        forms = self._forms(ranked(self._tried.of(Ending.KEPT), self._goal, source))
        while len(forms) > scoring.MOST and self._left() > 2 * _LEAST_S:
            found, source = self._measured(forms, self._left() / 4, source)
            order = _order(found, self._goal, source)
            for beaten in order[max(scoring.MOST, len(order) // 2) :]:
                self._say(f"{beaten.recipe.title} is out")
                words = "others were better in a longer measurement"
                self._tried.note(replace(beaten, ending=Ending.SLOWER, why=words))
                forms.pop(beaten.recipe.id)
                self._bench.let_go(beaten.recipe)
            forms = {
                one: form for one, form in forms.items() if one in {f.recipe.id for f in order}
            }
        if not forms:
            return source
        found, source = self._measured(forms, self._left() / 2, source)
        together = by_rows(found, source, own) if self._join else None
        if together is not None and together not in self._tried and self._left() > _LEAST_S:
            made = self._together(together)
            if made is not None:
                left = {one.recipe.id: forms[one.recipe.id] for one in found}
                forms = left | {together.id: made}  # one may have failed beside the others
                found, source = self._measured(forms, self._left(), source)
        self._decide(found, source)
        return source

    def _left(self) -> float:
        return self._pace.end - time.monotonic()

    def _forms(self, found: Sequence[Finding]) -> dict[str, Form]:
        """Forms by their recipes' ids; all of them were made before."""
        forms = {}
        for one in found:
            form = self._bench.make(one.recipe, self._pace.end, self._say)
            if isinstance(form, Failure):
                self._tried.note(replace(one, ending=form.ending, why=f"{LATE}: {form.why}"))
            else:
                forms[one.recipe.id] = form
        return forms

    def _measured(
        self, forms: Mapping[str, Form], seconds: float, source: Measurement
    ) -> tuple[list[Finding], Measurement]:
        """Measure forms beside each other; without time the earlier measurement stays."""
        known = {one.recipe.id: one for one in self._tried.of(Ending.KEPT)}
        found = [known[name] for name in forms]
        if not found or seconds < _LEAST_S / 2:
            return found, source
        seconds = min(seconds, _EACH * self._pace.moment * (len(forms) + 1))
        self._say(f"measuring the best {len(forms)} together for {seconds:.0f} s")
        try:
            timed = self._bench.timed(tuple(forms.values()), seconds)
        except ModelworksError as error:
            self.notes.append(f"the last measurement failed: {error.message}")
            return found, source
        self.notes += timed.notes
        told = []
        for one, measured in zip(found, timed.forms, strict=True):
            if isinstance(measured, str):
                self._tried.note(replace(one, ending=Ending.FAILED, why=measured))
            else:
                told.append(self._tried.note(replace(one, measured=measured)))
        return told, timed.source

    def _together(self, recipe: Recipe) -> Form | None:
        """The best by numbers of rows, side by side in one form, where it passes the gates."""
        self._say(recipe.title)
        form = self._bench.make(recipe, self._pace.end, self._say)
        if isinstance(form, Failure):
            self._tried.note(Finding(recipe, form.ending, form.why))
            return None
        try:
            timed = self._bench.timed((form,), _LEAST_S)
            judged = self._bench.looked(form, self._pace.end)
        except UnavailableError as error:
            self._tried.note(Finding(recipe, Ending.FAILED, f"{NOT_NOW}: {error.message}"))
            return None
        except ModelworksError as error:
            late = time.monotonic() >= self._pace.end
            ending = Ending.PRUNED if late else Ending.FAILED
            why = f"{LATE}: {error.message}" if late else error.message
            self._tried.note(Finding(recipe, ending, why))
            return None
        measured = timed.forms[0]
        failed = [gate.summary for gate in judged.gates if gate.verdict is Verdict.FAILED]
        if isinstance(measured, str) or failed:
            ending = Ending.REFUSED if failed else Ending.FAILED
            self._tried.note(Finding(recipe, ending, "; ".join(failed) or str(measured)))
            return None
        why = "it passed every gate"
        gates = (*judged.gates, inherited(len(recipe.parts)))
        kept = Finding(recipe, Ending.KEPT, why, gates, measured, worst=judged.worst)
        self._tried.note(kept)
        return form

    def _decide(self, found: Sequence[Finding], source: Measurement) -> None:
        """Worth it, and beaten by nothing: only those stay."""
        worth: dict[str, Finding] = {}
        for one in found:
            assert one.measured is not None  # noqa: S101 - it was just measured
            gate = scoring.better(self._goal, one.measured, source)
            earlier = (each for each in one.gates if each.name != gate.name)  # of a run before
            told = replace(one, gates=(*earlier, gate), why=gate.summary)
            if gate.verdict is Verdict.PASSED:
                worth[one.recipe.id] = told
            else:
                self._tried.note(replace(told, ending=Ending.SLOWER))
        measured = {name: one.measured for name, one in worth.items() if one.measured is not None}
        front = scoring.front(self._goal.objective, measured, source)
        ahead = [one for name, one in worth.items() if not front[name]]
        best = best_at_each(ranked(ahead, self._goal, source))[: scoring.MOST]
        stay = {one.recipe.id for one in best}
        for name, one in worth.items():
            if name in stay:
                self._tried.note(one)
                continue
            by = worth[front[name]].recipe.title if front[name] else "those that are kept"
            words = f"{by} is at least as good in everything"
            self._tried.note(replace(one, ending=Ending.SLOWER, why=words))


def by_rows(found: Sequence[Finding], source: Measurement, own: Execution) -> Recipe | None:
    """The best form of each number of rows side by side; None = one form is best at all of them.

    Args:
        found: measured in the same rounds.
        source: the source form's measurement; it may be a part too.
        own: how the source form is run.
    """
    sizes = sorted({time.rows for time in source.times})
    whole = [
        (one.recipe, {time.rows: time.ratio for time in one.measured.times})
        for one in found
        if one.measured is not None and not one.recipe.parts
    ]
    whole.append((Recipe(run=own), dict.fromkeys(sizes, 1.0)))
    if len(sizes) < 2 or any(set(of) != set(sizes) for _, of in whole):
        return None
    single = max(whole, key=lambda item: _geometric(item[1]))
    parts: list[tuple[Recipe, int]] = []
    for size in sizes:
        best = max(whole, key=lambda item: item[1][size])
        if parts and best[1][size] < _WORTH * _of(whole, parts[-1][0])[size]:
            best = (parts[-1][0], {})
        elif not parts and best[1][size] < _WORTH * single[1][size]:
            best = single
        if parts and best[0] == parts[-1][0]:
            parts[-1] = (best[0], size)
        else:
            parts.append((best[0], size))
    if len(parts) < 2:
        return None
    rows = [_between(a[1], sizes) for a in parts[:-1]]
    recipes = tuple(recipe for recipe, _ in parts)
    return Recipe(run=Execution("by_rows"), parts=recipes, rows=(*rows, 0))


def _between(size: int, sizes: Sequence[int]) -> int:
    """Where one part ends: half way, as ratios go, to the next number of rows that was measured."""
    following = min(one for one in sizes if one > size)
    return int((size * following) ** 0.5)


def _of(whole: Sequence[tuple[Recipe, dict[int, float]]], recipe: Recipe) -> dict[int, float]:
    return next(of for one, of in whole if one == recipe)


def _geometric(of: Mapping[int, float]) -> float:
    product = 1.0
    for value in of.values():
        product *= max(value, 1e-9)
    return product


def _order(found: Sequence[Finding], goal: Goal, source: Measurement) -> list[Finding]:
    """By what is wanted, the fastest at each number of rows early; what something beats last."""
    measured = {one.recipe.id: one.measured for one in found if one.measured is not None}
    front = scoring.front(goal.objective, measured, source)
    ordered = sorted(ranked(found, goal, source), key=lambda one: bool(front[one.recipe.id]))
    return best_at_each(ordered)
