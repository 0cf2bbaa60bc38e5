"""What a replay found: errors, agreement, truth and latency, each with what is proved of it."""

from dataclasses import dataclass
from typing import Any, Final

from modelworks.control.replaying.asked import Asked
from modelworks.control.replaying.pairing import Compared, Truth
from modelworks.control.replaying.traffic import Traffic
from modelworks.core import codec
from modelworks.core.model import Evidence, Verdict
from modelworks.core.rollouts import (
    ArmEvidence,
    Direction,
    Finding,
    Kind,
    Metric,
    Outcome,
    Plan,
    Step,
    Strategy,
    Sums,
)
from modelworks.measure.charts import Chart, percentiles
from modelworks.measure.histogram import Histogram
from modelworks.measure.played import Played
from modelworks.rollout.findings import findings
from modelworks.rollout.shadow import report as shadow

KIND: Final = "replay"
"""Of the evidence of a version."""
_USUAL: Final = 0.01
"""Share of the answers whose interval is sharpest where nothing was asked."""


@dataclass(frozen=True, slots=True)
class Times:
    """Latencies, milliseconds.

    Attributes:
        recorded: p50, p90, p99 in the server that answered then, of what was played.
        played: the same of the candidate, as its caller sees it, from when a request was due.
        service: the same, from when it was truly sent.
    """

    recorded: tuple[float, float, float]
    played: tuple[float, float, float]
    service: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Report:
    """Of one replay.

    Attributes:
        asked: what was wanted.
        unrecorded: about so many requests of the stable version were counted by servers and not
            recorded: a sample was, or records were lost; 0 where nobody counted.
        found: requests of the window.
        left: why some were not played -> how many.
        sent: requests that were.
        digest: of which records.
        seconds: that it took.
        compared: counts; see `Compared`.
        agreement: of the pairs, with its gate; its share is 1 % where none was asked for.
        errors: how often both fail.
        truth: how often both are wrong; None = no truth is known.
        times: of both; not measured alike, and not under the same load.
        interrupted: somebody ended it early.
        gone: the candidate's server went away.
        verdict: ROLL_BACK = proved to be worse, or to differ more than is allowed; PROMOTE = proved
            to differ no more than is allowed, and nothing is proved to be worse; HOLD = neither.
        sentence: all in one.
        curves: latency by percentile of both.
    """

    asked: Asked
    unrecorded: int
    found: int
    left: dict[str, int]
    sent: int
    digest: str
    seconds: float
    compared: Compared
    agreement: shadow.Report
    errors: Finding
    truth: Finding | None
    times: Times
    interrupted: bool
    gone: bool
    verdict: Outcome
    sentence: str
    curves: Chart

    def document(self) -> dict[str, Any]:
        """JSON; the tally's counts stand in `agreement`."""
        told: dict[str, Any] = codec.encode(
            {
                name: getattr(self, name)
                for name in self.__dataclass_fields__
                if name not in {"compared", "asked", "curves"}
            }
        )
        asked = codec.encode(self.asked)
        del told["agreement"]["findings"], told["agreement"]["outcome"]
        judged = [codec.encode(one) for one in self.agreement.findings]
        counts = {
            "form": self.compared.form,
            "recorded": codec.encode(self.compared.recorded),
            "played": codec.encode(self.compared.played),
            "truth": codec.encode(self.compared.truth),
            "apart": self.compared.apart,
        }
        return {"asked": asked, **told, "by_slice": judged, "counts": counts}

    def evidence(self, rollout: str = "") -> Evidence:
        """To be kept with the version: counts and ids, no value of a request or an answer."""
        detail = self.document()
        detail["agreement"]["worst"] = [one.id for one in self.agreement.worst]
        if rollout:
            detail["rollout"] = rollout
        verdicts = {Outcome.ROLL_BACK: Verdict.FAILED, Outcome.PROMOTE: Verdict.PASSED}
        return Evidence(KIND, verdicts.get(self.verdict, Verdict.SKIPPED), self.sentence, detail)


def reported(
    asked: Asked,
    traffic: Traffic,
    played: Played,
    compared: Compared,
    recorded: Histogram,
    counted: int = 0,
) -> Report:
    """Judge.

    Args:
        asked: what was wanted.
        traffic: that was read.
        played: what came of it.
        compared: counts.
        recorded: how long the answers took then, ns.
        counted: requests that servers counted; 0 = not known.
    """
    agreement = shadow.report(
        compared.tally,
        asked.allow if asked.allow is not None else _USUAL,
        slices=asked.slices,
        false_alarm=asked.false_alarm,
        false_pass=asked.false_pass,
    )
    errors, truth = _harms(asked, compared)
    harmed = [one for one in (errors, truth) if one and one.outcome is Outcome.ROLL_BACK]
    verdict = Outcome.HOLD
    if harmed or (asked.allow is not None and agreement.outcome is Outcome.ROLL_BACK):
        verdict = Outcome.ROLL_BACK
    elif asked.allow is not None and agreement.outcome is Outcome.PROMOTE and not played.gone:
        verdict = Outcome.PROMOTE
    return Report(
        *(
            asked,
            max(0, counted - traffic.ours),
            traffic.found,
            traffic.left,
            played.sent,
            traffic.digest,
            played.seconds,
        ),
        *(compared, agreement, errors, truth),
        Times(_three(recorded), _three(played.latency), _three(played.service)),
        *(played.interrupted, played.gone, verdict),
        _sentence(asked, agreement, errors, truth, gone=played.gone),
        percentiles([("recorded", recorded), ("played, from when it was due", played.latency)]),
    )


def _harms(asked: Asked, compared: Compared) -> tuple[Finding, Finding | None]:
    """Errors and truth, judged as a roll-out would."""
    error = Metric("error_rate", Kind.RATE, Direction.LOWER, asked.harm)
    wrong = Metric("wrong_rate", Kind.RATE, Direction.LOWER, asked.harm)
    known = compared.truth.get("*", Truth())
    plan = Plan(
        *("replay", asked.model, "stable", ("candidate",), Strategy.CANARY, (Step(0.0),), error),
        guardrails=(wrong,) if known.count else (),
        false_rollback=asked.false_alarm,
        false_promotion=asked.false_pass,
    )
    stable, candidate = arms(compared)
    found = {one.metric: one for one in findings(plan, stable, candidate)}
    return found["error_rate"], found.get("wrong_rate")


def arms(
    compared: Compared, slices: tuple[str, ...] = (), names: tuple[str, str] = ("", "")
) -> tuple[ArmEvidence, ArmEvidence]:
    """What the stable version and the candidate have earned, as the rules of roll-outs want it.

    Args:
        compared: counts.
        slices: that were looked at.
        names: of both.
    """
    agreed, by_slice = shadow.sums(compared.tally, slices)
    whole = _right(compared.truth.get("*", Truth()))
    stable = {"error_rate": compared.recorded} | whole[0]
    candidate = {"error_rate": compared.played} | whole[1]
    if compared.tally.count:
        candidate[shadow.NAME] = agreed
    parts: tuple[dict[str, dict[str, Sums]], ...] = ({}, {})
    for name in slices:
        for of, found in zip(parts, _right(compared.truth.get(name, Truth())), strict=True):
            of[name] = found
        if by_slice[name].count:
            parts[1][name][shadow.NAME] = by_slice[name]
    return (
        ArmEvidence(names[0], compared.recorded.count, 0, stable, parts[0]),
        ArmEvidence(names[1], compared.played.count, 0, candidate, parts[1]),
    )


def _right(truth: Truth) -> tuple[dict[str, Sums], dict[str, Sums]]:
    """Of the stable version and of the candidate; nothing where no truth is known."""
    if not truth.count:
        return {}, {}
    both = ((truth.count, right) for right in (truth.stable, truth.candidate))
    stable, candidate = (
        {"wrong_rate": Sums(count, count - right), "accuracy": Sums(count, right)}
        for count, right in both
    )
    return stable, candidate


def _sentence(
    asked: Asked, agreement: shadow.Report, errors: Finding, truth: Finding | None, *, gone: bool
) -> str:
    parts = ["the candidate's server went away before the end"] if gone else []
    if agreement.count:
        words = (
            f"{agreement.agreement:.2%} of {agreement.count:,} answers agree with those of "
            f"{asked.stable} (at least {agreement.low:.2%}, at most {agreement.high:.2%})"
        )
        if asked.allow is not None:
            share = f"{100 * asked.allow:.3g} %"
            told = {
                Outcome.PROMOTE: f"proved: no more than {share} differ",
                Outcome.ROLL_BACK: f"proved: more than {share} differ",
                Outcome.HOLD: f"not proved that no more than {share} differ",
            }
            words += f"; {told[agreement.outcome]}"
        parts.append(words)
    else:
        parts.append("no answer could be compared")
    harms = (errors, truth) if truth is not None else (errors,)
    parts += [one.sentence for one in harms if one.outcome is Outcome.ROLL_BACK]
    return "; ".join(parts)


def _three(of: Histogram) -> tuple[float, float, float]:
    if not of.count:
        return 0.0, 0.0, 0.0
    p50, p90, p99 = (of.percentile(share) / 1e6 for share in (50, 90, 99))
    return p50, p90, p99
