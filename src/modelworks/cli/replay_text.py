"""A replay as tables for people, and as a page. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from modelworks.control.replaying.report import Report
from modelworks.core.ids import iso
from modelworks.core.rollouts import Finding, Outcome
from modelworks.measure.charts import Chart, Curve
from modelworks.measure.page import page

Table = tuple[Sequence[str], list[list[str]]]
_WORST: Final = 10
UNALIKE: Final = (
    "latencies are not measured alike: the recorded ones in the server that answered then, under "
    "the load of then; the played ones by the caller, of a process of its own"
)
_SAYS: Final = {
    Outcome.PROMOTE: "proved to be within",
    Outcome.ROLL_BACK: "proved to be worse",
    Outcome.HOLD: "not proved",
    Outcome.INCONCLUSIVE: "not proved",
}


def tables(report: Report) -> Iterator[Table]:
    """Everything that has rows."""
    named = [report.errors] if report.truth is None else [report.errors, report.truth]
    judged = [*named, *report.agreement.findings]
    head = ("metric", "slice", "recorded", "candidate", "worse by", "allowed", "says")
    yield head, [_finding(one) for one in judged]
    if report.agreement.flips:
        rows = [[was, says, f"{count:,}"] for was, says, count in report.agreement.flips]
        yield ("recorded answer", "candidate says", "times"), rows
    if report.agreement.worst:
        rows = [
            [one.id, one.stable, one.candidate or "no answer", f"{one.distance:.4g}"]
            for one in report.agreement.worst[:_WORST]
        ]
        yield ("farthest apart", "recorded", "candidate", "by"), rows
    times = report.times
    rows = [
        [name, *(f"{value:.3g} ms" for value in values)]
        for name, values in (
            ("recorded", times.recorded),
            ("played, from when it was due", times.played),
            ("played, from when it was sent", times.service),
        )
    ]
    yield ("latency", "p50", "p90", "p99"), rows
    left = {**report.left, **report.compared.apart}
    if left:
        yield ("left out", "requests"), [[why, f"{count:,}"] for why, count in left.items()]


def facts(report: Report) -> list[str]:
    """What was played, and how; a line each."""
    asked = report.asked
    pace = f"{asked.speed:g} times the recorded pace" if asked.speed else "as fast as it went"
    about = report.unrecorded
    more = [f"about {about:,} more were counted and not recorded"] if about else []
    window = f"from {iso(asked.since_ns)} to {iso(asked.until_ns)}"
    return [
        f"{report.sent:,} of {report.found:,} requests that {asked.model} got {window}",
        *more,
        f"at {pace}, in {report.seconds:.1f} s",
        f"answers of {asked.stable}, by records {report.digest[:19]}",
    ]


def remarks(report: Report) -> list[str]:
    """What is to be known beside the figures."""
    found = [UNALIKE]
    if report.agreement.rank_correlation is not None:
        found.append(f"rank correlation of the numbers: {report.agreement.rank_correlation:.4f}")
    if report.agreement.confidence_shift is not None:
        found.append(
            f"the candidate is {report.agreement.confidence_shift:.2%} surer or less sure of the "
            "recorded labels, on average"
        )
    if report.agreement.missing:
        found.append(f"{report.agreement.missing:,} answers of the candidate are missing")
    if report.interrupted:
        found.append("it was ended early")
    return found


def html(report: Report) -> str:
    """The whole as a file that needs nothing else."""
    title = f"Replay of {report.asked.ref}"
    bins = report.agreement.confidence
    drawn = [report.curves] if report.curves.curves else []
    if bins:
        points = tuple((stable, candidate) for _, stable, candidate in bins)
        same = ((points[0][0], points[0][0]), (points[-1][0], points[-1][0]))
        curves = (Curve("candidate", points), Curve("as sure", same))
        drawn.append(Chart("How sure of the recorded labels", "then", "the candidate", curves))
    return page(title, [report.sentence, *facts(report)], tables(report), remarks(report), drawn)


def _finding(one: Finding) -> list[str]:
    ends = (one.low, one.high)
    low, high = ("?" if end is None else f"{end:+.2%}" for end in ends)
    slice_ = "" if one.slice == "*" else one.slice
    stable = "" if one.metric == "disagreement" else f"{one.stable:.2%}"
    cells = [stable, f"{one.candidate:.2%}", f"{low} to {high}", f"{one.margin:.2%}"]
    return [one.metric, slice_, *cells, _SAYS[one.outcome]]
