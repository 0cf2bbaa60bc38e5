"""Rules as rules of Prometheus, where they say the same there; refused with the reason elsewhere.

Windows are a millisecond shorter than written: until version 3 Prometheus counts a sample that is
exactly as old as the window, and we never do.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelworks.monitor.alerts.promql import Inexpressible, condition
from modelworks.protocol.manifest.alerts.check import ordered
from modelworks.protocol.manifest.alerts.fields import holes, spelt_duration
from modelworks.protocol.manifest.alerts.rules import AlertRules, Rule

PREFIX: Final = "modelworks_"
"""As series are called on the control plane's `/metrics`."""
_PRINTF: Final = re.compile(r"(?:\.(\d{1,2}))?([fge])")


@dataclass(frozen=True, slots=True)
class Exported:
    """Rules for Prometheus.

    Attributes:
        groups: as in a rule file: `{"groups": [...]}`.
        refused: rule -> why it cannot be said there.
    """

    groups: Mapping[str, Any]
    refused: Mapping[str, str]


def export(documents: Iterable[AlertRules], prefix: str = PREFIX, every: int = 60) -> Exported:
    """All rules as one group: rules of a group are evaluated in order, as composites need.

    Args:
        documents: all of them.
        prefix: of the names of series, there.
        every: seconds between evaluations.
    """
    found = [(rule, one.spec.labels) for one in documents for rule in one.spec.rules]
    known = {rule.name: (rule, labels) for rule, labels in found}
    rules: list[dict[str, Any]] = []
    refused: dict[str, str] = {}
    for name in ordered({name: rule for name, (rule, _) in known.items()}):
        rule, labels = known[name]
        try:
            rules.append(_rule(rule, labels, prefix, refused))
        except Inexpressible as error:
            refused[name] = str(error)
    group = {"name": "modelworks", "interval": spelt_duration(every), "rules": rules}
    return Exported({"groups": [group] if rules else []}, refused)


def prometheus_rule(exported: Exported, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """The same as an object of the Prometheus operator.

    Args:
        exported: rules.
        name: of the object.
        labels: that its Prometheus selects by.
    """
    metadata = {"name": name, "labels": {"app.kubernetes.io/managed-by": "modelworks", **labels}}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata,
        "spec": dict(exported.groups),
    }


def _rule(
    rule: Rule, common: Mapping[str, str], prefix: str, refused: Mapping[str, str]
) -> dict[str, Any]:
    if rule.missing != "resolve":
        raise Inexpressible(
            f"missing: {rule.missing}: Prometheus ends an alert whose series is gone; write an "
            "absent rule beside it"
        )
    if rule.actions:
        raise Inexpressible("actions: Prometheus calls none; a webhook of Alertmanager could")
    expression, said, words = condition(rule, prefix, refused)
    summary = rule.summary or said
    constants = {**words, "rule": rule.name, "severity": rule.severity.value}
    annotations = {"summary": _template(summary, constants)}
    annotations |= {name: _template(text, constants) for name, text in rule.annotations.items()}
    if rule.runbook:
        annotations["runbook_url"] = rule.runbook
    found: dict[str, Any] = {"alert": rule.name, "expr": expression}
    if rule.for_:
        found["for"] = spelt_duration(rule.for_)
    if rule.keep_firing_for:
        found["keep_firing_for"] = spelt_duration(rule.keep_firing_for)
    labels = {**common, **rule.labels, "severity": rule.severity.value}
    return {**found, "labels": labels, "annotations": annotations}


def _template(text: str, constants: Mapping[str, str | float]) -> str:
    """Holes as actions of Go's templates."""
    found = literal = ""
    for before, name, form in holes(text):
        literal += before
        if not name:
            continue
        found += _literal(literal)
        literal = ""
        if name == "value":
            found += f"{{{{ {_printed(form)} }}}}"
        elif name in constants:
            value = constants[name]
            found += value if isinstance(value, str) else format(value, form or ".6g")
        else:
            found += f"{{{{ $labels.{name} }}}}"
    return found + _literal(literal)


def _literal(text: str) -> str:
    return text.replace("{{", '{{ "{{" }}')


def _printed(form: str) -> str:
    if form.endswith("%"):
        return "$value | humanizePercentage"
    said = _PRINTF.fullmatch(form.lstrip(","))
    if said is None:
        return 'printf "%.6g" $value' if not form else 'printf "%.0f" $value'
    return f'printf "%.{said[1] or 6}{said[2]}" $value'
