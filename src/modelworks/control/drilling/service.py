"""A whole drill: its installation, its inputs, one fault after the other, its report."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version as installed
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from modelworks.client import git
from modelworks.control.drilling.faults import LATE, Wanted, drillable, faults_of
from modelworks.control.drilling.one import Asking, Fault, Say, put_in
from modelworks.control.drilling.place import Place, Verbs, numbers, place, publish
from modelworks.control.drilling.pool import MOST, Row, chosen, of_records, steered, within
from modelworks.control.drilling.spoilt import Spoilt
from modelworks.control.drilling.stable import Stable, ask_stable
from modelworks.control.records.service import Records, lines_of
from modelworks.control.rollouts.drills import KIND
from modelworks.control.rollouts.gathering.named import fitting
from modelworks.core import codec
from modelworks.core.home import Home
from modelworks.core.ids import now_ns
from modelworks.core.model import Evidence, ModelVersion, Verdict
from modelworks.core.records import Scan
from modelworks.core.rollouts import Plan
from modelworks.core.semver import Semver
from modelworks.rollout.drill import Drill
from modelworks.rollout.drill import Fault as Kind
from modelworks.rollout.drilled import Report, Result, digest_of, sentence_of

_ENOUGH: Final = 0.3
"""Share of the rows that lie in a slice at the least, where a fault is of one."""


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
        UnsupportedError: a plan that moves no traffic, or that of deployments.
        CrashedError: the drill's own installation ended or did not start.
    """
    began, started = now_ns(), time.monotonic()
    plan, notes = drillable(plan)
    version = real.show(f"{plan.route}:{plan.stable}")
    plan = fitting(plan, lambda _: version.signature)
    recorded = _recorded(real, version) if wanted.records else []
    original = real.materialise(version.ref)
    late = any(one.name in LATE for one in (plan.primary, *plan.guardrails))
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
        fault = Fault(one, name, frozenset(spoilt), share, inside, one.metric in LATE)
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
    root = Path(__file__).parents[4]
    commit = git.position(root)[0] if (root / ".git").exists() else ""
    return f"modelworks {installed('modelworks')}{f' ({commit})' if commit else ''}"
