"""Conditions as PromQL."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from modelworks.monitor.alerts.bounds import Bound, Burn, Missed
from modelworks.protocol.manifest.alerts.check import terms
from modelworks.protocol.manifest.alerts.conditions import (
    Absent,
    Aggregate,
    BurnRate,
    Composite,
    Term,
    Threshold,
)
from modelworks.protocol.manifest.alerts.fields import pattern, spelt_duration
from modelworks.protocol.manifest.alerts.rules import Rule

_OVER: Final = {
    Aggregate.LAST: "last_over_time",
    Aggregate.MEAN: "avg_over_time",
    Aggregate.MIN: "min_over_time",
    Aggregate.MAX: "max_over_time",
    Aggregate.SUM: "sum_over_time",
    Aggregate.COUNT: "count_over_time",
}
_LEARNED: Final = {
    "trend": "Prometheus fits lines by least squares, which one bad sample bends; it has no "
    "robust fit",
    "anomaly": "Prometheus has no median of the same hours of other weeks",
    "change": "Prometheus has no CUSUM: a rule there keeps no sum",
}

Said = tuple[str, str, dict[str, str | float]]
"""Expression, summary where the rule has none, what its holes hold."""


class Inexpressible(Exception):  # noqa: N818 - an answer, not a failure
    """It would not mean the same in Prometheus; the message says why."""


def condition(rule: Rule, prefix: str, refused: Mapping[str, str]) -> Said:
    """A rule's condition.

    Args:
        rule: as written.
        prefix: of the names of series, there.
        refused: rules before it that could not be said.

    Raises:
        Inexpressible: nor can this one.
    """
    if rule.threshold is not None:
        said = Bound(rule.threshold, lasting=False).said
        return _threshold(rule.threshold, prefix), said, {"bound": rule.threshold.bound}
    if rule.absent is not None:
        return _absent(rule.absent, prefix), Missed(rule.absent).said, {}
    if rule.burn_rate is not None:
        burn = rule.burn_rate
        return _burn(burn, prefix), Burn(burn, lasting=False).said, {"bound": burn.pairs()[0].burn}
    if rule.composite is not None:
        names = dict.fromkeys(term.rule for term, _ in terms(rule.composite) if term.rule)
        for name in names:
            if name in refused:
                raise Inexpressible(f"it speaks of '{name}', which cannot be said: {refused[name]}")
        return _composite(rule.composite), " and ".join(names), {"terms": " and ".join(names)}
    raise Inexpressible(_LEARNED[rule.kind])


def _threshold(rule: Threshold, prefix: str) -> str:
    if rule.clear is not None:
        raise Inexpressible("clear: a rule of Prometheus does not know whether it fires already")
    function = _OVER[rule.by]
    value = f"{function}({_selected(prefix + rule.series, rule.where)}{_range(rule.over)})"
    if rule.per:
        value += f" / {function}({_selected(prefix + rule.per, rule.where)}{_range(rule.over)})"
    return f"{value} {'>' if rule.above is not None else '<'} {rule.bound!r}"


def _absent(rule: Absent, prefix: str) -> str:
    selected = _selected(prefix + rule.series, rule.where)
    if not rule.seen:
        return f"absent_over_time({selected}{_range(rule.over)})"
    seen = f"last_over_time({selected}{_range(rule.seen)})"
    return f"{seen} unless last_over_time({selected}{_range(rule.over)})"


def _burn(rule: BurnRate, prefix: str) -> str:
    if rule.series and not rule.every:
        raise Inexpressible(
            "burn_rate of series: Prometheus counts steps, not samples; say how far apart the "
            "samples are (every), or use bad and total"
        )
    pairs = []
    for pair in rule.pairs():
        both = [
            f"{_burnt(rule, prefix, window)} / (1 - {rule.objective!r}) > {pair.burn!r}"
            for window in (pair.long, pair.short)
        ]
        pairs.append(f"({both[0]} and {both[1]})")
    return " or ".join(pairs)


def _burnt(rule: BurnRate, prefix: str, window: int) -> str:
    """The share that is bad."""
    if rule.series:
        step = spelt_duration(rule.every)
        last = f"last_over_time({_selected(prefix + rule.series, rule.where)}{_range(rule.every)})"
        steps = _range(window)[:-1] + f":{step}]"
        return f"avg_over_time(({last} > bool {float(rule.above or 0)!r}){steps})"
    bad, total = (
        f"sum_over_time({_selected(prefix + name, rule.where)}{_range(window)})"
        for name in (rule.bad, rule.total)
    )
    return f"{bad} / {total}"


def _composite(rule: Composite) -> str:
    on = ", ".join(rule.on)
    if rule.of:
        return _several(rule, on)
    return _term(rule, on)


def _term(term: Term, on: str) -> str:
    if term.rule:
        return f"count by ({on}) ({_alerts(term)}) >= {term.at_least}"
    if term.any:
        return _joined([_nested(one, on) for one in term.any], f"or on ({on})")
    if term.all:
        positive = [one for one in term.all if one.not_ is None]
        negative = [one.not_ for one in term.all if one.not_ is not None]
        if not positive:
            raise Inexpressible("all of it is not: there is nothing to begin with")
        found = _joined([_nested(one, on) for one in positive], f"and on ({on})")
        for one in negative:
            found += f" unless on ({on}) {_nested(one, on)}"
        return found
    if term.of:
        return _several(term, on)
    raise Inexpressible("not is only possible inside all, beside something that is true")


def _nested(term: Term, on: str) -> str:
    return f"({_term(term, on)})"


def _joined(parts: Sequence[str], word: str) -> str:
    return f" {word} ".join(parts)


def _several(term: Term, on: str) -> str:
    """So many of several rules."""
    names = [one.rule for one in term.of]
    plain = all(one.rule and one.at_least == 1 and not one.where for one in term.of)
    if not plain or len(set(names)) != len(names):
        raise Inexpressible("of: only different rules, each said by its name alone, are counted")
    chosen = {"alertstate": '="firing"', "alertname": f'=~"{"|".join(names)}"'}
    inner = f"count by ({on}{', ' if on else ''}alertname) (ALERTS{_braced(chosen)})"
    return f"count by ({on}) ({inner}) >= {term.at_least}"


def _alerts(term: Term) -> str:
    own = {"alertname": f"={json.dumps(term.rule)}", "alertstate": '="firing"'}
    return f"ALERTS{_braced({**own, **_matched(term.where)})}"


def _selected(name: str, where: Mapping[str, str]) -> str:
    matched = _matched(where)
    return f"{name}{_braced(matched)}" if matched else name


def _braced(matched: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{name}{said}" for name, said in matched.items()) + "}"


def _matched(where: Mapping[str, str]) -> dict[str, str]:
    return {
        name: f"=~{json.dumps(_regex(value), ensure_ascii=False)}"
        if pattern(value)
        else f"={json.dumps(value, ensure_ascii=False)}"
        for name, value in where.items()
    }


def _regex(text: str) -> str:
    """A pattern of names of files as RE2."""
    found, place = "", 0
    while place < len(text):
        sign = text[place]
        end = text.find("]", place + 2) if sign == "[" else -1
        if sign == "[" and end > 0:
            inner = text[place + 1 : end].replace("\\", "\\\\")
            negated = inner.startswith("!")
            inner = inner.removeprefix("!")
            inner = inner.replace("[", "\\[")
            if inner.startswith("^"):
                inner = "\\" + inner
            found += f"[{'^' if negated else ''}{inner}]"
            place = end + 1
            continue
        found += {"*": ".*", "?": "."}.get(sign) or re.escape(sign)
        place += 1
    return found


def _range(seconds: int) -> str:
    """A window without its oldest instant."""
    whole = spelt_duration(seconds - 1) if seconds > 1 else ""
    return f"[{whole}999ms]"
