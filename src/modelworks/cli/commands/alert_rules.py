"""`alerts rules`: rules and routing are applied, listed, removed, and written for Prometheus."""

import click

from modelworks.cli.alerting import alerting, read
from modelworks.cli.context import json_option, platform
from modelworks.cli.exits import Exit
from modelworks.cli.manifests import file_options
from modelworks.cli.output import Output


@click.group()
def rules() -> None:
    """Apply, list and remove rules and routing; write rules for Prometheus."""


@rules.command()
@file_options
@json_option
def apply(files: tuple[str, ...], environment: str, as_json: bool) -> None:
    """Take the rules and the routing of files over; documents that are not in them stay.

    The worker (`modelworks up`) evaluates them from its next round on. Tests are left out.

    Example: modelworks alerts rules apply -f alerts.yaml -f routing.yaml
    """
    out = Output(as_json=as_json)
    with platform("rules of alerts"):
        found = read(files or ("alerts.yaml",), environment)
    with alerting() as service:
        done = service.apply(found)
    if as_json:
        return out.document(done)
    for one in done:
        out.line(f"{one.kind} {one.name}: {'applied' if one.changed else 'unchanged'}")
    return None


@rules.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the rules that are applied.

    Example: modelworks alerts rules list
    """
    out = Output(as_json=as_json)
    with alerting() as service:
        documents = service.documents()
        found = service.rules()
    if as_json:
        return out.document(documents)
    rows = [
        [one.metadata.name, rule.name, rule.kind, rule.severity.value, rule.summary or "-"]
        for one in found
        for rule in one.spec.rules
    ]
    return out.table(
        ["document", "rule", "looks at", "severity", "summary"],
        rows,
        "no rules yet; write them, then: modelworks alerts rules apply -f alerts.yaml",
    )


@rules.command()
@click.argument("kind", type=click.Choice(["AlertRules", "AlertRouting"]))
@click.argument("name")
@json_option
def remove(kind: str, name: str, as_json: bool) -> None:
    """Let go of an applied document; alerts of its rules end.

    Example: modelworks alerts rules remove AlertRules serving
    """
    out = Output(as_json=as_json)
    with alerting() as service:
        service.remove(kind, name)
    if as_json:
        return out.document({"kind": kind, "name": name})
    return out.line(f"{kind} {name}: removed")


@rules.command()
@file_options
@click.option("--prefix", default="modelworks_", help="Of the names of series (modelworks_).")
@click.option(
    "--operator", default="", metavar="NAME", help="A PrometheusRule of this name, for Kubernetes."
)
@click.option("--partial", is_flag=True, help="Write what can be said although some cannot.")
@json_option
def export(
    files: tuple[str, ...],
    environment: str,
    prefix: str,
    operator: str,
    partial: bool,
    as_json: bool,
) -> int:
    """Write rules for Prometheus on standard output: those of files, or else the applied ones.

    A rule that would not mean the same there is refused with the reason, and nothing is written.

    Examples: modelworks alerts rules export > rules.yml; modelworks alerts rules export
    -f alerts.yaml --operator modelworks
    """
    out = Output(as_json=as_json)
    with platform("rules of alerts"):
        import yaml

        from modelworks.monitor.alerts.prometheus import export as exported
        from modelworks.monitor.alerts.prometheus import prometheus_rule
        from modelworks.protocol.manifest.alerts import AlertRules
    if files:
        documents = read(files, environment).of(AlertRules)
    else:
        with alerting() as service:
            documents = service.rules()
    found = exported(documents, prefix)
    document = prometheus_rule(found, operator, {}) if operator else dict(found.groups)
    written = not found.refused or partial
    if as_json:
        out.document({"refused": found.refused, "rules": document if written else None})
    for name, reason in found.refused.items():
        out.note(f"{name}: cannot be said in Prometheus: {reason}")
    if written and not as_json:
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
        for line in text.splitlines():
            out.line(line)
    return Exit.OK if written else Exit.INVALID
