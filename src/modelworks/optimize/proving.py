"""Which forms are proved, in which order, at which level: the choice among many is a decision too.

Of twenty forms that are each exactly as bad as allowed, a test at 5 % lets through one on average.
So the rows that decide see a form only when it is its turn, and turns follow from other rows and
from clocks (`order`): nothing that the rows that decide say can choose what they are asked. Each
turn bets the same share of the chance of an error that is left, the last one all of it. A form that
passes gives its bet back, one that fails does not. Of the forms that are worse than allowed the
first in the order is then tested at no more than share * error, the second at no more than
share * (1 - share) * error, and so on, whatever becomes of the others: altogether, any of them
passes with a chance of `error` at most, however many there are and however alike their answers
(Bonferroni; Wiens, Pharmaceutical Statistics 2, 2003, 211, is the same with bets that go to the
next form alone).
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from modelworks.core.errors import ModelworksError, UnavailableError
from modelworks.core.model import Verdict
from modelworks.core.optimizing.variants import Ending, Finding, Gate, Goal, Measurement
from modelworks.optimize import scoring
from modelworks.optimize.agreeing import percent
from modelworks.optimize.applying import NOT_NOW, Failure, Say
from modelworks.optimize.bench import Bench
from modelworks.optimize.glancing import LIKELY
from modelworks.optimize.trying import LATE, Tried, unfinished

PROOF: Final = "proof"
"""Name of the gate that a form has which the rows that decide were asked about."""
MOST: Final = 8
"""Forms that one search bets on: where all fail, the last is tested at a 128th of the error."""
_HALF: Final = 0.5
_FEW: Final = 4.0
"""With rows of which a form at the limit loses no more than so many, half a bet proves next to
nothing: the first form gets it whole."""
_NEXT_TO_NOTHING: Final = 1e-9  # of a form that only rounds, where the rows that decide say no
_EVEN: Final = 0.5  # chance of a form that was not glanced at


def proved(found: Finding) -> bool:
    """Whether the rows that decide were asked about it."""
    return any(gate.name == PROOF for gate in found.gates)


def given_up(found: Finding) -> bool:
    """Whether it lost too much at a glance: what the rows that decide say starts no new form."""
    return not proved(found) and any(gate.verdict is Verdict.FAILED for gate in found.gates)


def share(rows: int, goal: Goal, gates: Iterable[Gate]) -> float:
    """How much of the chance that is left one form bets: by the number of rows alone.

    Args:
        rows: that decide; 0 = nobody knows.
        goal: what may be given.
        gates: of any form, which tell what is judged.
    """
    names = {gate.name for gate in gates}
    if "accuracy" in names:
        room = goal.max_drop
    elif "agreement" in names and not names & {"auc", "log_loss"}:
        room = 1 - goal.agreement
    else:
        return _HALF
    return 1.0 if 0 < rows * room < _FEW else _HALF


def left(found: Iterable[Finding], error: float) -> float:
    """The chance of an error that is left: what failed does not give its bet back."""
    bets = (
        gate.limit or 0.0
        for one in found
        for gate in one.gates
        if gate.name == PROOF and gate.verdict is Verdict.FAILED
    )
    return max(0.0, error - math.fsum(bets))


def order(found: Sequence[Finding], goal: Goal, source: Measurement) -> list[Finding]:
    """Whose turn it is: by gain times the chance of a proof, copies of what had its turn last.

    The one that promises most at each number of rows has its turn right after the first: it may be
    a part of a form by rows.

    Args:
        found: measured, and glanced at by rows that do not decide.
        goal: what is wanted.
        source: the source form's measurement.
    """
    rest = sorted(found, key=lambda one: -_promise(one, goal, source))
    told: list[Finding] = []
    while rest:
        layer: list[Finding] = []
        for one in rest:
            if not any(_beats(before, one, source) for before in layer):
                layer.append(one)
        told += _at_each(layer)
        taken = {one.recipe.id for one in layer}
        rest = [one for one in rest if one.recipe.id not in taken]
    return told


def _at_each(layer: Sequence[Finding]) -> list[Finding]:
    """The first, then the most promising at each number of rows, then the others."""
    sizes = sorted({time.rows for one in layer if one.measured for time in one.measured.times})
    best = [max(layer, key=lambda one: _promise_at(one, size)) for size in sizes]
    return list({one.recipe.id: one for one in (*layer[:1], *best, *layer)}.values())


def _promise(one: Finding, goal: Goal, source: Measurement) -> float:
    assert one.measured is not None  # noqa: S101 - what passed a glance was measured
    return _chance(one) * _worth(scoring.gain(goal.objective, one.measured, source))


def _promise_at(one: Finding, rows: int) -> float:
    times = one.measured.times if one.measured else ()
    return _chance(one) * max((_worth(at.ratio) for at in times if at.rows == rows), default=0.0)


def _worth(gain: float) -> float:
    return math.log(max(1.0, gain))


def _chance(one: Finding) -> float:
    """Of a proof."""
    chance = next((g.value for g in one.gates if g.name == LIKELY and g.value is not None), None)
    if chance is None:
        return 1.0 if _rounds(one.gates) else _EVEN
    return chance


def _beats(one: Finding, other: Finding, source: Measurement) -> bool:
    assert one.measured is not None  # noqa: S101 - as above
    assert other.measured is not None  # noqa: S101 - as above
    return scoring.beats(one.measured, other.measured, source)


def _rounds(gates: Iterable[Gate]) -> bool:
    """Whether it only rounds: then there is no statistics."""
    return any(gate.name == "same" and gate.verdict is Verdict.PASSED for gate in gates)


class Prover:
    """Asks the rows that decide.

    Args:
        bench: makes and judges forms.
        goal: what is wanted.
        tried: what is known; proofs of an earlier run count.
        rows: that decide.
        say: told how it goes.
    """

    def __init__(self, bench: Bench, goal: Goal, tried: Tried, rows: int, say: Say) -> None:
        self._bench, self._goal, self._tried = bench, goal, tried
        self._rows, self._say = rows, say
        self._error = 1 - goal.confidence

    def run(self, source: Measurement, until: float, end: float) -> None:
        """Every form that passed its glance is proved, refused, or did not get its turn.

        Args:
            source: the source form's measurement.
            until: monotonic seconds until which turns begin; the first one does in any case.
            end: monotonic seconds at which all is over.
        """
        waiting = [one for one in self._tried.of(Ending.KEPT) if not proved(one)]
        turns = order(waiting, self._goal, source)
        betting = [one for one in turns if not _rounds(one.gates)][:MOST]
        over = not any(map(unfinished, self._tried.all))  # else a next run wants to bet too
        bets = 0
        for one in turns:
            free = _rounds(one.gates)
            if bets and time.monotonic() >= until:
                late = f"{LATE} before it was proved"
                self._tried.note(replace(one, ending=Ending.PRUNED, why=late))
            elif bets >= MOST and not free:
                why = f"{bets} forms that promised better were proved before it"
                self._tried.note(replace(one, ending=Ending.SLOWER, why=why))
            else:
                bets += not free
                self.one(one, end, whole=over and one in betting[-1:])

    def first(self, found: Sequence[Finding], source: Measurement, most: int = 3) -> Finding | None:
        """The first of some forms that is proved, for who ends the search early.

        Args:
            found: that passed their glance and are worth it.
            source: the source form's measurement.
            most: forms that get their turn.
        """
        done = [one for one in found if proved(one)]
        if done:
            return done[0]
        for one in order(found, self._goal, source)[:most]:
            told = self.one(one, time.monotonic() + 60.0)
            if told.ending is Ending.KEPT:
                return told
        return None

    def one(self, found: Finding, until: float, *, whole: bool = False) -> Finding:
        """Give a form its turn, and keep what became of it.

        Args:
            found: its finding.
            until: monotonic seconds.
            whole: it bets all that is left, for no other one comes after it.
        """
        self._say(f"holding it against the rows that decide: {found.recipe.title}")
        level = self._level(whole=whole)
        if level <= 0 and not _rounds(found.gates):
            why = (
                f"a form failed before it that promised better, and {self._rows} rows that decide "
                "are too few to prove another one"
            )
            return self._tried.note(replace(found, ending=Ending.REFUSED, why=why))
        form = self._bench.make(found.recipe, until, self._say)
        if isinstance(form, Failure):
            why = form.why if form.why.startswith((LATE, NOT_NOW)) else f"{LATE}: {form.why}"
            return self._tried.note(replace(found, ending=form.ending, why=why))
        try:
            told = self._bench.judged(form, until, level or _NEXT_TO_NOTHING)
        except UnavailableError as error:
            why = f"{NOT_NOW}: {error.message}"
            return self._tried.note(replace(found, ending=Ending.FAILED, why=why))
        except ModelworksError as error:
            late = time.monotonic() >= until
            ending = Ending.PRUNED if late else Ending.FAILED
            why = f"{LATE}: {error.message}" if late else error.message
            return self._tried.note(replace(found, ending=ending, why=why))
        failed = [gate.summary for gate in told.gates if gate.verdict is Verdict.FAILED]
        gate = self._gate(told.gates, level, fine=not failed)
        ending = Ending.REFUSED if failed else Ending.KEPT
        why = "; ".join(failed[:3]) or "it passed every gate"
        gates = (*told.gates, gate)
        if failed:
            self._bench.let_go(found.recipe)
        return self._tried.note(
            replace(found, ending=ending, why=why, gates=gates, worst=told.worst)
        )

    def _level(self, *, whole: bool) -> float:
        remaining = left(self._tried.all, self._error)
        gates = (gate for one in self._tried.all for gate in one.gates)
        return remaining * (1.0 if whole else share(self._rows, self._goal, gates))

    def _gate(self, gates: Sequence[Gate], level: float, *, fine: bool) -> Gate:
        place = 1 + sum(proved(one) for one in self._tried.all)
        verdict = Verdict.PASSED if fine else Verdict.FAILED
        if _rounds(gates):
            text = "it only rounds: no chance of an error was taken on it"
            return Gate(PROOF, verdict, text, value=place, limit=0.0)
        text = (
            f"number {place} of the forms that the {self._rows} rows that decide were asked about, "
            f"tested at {percent(level)}: that any is kept which is worse than allowed has a "
            f"chance of {percent(self._error)} at most, however many were tried"
        )
        return Gate(PROOF, verdict, text, value=place, limit=level)

    def told(self) -> str:
        """What was proved, in a sentence; empty = nothing was."""
        asked = [gate for one in self._tried.all for gate in one.gates if gate.name == PROOF]
        bets = sorted((gate for gate in asked if gate.limit), key=lambda gate: gate.value or 0)
        if not bets:
            return ""
        tried = sum(one.measured is not None for one in self._tried.all)
        levels = ", ".join(percent(gate.limit or 0.0) for gate in bets)
        words = f"{len(bets)} of {tried} forms that were measured were" if tried != 1 else "it was"
        return (
            f"{words} held against the {self._rows} rows that decide, at levels of {levels}: the "
            f"chance that any form is kept which is worse than allowed is {percent(self._error)} "
            "at most"
        )


def inherited(parts: int) -> Gate:
    """Of a form that takes one of several proved forms a call: it is as good as those are."""
    text = f"each of its {parts} parts was proved by itself, and each call is answered by one"
    return Gate(PROOF, Verdict.PASSED, text, limit=0.0)
