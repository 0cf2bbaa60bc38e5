"""What the pages of roll-outs show: all of them, and one with its pictures and its buttons."""

from typing import Any, Final, Protocol

from markupsafe import Markup

from modelworks.client.transport import Transport
from modelworks.control.rollouts.kept import Event, Kept
from modelworks.control.rollouts.report import copies
from modelworks.control.rollouts.report.figures import HEAD, SAYS, findings_rows, share
from modelworks.control.rollouts.report.page import RULES, risk
from modelworks.control.rollouts.report.pictures import pictures
from modelworks.control.rollouts.report.told import Asked as Reported
from modelworks.control.rollouts.report.told import Told, report_of
from modelworks.core.ids import now_ns
from modelworks.core.rollouts import MOVES, Phase

MOST: Final = 200
"""In the list; the API has all."""
_EVENTS: Final = 50
_ACTS: Final = (
    ("pause", Phase.PAUSED, "Pause", "Nothing is judged until it is resumed, not even harm."),
    ("resume", Phase.RUNNING, "Resume", "What was earned before and meanwhile counts."),
    ("promote", Phase.PROMOTED, "Promote", "The candidate gets all traffic, whatever is proved."),
    ("abort", Phase.ABORTED, "Abort", "All traffic goes back to the stable version, at once."),
)
_TONES: Final = {
    Phase.PROMOTED: "passed",
    Phase.ROLLED_BACK: "failed",
    Phase.ABORTED: "failed",
    Phase.PAUSED: "accepted",
    Phase.INCONCLUSIVE: "accepted",
}
_SAID: Final = {"fine": "passed", "harmed": "failed"}


class Verbs(Reported, Protocol):
    """What is asked; behind the API's `/rollouts`."""

    def every(self) -> list[Kept]:
        """All, the newest change first."""
        ...


class Rolled(Transport, Protocol):
    """A control plane that carries roll-outs out."""

    @property
    def rollouts(self) -> Verbs:
        """Their verbs."""
        ...


def overview(verbs: Verbs) -> dict[str, Any]:
    """All of them, the newest change first."""
    found = verbs.every()
    rows = [(one, tone(one), shares(one.shares)) for one in found[:MOST]]
    return {"rows": rows, "more": max(0, len(found) - MOST)}


def one(verbs: Verbs, name: str) -> dict[str, Any]:
    """One, as it is now.

    Raises:
        NotFoundError: there is none of that name.
    """
    told = report_of(verbs, name, now_ns())
    kept = told.kept
    verdict = kept.rollout.verdict
    findings = verdict.findings if verdict else ()
    rows = findings_rows(kept.rollout.plan, findings)
    return {
        "name": name,
        "told": told,
        "kept": kept,
        "tone": tone(kept),
        "arms": _arms(told),
        "heads": HEAD,
        "findings": [
            (row, _SAID.get(SAYS[finding.outcome], ""), finding.sentence)
            for row, finding in zip(rows, findings, strict=True)
        ],
        "pictures": [(drawn, Markup(drawn.svg)) for drawn in pictures(told)],  # noqa: S704 - escaped where it is drawn
        "events": [(event, shares(event.shares)) for event in _newest(told.events)],
        "copies": Markup(copies.html(told.copies)),  # noqa: S704 - the same
        "risk": risk(told.risk),
        "acts": acts(kept),
        "rules": RULES,
    }


def acts(kept: Kept) -> list[dict[str, str]]:
    """What a person may do now: the verb, its button, what comes of it."""
    plan, phase = kept.rollout.plan, kept.rollout.phase
    found = []
    for verb, becomes, words, means in _ACTS:
        if becomes not in MOVES[phase] or (verb == "resume" and phase is not Phase.PAUSED):
            continue
        arms = plan.candidates if verb == "promote" else ("",)
        found += [
            {"verb": verb, "words": f"{words} {arm}".strip(), "means": means, "arm": arm}
            for arm in arms
        ]
    return found


def tone(kept: Kept) -> str:
    """The colour of a phase."""
    return _TONES.get(kept.rollout.phase, "")


def shares(given: dict[str, float]) -> str:
    """`1.0.0 95 %, 2.0.0 5 %`."""
    return ", ".join(f"{arm} {share(part)}" for arm, part in given.items())


def _arms(told: Told) -> list[tuple[str, str, int]]:
    """Arm, its share now, its requests since the step began."""
    plan = told.kept.rollout.plan
    requests = told.looks[-1].requests if told.looks else {}
    return [
        (arm, share(told.kept.shares.get(arm, 0.0)), requests.get(arm, 0))
        for arm in (plan.stable, *plan.candidates)
    ]


def _newest(events: tuple[Event, ...]) -> list[Event]:
    return list(reversed(events))[:_EVENTS]
