"""A drill's report: lines for a terminal, and one HTML file that needs nothing else."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from modelworks.cli import human
from modelworks.cli.output import Output
from modelworks.core.ids import iso
from modelworks.measure.page import page as whole

if TYPE_CHECKING:
    from modelworks.rollout.drilled import Report

_HEAD: Final = (
    *("fault", "metric", "slice", "spoilt", "slower", "requests", "allowed", "seconds"),
    *("asked", "failed", "lost", "says"),
)
_UNSEEN: Final = ("blind to", "accepted", "why, and what to add")
_FINDINGS: Final = ("fault", "metric", "slice", "stable", "candidate", "worse by", "allowed")


def show(out: Output, report: "Report") -> None:
    """To the terminal."""
    out.table(_HEAD, _rows(report), "no fault was put in")
    for result in report.results:
        out.line(f"{result.fault}: {result.sentence}")
    for unseen in report.unseen:
        accepted = " (accepted)" if unseen.accepted else ""
        out.line(f"blind to {unseen.fault}{accepted}: {unseen.sentence}")
    out.line(f"{'passed' if report.passed else 'NOT passed'}: {report.sentence}")
    for note in report.notes:
        out.note(note)
    out.note(f"kept as evidence: modelworks show {report.model}:{report.stable}")


def page(report: "Report") -> str:
    """As HTML."""
    named = f"'{report.plan}'" if report.plan else "the usual one"
    facts = [
        f"{'passed' if report.passed else 'NOT passed'}: {report.sentence}",
        f"stable version {report.model}:{report.stable}; plan: {named}, {report.digest}",
        f"{iso(report.at_ns)}, {human.ago(report.seconds)}, by {report.actor}, {report.program}",
        f"{report.rate:g} requests/s wanted; {report.inputs}",
    ]
    tables: list[tuple[Sequence[str], Sequence[Sequence[str]]]] = [(_HEAD, _rows(report))]
    if report.unseen:
        rows = [(o.fault, "yes" if o.accepted else "no", o.sentence) for o in report.unseen]
        tables.append((_UNSEEN, rows))
    tables.append((_FINDINGS, _found(report)))
    told = [f"{one.fault}: {one.sentence}" for one in report.results]
    return whole(f"Fire drill: {report.model}", facts, tables, [*told, *report.notes], ())


def _rows(report: "Report") -> list[tuple[str, ...]]:
    return [
        (
            *(one.fault, one.metric, one.slice, f"{one.share:.0%}"),
            f"{one.delay_ms:.0f} ms" if one.delay_ms else "-",
            *(str(one.requests), str(one.allowed), f"{one.seconds:.1f}"),
            *(str(one.asked), str(one.failed), str(one.lost)),
            "passed" if one.passed else "NOT passed",
        )
        for one in report.results
    ]


def _found(report: "Report") -> list[tuple[str, ...]]:
    return [
        (
            *(result.fault, one.metric, one.slice, f"{one.stable:.4g}", f"{one.candidate:.4g}"),
            f"{_end(one.low)} to {_end(one.high)}",
            f"{one.margin:.4g}",
        )
        for result in report.results
        for one in result.findings
    ]


def _end(value: float | None) -> str:
    return "?" if value is None else f"{value:+.4g}"
