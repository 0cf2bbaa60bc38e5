"""Rules that look at other rules: and, or, not, and so many of them."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from modelworks.core.alerts import Alert
from modelworks.monitor.alerts.findings import Finding
from modelworks.protocol.manifest.alerts.check import terms
from modelworks.protocol.manifest.alerts.conditions import Composite, Term

Group = tuple[str, ...]


class Firing:
    """What fires so far in one evaluation, by rule."""

    def __init__(self) -> None:
        self._of: dict[str, list[Alert]] = {}

    def add(self, rule: str, alerts: list[Alert]) -> None:
        """Note a rule's alerts."""
        if alerts:
            self._of[rule] = alerts

    def counted(self, term: Term, on: Sequence[str]) -> dict[Group, int]:
        """How many alerts of a term's rule there are, by the labels in common."""
        found: dict[Group, int] = {}
        for alert in self._of.get(term.rule, ()):
            labels = alert.labels
            if all(fnmatchcase(labels.get(name, ""), said) for name, said in term.where.items()):
                group = tuple(labels.get(name, "") for name in on)
                found[group] = found.get(group, 0) + 1
        return found


class Together:
    """`composite`.

    Args:
        rule: as written.
    """

    said = "{terms}"

    def __init__(self, rule: Composite) -> None:
        self._rule = rule
        self._on = tuple(rule.on)
        self._leaves = [term for term, _ in terms(rule) if term.rule]

    def findings(self, firing: Firing) -> list[Finding]:
        """One for each value of the labels in common that something fires for."""
        counts = {id(term): firing.counted(term, self._on) for term in self._leaves}
        groups = sorted({group for found in counts.values() for group in found})
        result = []
        for group in groups:
            true = self._true(self._rule, group, counts)
            labels = {n: value for n, value in zip(self._on, group, strict=True) if value}
            there = [t for t in self._leaves if counts[id(t)].get(group, 0)]
            number = sum(counts[id(term)].get(group, 0) for term in there)
            words = " and ".join(dict.fromkeys(term.rule for term in there))
            result.append(Finding(labels, float(number), true, true, {"terms": words}))
        return result

    def _true(self, term: Term, group: Group, counts: dict[int, dict[Group, int]]) -> bool:
        if term.rule:
            return counts[id(term)].get(group, 0) >= term.at_least
        if term.not_ is not None:
            return not self._true(term.not_, group, counts)
        if term.all:
            return all(self._true(one, group, counts) for one in term.all)
        if term.any:
            return any(self._true(one, group, counts) for one in term.any)
        return sum(self._true(one, group, counts) for one in term.of) >= term.at_least
