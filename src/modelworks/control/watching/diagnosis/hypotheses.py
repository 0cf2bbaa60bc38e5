"""The hypotheses: each a rule that looks at a case and says how likely it is, and why. Pure.

A score lies between 0 and 1. What explains others (another version, broken inputs) is scored above
what may follow from it (slow answers, lost quality) where both are there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from modelworks.control.watching.diagnosis.case import Act, Case, Moved
from modelworks.core.ids import iso

_MOVED: Final = 5.0
"""Spreads that a series has to move to count."""
_NEAR_S: Final = 900.0
"""Something that was done so shortly before a move may be its cause."""
LIKELY: Final = 0.3
"""Below that a hypothesis is not named."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A hypothesis that something speaks for.

    Attributes:
        cause: `version`, `schema`, ...
        score: 0 to 1.
        summary: one sentence.
        evidence: numbers and times, a sentence each.
        help: where the documentation goes on.
    """

    cause: str
    score: float
    summary: str
    evidence: tuple[str, ...]
    help: str


class Hypothesis(Protocol):
    """One cause that may be."""

    cause: ClassVar[str]

    def judge(self, case: Case) -> Finding | None:
        """What speaks for it; None = nothing does."""
        ...


def diagnose(case: Case) -> list[Finding]:
    """The causes that something speaks for, the likeliest first."""
    found = [one for hypothesis in ALL if (one := hypothesis.judge(case)) is not None]
    named = [one for one in found if one.score >= LIKELY]
    return sorted(named, key=lambda one: -one.score)


class Version:
    """Another version serves since shortly before the move."""

    cause: ClassVar[str] = "version"

    def judge(self, case: Case) -> Finding | None:
        """Scores 0.95 where answers moved within a quarter of an hour, 0.4 where nothing did."""
        changed = [act for act in case.acts if act.version and act.at > case.since - _NEAR_S]
        if not changed:
            return None
        moves = list(_harms(case))
        near = [
            (act, move)
            for act in changed
            for move in moves
            if -60 <= move.since - act.at <= _NEAR_S
        ]
        act = near[0][0] if near else changed[0]
        score = 0.95 if near else 0.4 if moves else 0.0
        told = [f"{iso(int(act.at * 1e9))}: {act.what}", *(_said(move) for _, move in near[:3])]
        summary = f"another version serves since then: {act.version}"
        return _finding(self.cause, score, summary, told)


class Schema:
    """Requests are no longer what the model wants: names, types, missing values."""

    cause: ClassVar[str] = "schema"

    def judge(self, case: Case) -> Finding | None:
        """Scores 0.9 where types are wrong or requests refused, 0.7 where values go missing."""
        found: list[tuple[float, Moved]] = []
        for name, score in (("wrong_type", 0.9), ("missing", 0.7), ("new_category", 0.5)):
            found += [
                (score + min(0.05, one.now / 20), one)
                for one in case.moved.get(name, ())
                if one.now - one.before >= 0.02 and one.sigmas >= _MOVED
            ]
        requests = case.most("requests")
        invalid = case.most("invalid")
        if invalid and requests and requests.now > 0:
            share = invalid.now / requests.now
            if share >= 0.02 and invalid.sigmas >= _MOVED:
                found.append((0.9 if share > 0.1 else 0.75, invalid))
        if not found:
            return None
        found.sort(key=lambda pair: -pair[0])
        score, first = found[0]
        of = first.labels.get("feature", "")
        summary = (
            f"feature '{of}' is not what it was: {first.name.replace('_', ' ')}"
            if of
            else "requests are refused as wrong"
        )
        return _finding(self.cause, score, summary, [_said(one) for _, one in found[:5]])


class Mix:
    """The callers ask about other things: features moved, in what they should be."""

    cause: ClassVar[str] = "mix"

    def judge(self, case: Case) -> Finding | None:
        """Scores 0.55 to 0.8 by the distance of the feature that moved farthest (0.1 counts)."""
        moved = [
            one
            for one in case.moved.get("drift", ())
            if one.labels.get("method") == "js" and one.sigmas >= _MOVED and one.now >= 0.1
        ]
        if not moved:
            return None
        moved.sort(key=lambda one: -one.now)
        losses = {
            one.labels.get("feature", ""): one.now for one in case.moved.get("drift_loss", ())
        }
        moved.sort(key=lambda one: -losses.get(one.labels.get("feature", ""), 0.0))
        score = min(0.8, 0.55 + max(one.now for one in moved) / 2)
        names = ", ".join(f"'{one.labels.get('feature', '')}'" for one in moved[:3])
        return _finding(
            self.cause, score, f"other traffic: {names} moved", [_said(one) for one in moved[:5]]
        )


class Load:
    """More requests than the servers keep up with."""

    cause: ClassVar[str] = "saturation"

    def judge(self, case: Case) -> Finding | None:
        """Scores 0.85 where the queue grew with the traffic, 0.6 where it grew alone."""
        requests, queue = case.most("requests"), case.most("queue_p99_ms")
        rejected = case.most("rejected")
        waits = queue is not None and queue.ratio >= 2 and queue.sigmas >= _MOVED
        refused = rejected is not None and rejected.now > 0 and rejected.sigmas >= _MOVED
        if not (waits or refused):
            return None
        more = requests is not None and requests.ratio >= 1.3 and requests.sigmas >= _MOVED
        shown = [
            one
            for one, true in ((requests, more), (queue, waits), (rejected, refused))
            if one is not None and true
        ]
        summary = (
            "more requests than the servers keep up with"
            if more
            else "requests wait for the engine, though there are not more of them"
        )
        return _finding(self.cause, 0.85 if more else 0.6, summary, [_said(one) for one in shown])


class Upstream:
    """Answers take longer though neither the engine nor the queue does: what comes before it."""

    cause: ClassVar[str] = "upstream"

    def judge(self, case: Case) -> Finding | None:
        """Scores 0.75: total latency rose, compute and queue did not follow."""
        total = case.most("latency_p99_ms")
        if total is None or total.ratio < 1.5 or total.sigmas < _MOVED:
            return None
        inner = [case.most("compute_p99_ms"), case.most("queue_p99_ms")]
        grown = sum(max(0.0, one.now - one.before) for one in inner if one is not None)
        if not any(inner) or grown > 0.3 * (total.now - total.before):
            return None
        told = [_said(total), *(_said(one) for one in inner if one is not None)]
        summary = "time is lost outside the engine: decoding, a step before it, or the network"
        return _finding(self.cause, 0.75, summary, told)


class Compute:
    """The model itself takes longer, on the same machine."""

    cause: ClassVar[str] = "compute"

    def judge(self, case: Case) -> Finding | None:
        """Scores 0.5: compute rose; a full machine, or another version, explains it better."""
        compute = case.most("compute_p99_ms")
        if compute is None or compute.ratio < 1.5 or compute.sigmas < _MOVED:
            return None
        summary = "the model's own computation takes longer"
        return _finding(self.cause, 0.5, summary, [_said(compute)])


class Host:
    """The machine is full: CPU, memory, disk."""

    cause: ClassVar[str] = "host"

    def judge(self, case: Case) -> Finding | None:
        """Scores 0.88 where CPU (to 90 %), memory (95 %), disk (98 %) or faults rose."""
        shown = []
        for name, limit in (
            ("host_cpu_share", 0.9),
            ("host_memory_share", 0.95),
            ("host_disk_share", 0.98),
            ("host_major_faults_per_s", 50.0),
        ):
            one = case.most(name)
            if one is not None and one.now >= limit and one.sigmas >= _MOVED:
                shown.append(one)
        if not shown:
            return None
        requests = case.most("requests")
        busier = requests is not None and requests.ratio >= 1.3 and requests.sigmas >= _MOVED
        score = 0.6 if busier and shown[0].name == "host_cpu_share" else 0.88
        summary = f"the machine is full: {shown[0].name.removeprefix('host_').replace('_', ' ')}"
        return _finding(self.cause, score, summary, [_said(one) for one in shown])


class Silence:
    """Nobody asks any more, or only few do."""

    cause: ClassVar[str] = "silence"

    def judge(self, case: Case) -> Finding | None:
        """Scores 0.7 where fewer than a fifth of the requests are left."""
        requests = case.most("requests")
        if requests is None or requests.before < 1 or requests.ratio > 0.2:
            return None
        summary = "hardly any requests arrive: look at the callers and at the route"
        return _finding(self.cause, 0.7, summary, [_said(requests)])


class Failure:
    """The servers fail, and nothing else explains it."""

    cause: ClassVar[str] = "failure"

    def judge(self, case: Case) -> Finding | None:
        """Scores 0.65 where more than a hundredth of the requests fail."""
        errors, requests = case.most("errors"), case.most("requests")
        if errors is None or errors.sigmas < _MOVED:
            return None
        if errors.now < 0.01 * (requests.now if requests else 0.0):
            return None
        summary = "requests fail by our fault; the server's log says why"
        return _finding(self.cause, 0.65, summary, [_said(errors)])


ALL: Final[tuple[Hypothesis, ...]] = (
    Version(),
    Schema(),
    Mix(),
    Load(),
    Upstream(),
    Compute(),
    Host(),
    Silence(),
    Failure(),
)


def _harms(case: Case) -> Iterator[Moved]:
    """What moved of the answers: errors, latencies, quality, drift of outputs."""
    for name in ("errors", "latency_p99_ms", "compute_p99_ms", "invalid", "drift", "drift_loss"):
        for one in case.moved.get(name, ()):
            if one.sigmas >= _MOVED and one.since and (name != "drift" or one.now >= 0.05):
                yield one
    for one in case.moved.get("quality", ()):
        if abs(one.sigmas) >= _MOVED and one.since:
            yield one


def _said(one: Moved) -> str:
    shown = {k: v for k, v in one.labels.items() if k not in {"model", "deployment", "method"}}
    labels = " ".join(f"{key} {value}" for key, value in sorted(shown.items()))
    since = f", since {iso(int(one.since * 1e9))}" if one.since else ""
    name = one.name.replace("_", " ")
    return f"{name} {labels}".strip() + f": {one.before:.4g} before, {one.now:.4g} now{since}"


def _finding(cause: str, score: float, summary: str, told: list[str]) -> Finding | None:
    if not score:
        return None
    return Finding(cause, score, summary, tuple(told), f"docs/troubleshooting.md#diagnose-{cause}")


__all__ = ["ALL", "Act", "Finding", "Hypothesis", "diagnose"]
