"""A whole drill: its installation, its inputs, one fault after the other, its report."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version as installed
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

import modelworks
from modelworks.client import git
from modelworks.control.drilling.one import Asking, Fault, Say, put_in
from modelworks.control.drilling.place import Place, Verbs, numbers, place, publish
from modelworks.control.drilling.pool import MOST, Row, chosen, of_records, steered, within
from modelworks.control.drilling.spoilt import Spoilt
from modelworks.control.drilling.stable import Stable, ask_stable
from modelworks.control.records.service import Records, lines_of
from modelworks.control.rollouts.drills import KIND
from modelworks.control.rollouts.gathering.named import fitting
from modelworks.core import codec
from modelworks.core.errors import UnsupportedError
from modelworks.core.home import Home
from modelworks.core.ids import now_ns
from modelworks.core.model import Evidence, ModelVersion, Verdict
from modelworks.core.records import Scan
from modelworks.core.rollouts import Plan, Strategy
from modelworks.core.semver import Semver
from modelworks.rollout import histograms
from modelworks.rollout.drill import Drill, drills
from modelworks.rollout.drill import Fault as Kind
from modelworks.rollout.drilled import Report, Result, Unseen, digest_of, sentence_of

LEAST_MS: Final = 20.0
"""A slow candidate is slower by so much at the least: less is lost in a busy machine's noise."""
_COMPARED_S: Final = 90.0
_ENOUGH: Final = 0.3
"""Share of the rows that lie in a slice at the least, where a fault is of one."""
_ALIKE: Final = (
    "both arms are the stable version behind the same wrapper, in a process of its own each: the "
    "fault is the only difference"
)
_LABELLED: Final = frozenset({"accuracy", "wrong_rate"})
_LATE: Final = _LABELLED | {"disagreement"}
"""What is known from records: later than what servers count."""


class Real(Protocol):
    """The installation whose version is drilled; nothing in it changes but the evidence."""

    home: Home

    @property
    def records(self) -> Records:
        """The verbs of records and feedback."""
        ...

    def show(self, ref: str) -> ModelVersion:
        """One version."""
        ...

    def materialise(self, ref: str) -> Path:
        """The folder with a version's files."""
        ...

    def note_evidence(self, ref: str, found: Evidence) -> ModelVersion:
        """Keep what was found of a version."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a drill is made.

    Attributes:
        faults: only these; empty = all that the plan sees.
        accepted: faults that nobody has to see.
        rate: requests a second of all callers.
        records: whether recorded inputs are sent; else they are made up.
        most_s: the longest that one fault may take.
        actor: who asks for it.
    """

    faults: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    rate: float = 50.0
    records: bool = False
    most_s: float = 600.0
    actor: str = ""


def drill(
    real: Real, opened: Callable[[Home], Verbs], plan: Plan, wanted: Wanted, say: Say
) -> Report:
    """Make a drill, and keep its report as evidence of the stable version.

    Args:
        real: where the version is registered.
        opened: opens the verbs of a data folder; the drill's own is opened by it.
        plan: `route` is the model, `stable` its version; the candidates are replaced.
        wanted: how.
        say: told how it goes.

    Raises:
        NotFoundError: no such version.
        InvalidError: a plan that no drill can be made of; inputs that cannot be had.
        UnsupportedError: a plan that moves no traffic.
        CrashedError: the drill's own installation ended or did not start.
    """
    began, started = now_ns(), time.monotonic()
    version = real.show(f"{plan.route}:{plan.stable}")
    plan, notes = drillable(fitting(plan, lambda _: version.signature))
    recorded = _recorded(real, version) if wanted.records else []
    original = real.materialise(version.ref)
    late = any(one.name in _LATE for one in (plan.primary, *plan.guardrails))
    say("starting an installation for the drill")
    with place(real.home, opened, record=late) as where:
        number = Semver.parse(plan.stable)
        healthy = Spoilt(version.artifact.format, version.signature)
        publish(where.verbs, where.work, original, version, number, healthy)
        where.verbs.set_alias(plan.route, "champion", plan.stable, "the drill's stable version")
        say("asking the stable version")
        stable = ask_stable(where, plan.route, plan.stable, version.signature, recorded)
        found, unseen = faults_of(plan, stable, wanted)
        bench = _Bench(where, plan, version, original, stable, wanted, say)
        numbered = zip(found, numbers(plan.stable, len(found)), strict=True)
        results = tuple(bench.make(one, number) for one, number in numbered)
        notes += _about(found, results)
    said, words = sentence_of(plan.route, results, unseen)
    report = Report(
        model=plan.route,
        stable=plan.stable,
        plan=plan.name,
        digest=digest_of(plan),
        at_ns=began,
        seconds=time.monotonic() - started,
        actor=wanted.actor,
        program=program(),
        rate=wanted.rate,
        inputs=f"{len(stable.rows)} rows, {'recorded' if recorded else 'made up'}",
        passed=said,
        sentence=words,
        results=results,
        unseen=unseen,
        notes=tuple(notes),
    )
    verdict = Verdict.PASSED if said else Verdict.FAILED
    real.note_evidence(version.ref, Evidence(KIND, verdict, words, codec.encode(report)))
    return report


def drillable(plan: Plan) -> tuple[Plan, list[str]]:
    """The plan as it is drilled, and in what that is unlike a roll-out.

    Raises:
        UnsupportedError: it moves no traffic.
    """
    if plan.strategy is Strategy.SHADOW:
        raise UnsupportedError(
            f"'{plan.name}' moves no traffic (strategy shadow): there is nothing to roll back",
            field="strategy",
        )
    notes = [_ALIKE, "what the stable version answers counts as right"]
    compared = any(one.name == "disagreement" for one in (plan.primary, *plan.guardrails))
    if compared and not plan.steps[0].share and plan.steps[0].bake_s < _COMPARED_S:
        notes.append(
            f"copies are compared up to {_COMPARED_S:g} s after they were answered: the first step "
            f"stands for {plan.steps[0].bake_s:g} s, so give it a longer bake"
        )
    if plan.replay:
        notes.append("the replay before the first step is left out")
    if len(plan.candidates) > 1:
        notes.append(f"one candidate in place of {len(plan.candidates)}")
    return replace(plan, replay=0.0, candidates=plan.candidates[:1]), notes


def faults_of(
    plan: Plan, stable: Stable, wanted: Wanted
) -> tuple[tuple[Drill, ...], tuple[Unseen, ...]]:
    """The faults that are put in, and those that nobody would see."""
    known = {"error_rate": 0.0, "wrong_rate": 0.0, "accuracy": 1.0, "disagreement": 0.0}
    shape = {float(bound): count for bound, count in stable.shape.items()}
    for metric in (plan.primary, *plan.guardrails):
        if metric.name.startswith("latency_"):
            known[metric.name] = histograms.quantile(shape, metric.quantile)
    found, blind = drills(plan, known, stable.shape, LEAST_MS)
    put, unseen = [], [(one.fault, one.sentence) for one in blind]
    for one in found:
        why = _impossible(one, stable)
        if why:
            unseen.append((one.fault, why))
        else:
            put.append(one)
    asked = set(wanted.faults) or {kind.value for kind in Kind}
    return (
        tuple(one for one in put if one.fault.value in asked),
        tuple(
            Unseen(fault.value, words, fault.value in wanted.accepted)
            for fault, words in unseen
            if fault.value in asked
        ),
    )


def _impossible(one: Drill, stable: Stable) -> str:
    """Why a fault cannot be put in; empty = it can."""
    if one.fault not in {Kind.WRONG, Kind.BIASED}:
        return ""
    if one.metric not in _LATE:
        return f"a drill cannot know what '{one.metric}' of a broken candidate would be"
    if one.metric in _LABELLED and all(truth is None for truth in stable.truths):
        return "the model says neither a label nor a number that could be wrong"
    return ""


@dataclass(frozen=True, slots=True)
class _Bench:
    """What every fault of a drill needs."""

    where: Place
    plan: Plan
    version: ModelVersion
    original: Path
    stable: Stable
    wanted: Wanted
    say: Say

    def make(self, one: Drill, number: Semver) -> Result:
        """Put one fault in, and see what comes of it."""
        stable = self._steered(one)
        inside = within(stable.rows, one.slice, self.version.signature)
        spoilt, share = chosen(stable.rows, inside, one.share)
        kind = "wrong" if one.fault is Kind.BIASED else one.fault.value
        artifact = self.version.artifact
        rows = tuple(sorted(spoilt))
        told = Spoilt(artifact.format, self.version.signature, kind, one.delay_ms, rows)
        where = self.where
        name = publish(where.verbs, where.work, self.original, self.version, number, told)
        fault = Fault(one, name, frozenset(spoilt), share, inside, one.metric in _LATE)
        wanted = self.wanted
        asking = Asking(self.plan.route, stable.rows, stable.truths, wanted.rate, wanted.most_s)
        own = replace(self.plan, name=f"drill-{one.fault.value}", candidates=(name,))
        result = put_in(where, own, fault, asking, self.say)
        said = "passed" if result.passed else "NOT passed"
        self.say(f"{one.fault.value}: {said}: {result.sentence}")
        return result

    def _steered(self, one: Drill) -> Stable:
        """The rows, enough of them in the fault's slice."""
        stable, signature = self.stable, self.version.signature
        if sum(within(stable.rows, one.slice, signature)) >= _ENOUGH * len(stable.rows):
            return stable
        rows = steered(stable.rows, one.slice, signature)
        return ask_stable(self.where, self.plan.route, self.plan.stable, signature, rows)


def _recorded(real: Real, version: ModelVersion) -> list[Row]:
    """Inputs of the newest records of the model.

    Raises:
        InvalidError: there are none, or they lack inputs.
    """
    parts = real.records.store.parts(Scan(model=version.name))
    newest = sorted(parts, key=lambda part: part.since_ns)[-3:]
    since = newest[0].since_ns if newest else 0
    batches = real.records.scan(Scan(model=version.name, since_ns=since))
    lines = islice((line for batch in batches for line in lines_of(batch)), 4 * MOST)
    return of_records(list(lines), version.signature)


def _about(found: Sequence[Drill], results: Sequence[Result]) -> list[str]:
    """Notes on what was put in."""
    for one, result in zip(found, results, strict=True):
        if abs(one.share - result.share) > 0.05:
            words = f"{result.share:.0%} of the requests were spoilt in place of {one.share:.0%}"
            return [f"{one.fault.value}: {words}, for many of the inputs are alike"]
    return []


def program() -> str:
    """The version of Modelworks, with the commit where it runs from a checkout."""
    root = Path(modelworks.__file__).parents[2]
    commit = git.position(root)[0] if (root / ".git").exists() else ""
    return f"modelworks {installed('modelworks')}{f' ({commit})' if commit else ''}"
