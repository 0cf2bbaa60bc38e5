"""All rules of one tenant: one evaluation of them, in an order that composites can rely on."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from modelworks.core.alerts import AlertState
from modelworks.core.errors import InvalidError
from modelworks.core.series import SeriesSource
from modelworks.monitor.alerts.bounds import Bound, Burn, Missed
from modelworks.monitor.alerts.composite import Firing, Together
from modelworks.monitor.alerts.findings import Finding, Judge
from modelworks.monitor.alerts.learned import Bending, Odd, Shifted
from modelworks.monitor.alerts.samples import Samples
from modelworks.monitor.alerts.step import SECOND, AlertKey, Event, Held, Stepped, ended, step
from modelworks.protocol.manifest.alerts.check import ordered
from modelworks.protocol.manifest.alerts.rules import AlertRules, Rule

_log = logging.getLogger(__name__)
HeldByRule = Mapping[str, Mapping[AlertKey, Held]]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What one evaluation came to.

    Attributes:
        held: rule -> what is remembered; rules without anything are left out.
        events: in the order of the rules.
    """

    held: HeldByRule
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class _One:
    """A rule, ready.

    Attributes:
        rule: as written.
        common: labels of its document.
        judge: its condition; None = a composite.
        together: that composite.
    """

    rule: Rule
    common: Mapping[str, str]
    judge: Judge | None
    together: Together | None


class Ruleset:
    """Rules, ready to be evaluated again and again.

    Args:
        documents: all of them.

    Raises:
        InvalidError: two rules of one name, or composites in a circle.
    """

    def __init__(self, documents: Iterable[AlertRules]) -> None:
        found: dict[str, _One] = {}
        for document in documents:
            for rule in document.spec.rules:
                if rule.name in found:
                    raise InvalidError(f"there are two rules '{rule.name}'; rename one")
                found[rule.name] = _ready(rule, document.spec.labels)
        try:
            order = ordered({name: one.rule for name, one in found.items()})
        except ValueError as error:
            raise InvalidError(str(error)) from None
        self._rules = [found[name] for name in order]
        self._wants = [w for one in self._rules if one.judge is not None for w in one.judge.wants()]

    @property
    def rules(self) -> list[Rule]:
        """In the order of their evaluation."""
        return [one.rule for one in self._rules]

    def evaluate(self, source: SeriesSource, held: HeldByRule, now: int) -> Evaluated:
        """Look at everything once.

        Args:
            source: of the series.
            held: what was remembered.
            now: UTC nanoseconds.
        """
        samples = Samples(source, self._wants, now / SECOND)
        after: dict[str, Mapping[AlertKey, Held]] = {}
        events: list[Event] = []
        firing = Firing()
        for one in self._rules:
            before = held.get(one.rule.name, {})
            try:
                stepped = self._step(one, samples, firing, before, now)
            except InvalidError as error:  # its own fault: the others go on, and it stays as it was
                _log.warning("rule '%s' is not evaluated: %s", one.rule.name, error.message)
                stepped = Stepped(before, ())
            _noted(one.rule.name, stepped, after, events, firing)
        names = {one.rule.name for one in self._rules}
        for name in sorted(held.keys() - names):
            _noted(name, ended(held[name], now), after, events, firing)
        return Evaluated(after, events)

    @staticmethod
    def _step(
        one: _One,
        samples: Samples,
        firing: Firing,
        held: Mapping[AlertKey, Held],
        now: int,
    ) -> Stepped:
        said = ""
        findings: list[Finding] = []
        if one.judge is not None:
            said = one.judge.said
            findings = one.judge.findings(samples)
            if one.rule.missing == "fire":
                lost = one.judge.lost(samples)
                words = {"bound": "-"}
                findings = [
                    *findings,
                    *(
                        Finding(labels, math.nan, active=True, holds=True, words=words)
                        for labels in lost
                    ),
                ]
        elif one.together is not None:
            said = one.together.said
            findings = one.together.findings(firing)
        return step(one.rule, said, one.common, findings, held, now)


def _noted(
    name: str,
    stepped: Stepped,
    after: dict[str, Mapping[AlertKey, Held]],
    events: list[Event],
    firing: Firing,
) -> None:
    events += stepped.events
    if stepped.held:
        after[name] = stepped.held
        firing.add(
            name,
            [h.alert for h in stepped.held.values() if h.alert.state is AlertState.FIRING],
        )


def _ready(rule: Rule, common: Mapping[str, str]) -> _One:
    lasting = rule.missing == "fire"
    judge: Judge | None = None
    if rule.threshold is not None:
        judge = Bound(rule.threshold, lasting=lasting)
    elif rule.trend is not None:
        judge = Bending(rule.trend, lasting=lasting)
    elif rule.anomaly is not None:
        judge = Odd(rule.anomaly, lasting=lasting)
    elif rule.change is not None:
        judge = Shifted(rule.change, lasting=lasting)
    elif rule.absent is not None:
        judge = Missed(rule.absent)
    elif rule.burn_rate is not None:
        judge = Burn(rule.burn_rate, lasting=lasting)
    together = Together(rule.composite) if rule.composite is not None else None
    return _One(rule, common, judge, together)
