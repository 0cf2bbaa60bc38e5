"""`rollout report`: all that is known of a roll-out, as a page or as JSON."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelworks.cli.context import json_option, rollouts
from modelworks.cli.output import Output
from modelworks.core.ids import now_ns

if TYPE_CHECKING:
    from modelworks.control.rollouts.report.told import Told


@click.command()
@click.argument("name")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write a page with plots.")
@json_option
def report(name: str, page: Path | None, as_json: bool) -> None:
    """Say all that is known of a roll-out: plan, course, intervals, risk, what is missing.

    The page needs nothing else: no script, nothing fetched.

    Example: modelworks rollout report fraud-2 --html fraud-2.html
    """
    out = Output(as_json=as_json)
    with rollouts() as verbs:
        from modelworks.control.rollouts.report.told import report_of

        told = report_of(verbs, name, now_ns())
    if page is not None:
        from modelworks.control.rollouts.report.page import html
        from modelworks.core.files import replace_text

        replace_text(page, html(told))
    if as_json:
        out.document(told)
    elif page is not None:
        out.line(str(page))
    else:
        _show(out, told)


def _show(out: Output, told: "Told") -> None:
    from modelworks.control.rollouts.report.figures import HEAD, findings_rows
    from modelworks.control.rollouts.report.page import facts, risk

    rollout = told.kept.rollout
    verdict = rollout.verdict
    out.line(f"{rollout.plan.name}: {told.sentence}")
    for line in (*facts(told), *told.plan):
        out.line(f"- {line}")
    findings = verdict.findings if verdict else ()
    out.table(HEAD, findings_rows(rollout.plan, findings), "nothing was judged yet")
    for line in (*(one.sentence for one in findings), *risk(told.risk)):
        out.line(f"- {line}")
    for line in told.missing:
        out.line(f"- not measured: {line}")
