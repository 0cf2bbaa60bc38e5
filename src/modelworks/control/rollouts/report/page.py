"""A roll-out's report as one HTML file that needs nothing else: no script, nothing fetched."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from modelworks.control.rollouts.kept import Event
from modelworks.control.rollouts.report import copies
from modelworks.control.rollouts.report.figures import HEAD, findings_rows, share, span
from modelworks.control.rollouts.report.picture import Picture
from modelworks.control.rollouts.report.pictures import pictures
from modelworks.control.rollouts.report.told import Risk, Told
from modelworks.core.ids import iso
from modelworks.measure.page import STYLE, listed, table

RULES: Final = "watch"
_STYLE: Final = (
    STYLE
    + """
th, td { text-align: left; vertical-align: top; }
figure { margin: 0; max-width: 44rem; }
figcaption { font-weight: 600; } figcaption span { font-weight: 400; }
svg text { fill: var(--ink); opacity: .7; }
.rule { stroke: var(--faint); fill: none; }
.band { fill: #2563a8; opacity: .16; }
.zero { stroke: var(--ink); opacity: .5; fill: none; }
.limit { stroke: #c23b5e; stroke-width: 1.6; stroke-dasharray: 5 4; fill: none; }
.step { stroke: var(--ink); opacity: .35; stroke-dasharray: 2 4; fill: none; }
.c0 { stroke: #2563a8; } .c1 { stroke: #d1602b; } .c2 { stroke: #2f8f4e; } .c3 { stroke: #8a4fa8; }
.c4 { stroke: #b8942a; } .c5 { stroke: #c23b5e; } .c6 { stroke: #3a9aa8; } .c7 { stroke: #6b6b6b; }
"""
)


def html(told: Told) -> str:
    """The whole file."""
    rollout = told.kept.rollout
    title = f"Roll-out {rollout.plan.name}"
    verdict = rollout.verdict
    drawn = pictures(told)
    return "".join(
        [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1><p><b>{escape(told.sentence)}</b></p>",
            listed(facts(told)),
            "<h2>The plan</h2>",
            listed(told.plan),
            "<h2>What the arms got</h2>",
            _drawn(drawn[:1]),
            "<h2>How much worse the candidate is</h2>",
            (
                "<p>The line is the difference, the band its interval, which holds at all times "
                "together, however often anybody looks; dashed: what was allowed. Up is worse.</p>"
            ),
            _drawn(drawn[1:]),
            table(HEAD, findings_rows(rollout.plan, verdict.findings if verdict else ())),
            listed(one.sentence for one in (verdict.findings if verdict else ())),
            "<h2>What happened, and who did it</h2>",
            table(("when", "phase", "step", "who", "what", "shares"), _events(told.events)),
            "<h2>Risk</h2>",
            listed(risk(told.risk)),
            copies.html(told.copies),
            "<h2>Not measured</h2>",
            listed(told.missing or ["all that the plan asks for was measured"]),
            "</body></html>\n",
        ]
    )


def facts(told: Told) -> list[str]:
    """Who, when, how many."""
    kept, rollout = told.kept, told.kept.rollout
    found = [f"started by {rollout.actor or 'nobody who is known'}; report of {_stamp(told.at_ns)}"]
    if rollout.began_ns:
        end = kept.ended_ns or told.at_ns
        took = span(max(0.0, (end - rollout.began_ns) / 1e9))
        until = f"ended {_stamp(kept.ended_ns)}" if kept.ended_ns else "it goes on"
        found.append(f"first step {_stamp(rollout.began_ns)}; {until}, after {took}")
    acted = sorted({one.actor for one in told.events if one.actor != RULES})
    found.append(f"acted by hand: {', '.join(acted) or 'nobody'}; else the rules ({RULES}) did")
    if told.looks:
        last = told.looks[-1]
        counts = ", ".join(f"{arm} {count:,}" for arm, count in last.requests.items())
        at = _stamp(last.at_ns)
        found.append(
            f"requests of step {last.step + 1} by the last look that was kept, {at}: {counts}"
        )
    return found


def risk(risk: Risk) -> list[str]:
    """What was declared, and what of it is spent."""
    back = f"{share(risk.false_rollback)} declared, {share(risk.spent)} spent so far"
    each = (
        f"comparisons a step: {risk.tests}, {share(risk.each)} each; steps planned: {risk.stages}"
    )
    proof = f"{share(risk.proof)} each comparison, and who is promoted has passed them all"
    return [
        f"false roll-back: {back} ({each})",
        f"false promotion: {share(risk.false_promotion)} declared; {proof}",
    ]


def _stamp(at_ns: int) -> str:
    return iso(at_ns)[:19].replace("T", " ") + " UTC"


def _events(events: Iterable[Event]) -> list[list[str]]:
    return [
        [
            *(_stamp(one.at_ns), str(one.phase), str(one.step + 1), one.actor, one.sentence),
            ", ".join(f"{arm} {share(part)}" for arm, part in one.shares.items()),
        ]
        for one in events
    ]


def _drawn(drawn: Sequence[Picture]) -> str:
    figures = (
        f'<figure id="{escape(one.id)}"><figcaption>{escape(one.title)} '
        f"<span>({escape(one.unit)})</span></figcaption>{one.svg}{_legend(one)}</figure>"
        for one in drawn
    )
    return f'<div class="charts">{"".join(figures)}</div>' if drawn else "<p>Nothing yet.</p>"


def _legend(one: Picture) -> str:
    if one.banded:
        return ""
    keys = (
        f'<svg viewBox="0 0 14 4" width="14" height="4" role="presentation" style="width:14px">'
        f'<path class="curve c{number % 8}" d="M0 2H14"/></svg> {escape(name)} &nbsp; '
        for number, name in enumerate(one.names)
    )
    return f"<p>{''.join(keys)}</p>"
