"""Which alerts are meant: labels as patterns, silences, and names for alerts and groups."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from modelworks.core.alerts import Alert


@dataclass(frozen=True, slots=True)
class Silence:
    """For a time, nobody is told of some alerts.

    Attributes:
        id: of it.
        match: labels, and `rule` and `severity`.
        since_ns: UTC.
        until_ns: UTC.
        author: who said so.
        comment: why.
    """

    id: str
    match: Mapping[str, str]
    since_ns: int
    until_ns: int
    author: str = ""
    comment: str = ""

    def on(self, now: int) -> bool:
        """Whether it is so now."""
        return self.since_ns <= now < self.until_ns


def seen_labels(alert: Alert) -> dict[str, str]:
    """Its labels, and `rule` and `severity` as if they were."""
    return {**alert.labels, "rule": alert.rule, "severity": alert.severity.value}


def matches(match: Mapping[str, str], alert: Alert) -> bool:
    """Whether all of these are so; a label that is not there is empty."""
    if not match:
        return True
    seen = seen_labels(alert)
    return all(fnmatchcase(seen.get(name, ""), said) for name, said in match.items())


def silenced_by(alert: Alert, silences: Iterable[Silence], now: int) -> Silence | None:
    """The first silence that is on for an alert."""
    return next((one for one in silences if one.on(now) and matches(one.match, alert)), None)


def fingerprint(what: Alert | Any) -> str:
    """A name of 16 hex digits; of an alert the same for as long as its rule and labels are."""
    key = what.key if isinstance(what, Alert) else what
    return hashlib.sha256(json.dumps(key, ensure_ascii=True).encode()).hexdigest()[:16]
