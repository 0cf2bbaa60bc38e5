"""`alerts`: what fires, who looks after it, and tests of the rules before anything does."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from modelworks.cli import human
from modelworks.cli.alerting import alerting, document, matchers, read, until
from modelworks.cli.commands.alert_rules import rules
from modelworks.cli.context import json_option, platform
from modelworks.cli.exits import Exit
from modelworks.cli.manifests import refused
from modelworks.cli.output import Output
from modelworks.core.alerts import AlertState
from modelworks.core.errors import NotFoundError
from modelworks.core.ids import iso, now_ns

if TYPE_CHECKING:
    from modelworks.monitor.alerts.service import Listed


@click.group()
def alerts() -> None:
    """Show alerts, silence and acknowledge them; check, test and apply their rules."""


alerts.add_command(rules)


@alerts.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--environment", "-e", default="", help="Put the overlays of this environment on.")
@json_option
def lint(files: tuple[str, ...], environment: str, as_json: bool) -> int:
    """Check FILES of rules, routing and tests (folders: their *.yaml; `-`: standard input).

    Names that one document has of another are looked for in all FILES; secrets are not read.

    Example: modelworks alerts lint alerts.yaml routing.yaml
    """
    out = Output(as_json=as_json)
    with platform("rules of alerts"):
        from modelworks.protocol.manifest import ManifestError
    try:
        found = read(files, environment)
    except ManifestError as error:
        return refused(out, error)
    names = [one.key for one in found.documents]
    if as_json:
        out.document({"ok": True, "documents": [{"kind": k, "name": n} for k, n in names]})
    for kind, name in names:
        out.note(f"good: {kind} {name}")
    return Exit.OK


@alerts.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--environment", "-e", default="", help="Put the overlays of this environment on.")
@json_option
def test(files: tuple[str, ...], environment: str, as_json: bool) -> int:
    """Run the tests in FILES on the rules in them: written series in, alerts and messages out.

    Ends with exit code 9 where one fails; `-` is what was expected and did not come, `+` what came.

    Example: modelworks alerts test alerts.yaml alerts-test.yaml
    """
    out = Output(as_json=as_json)
    with platform("tests of alerts"):
        from modelworks.cli.alert_tests import run
    results = run(files, environment)
    if as_json:
        out.document({"ok": not any(one.lines for one in results), "tests": results})
    for one in results:
        if one.lines and not as_json:
            out.line(f"FAILED {one.document}: {one.name}")
            for line in one.lines:
                out.line(f"  {line}")
    failed = sum(bool(one.lines) for one in results)
    out.note(f"{len(results) - failed} passed, {failed} failed")
    return Exit.GATE if failed else Exit.OK


@alerts.command("list")
@click.option("--match", "-m", multiple=True, metavar="LABEL=VALUE", help="Only these; * is any.")
@click.option("--all", "ended", is_flag=True, help="Those that ended within a day, too.")
@json_option
def list_(match: tuple[str, ...], ended: bool, as_json: bool) -> None:
    """List the alerts that fire or are pending, the gravest first.

    Examples: modelworks alerts list; modelworks alerts list -m model=fraud --all --json
    """
    out = Output(as_json=as_json)
    with alerting() as service:
        found = service.every(matchers(match))
    shown = [one for one in found if ended or one.held.alert.state is not AlertState.RESOLVED]
    if as_json:
        return out.document([document(one) for one in shown])
    return out.table(
        ["id", "state", "severity", "rule", "labels", "since", "summary", ""],
        [_row(one) for one in shown],
        "nothing fires",
    )


@alerts.command()
@click.argument("alert")
@json_option
def show(alert: str, as_json: bool) -> None:
    """Show all that is known of ALERT: its id, or the name of its rule.

    Example: modelworks alerts show SlowAnswers
    """
    out = Output(as_json=as_json)
    with alerting() as service:
        found = [
            one
            for one in service.every()
            if one.held.alert.rule == alert or one.id.startswith(alert)
        ]
        calls = [
            one for one in service.calls() if one.alert.key in {f.held.alert.key for f in found}
        ]
        groups = service.groups()
    if not found:
        raise NotFoundError(f"no alert is called '{alert}'; see: modelworks alerts list --all")
    told = {f.id: [g for g in groups if f.id in g.told] for f in found}
    if as_json:
        return out.document(
            {"alerts": [document(one) for one in found], "told": told, "calls": calls}
        )
    for one in found:
        _whole(out, one)
        for group in told[one.id]:
            why = f": {group.message}" if group.message else ""
            out.line(f"  told      {group.receiver}, {human.when(group.told_ns, now_ns())}{why}")
        for call in calls:
            if call.alert.key == one.held.alert.key:
                out.line(f"  called    {call.action}: {call.state.value} {call.message}".rstrip())
    return None


@alerts.command()
@click.option("--match", "-m", multiple=True, required=True, metavar="LABEL=VALUE", help="Which.")
@click.option("--comment", "-c", default="", help="For the others.")
@json_option
def ack(match: tuple[str, ...], comment: str, as_json: bool) -> None:
    """Say that you look after alerts that fire: nobody is told of them again, none escalates.

    Labels, `rule`, `severity` and `id` may be matched.

    Example: modelworks alerts ack -m rule=SlowAnswers -m model=fraud -c "on it"
    """
    out = Output(as_json=as_json)
    with alerting() as service:
        done = service.acknowledge(matchers(match), comment)
    if as_json:
        return out.document([document(one) for one in done])
    for one in done:
        out.line(f"{one.alert.rule} {_labels(one.alert.labels)}: acknowledged".replace("  ", " "))
    return None


@alerts.group()
def silence() -> None:
    """Tell nobody of some alerts, for a time."""


@silence.command()
@click.option("--match", "-m", multiple=True, required=True, metavar="LABEL=VALUE", help="Which.")
@click.option("--for", "span", required=True, help="How long: 30m, 2h, 1d.")
@click.option("--comment", "-c", required=True, help="Why.")
@json_option
def add(match: tuple[str, ...], span: str, comment: str, as_json: bool) -> None:
    """Silence the alerts that match, from now on. What was told to fire is still told to end.

    Example: modelworks alerts silence add -m model=fraud --for 2h -c "planned retraining"
    """
    out = Output(as_json=as_json)
    with alerting() as service:
        made = service.silence(matchers(match), until(span), comment)
    if as_json:
        return out.document(made)
    return out.line(f"{made.id}: silent until {iso(made.until_ns)}")


@silence.command("list")
@json_option
def silences(as_json: bool) -> None:
    """List silences, the one that ends last first; those of the last week, too.

    Example: modelworks alerts silence list
    """
    out = Output(as_json=as_json)
    with alerting() as service:
        found = service.silences()
    if as_json:
        return out.document(found)
    now = now_ns()
    rows = [
        [
            one.id,
            "on" if one.on(now) else "over",
            _labels(one.match),
            iso(one.until_ns),
            one.author or "-",
            one.comment,
        ]
        for one in found
    ]
    return out.table(["id", "", "match", "until", "by", "comment"], rows, "no silences")


@silence.command()
@click.argument("name")
@json_option
def expire(name: str, as_json: bool) -> None:
    """End silence NAME (its id, or how it begins) now.

    Example: modelworks alerts silence expire 0198c2
    """
    out = Output(as_json=as_json)
    with alerting() as service:
        ended = service.expire(name)
    if as_json:
        return out.document(ended)
    return out.line(f"{ended.id}: over")


def _row(one: "Listed") -> list[str]:
    alert = one.held.alert
    notes = [one.quiet] if one.quiet else []
    if one.held.acknowledged_by:
        notes.append(f"{one.held.acknowledged_by} looks after it")
    return [
        one.id[:8],
        alert.state.value,
        alert.severity.value,
        alert.rule,
        _labels(alert.labels),
        human.when(alert.since_ns, now_ns()),
        alert.summary,
        ", ".join(notes),
    ]


def _whole(out: Output, one: "Listed") -> None:
    alert = one.held.alert
    out.line(f"{alert.rule} {_labels(alert.labels)}: {alert.state.value}")
    facts = {
        "id": one.id,
        "severity": alert.severity.value,
        "summary": alert.summary,
        "since": iso(alert.since_ns),
        "fired": iso(alert.fired_ns) if alert.fired_ns else "",
        "ended": iso(alert.ended_ns) if alert.ended_ns else "",
        "quiet": one.quiet,
        "ack": f"{one.held.acknowledged_by} {one.held.comment}".strip(),
        "runbook": alert.runbook,
        **alert.annotations,
    }
    for name, text in facts.items():
        if text:
            out.line(f"  {name:<9} {text}")


def _labels(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
